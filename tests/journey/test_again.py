"""Reload, back, twice, two tabs, another language, signed out: an order is where it is, and happens once."""

from playwright.sync_api import Page, expect

from tests.journey.visitor import Visitor

PASSED = ".cm-result"


def again(visitor: Visitor, shown: str) -> None:
    """Reload, and come back with the back button: the same step is shown."""
    page = visitor.page
    page.reload()
    page.locator(shown).first.wait_for(state="attached")
    visitor.go("/certificates")
    page.go_back()
    page.locator(shown).first.wait_for(state="attached")


def test_every_step_can_be_reloaded_and_left_and_the_back_button_shows_where_the_order_is(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10001")
    visitor.apply("rekey")
    again(visitor, "form[data-step=key][data-attached]")
    visitor.make_key("C10001")
    again(visitor, "form[data-step=channel][data-attached]")
    reference = visitor.send_code()
    again(visitor, "form[data-step=code][data-attached]")
    assert visitor.reference() == reference
    visitor.enter(visitor.code(reference))
    page.locator(PASSED).wait_for()
    again(visitor, PASSED)
    visitor.go_on()
    visitor.step("birth_date")
    again(visitor, "form[data-step=birth_date][data-attached]")
    order = visitor.order
    page.go_back()
    page.locator(PASSED).wait_for()
    page.go_back()
    visitor.submit("start")
    page.wait_for_url("**/orders/**")
    assert visitor.order == order
    visitor.go_on()
    visitor.birth_date("49", "7", "15")
    visitor.step("review")
    again(visitor, "form[data-step=review][data-attached]")
    visitor.agree()
    visitor.confirm()
    visitor.step("install")
    again(visitor, "form[data-step=install][data-attached]")
    visitor.install()
    again(visitor, "[data-done]")
    visitor.see("憑證展延完成")


def test_who_presses_twice_gets_one_order_one_code_and_one_certificate(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10006")
    visitor.go("/certificates/apply?operation=rekey")
    visitor.step("start").locator("button[data-submit]").dblclick()
    page.wait_for_url("**/orders/**")
    visitor.make_key("C10006")
    visitor.step("channel").locator("button[data-submit]").dblclick()
    visitor.enter(visitor.code(visitor.reference()))
    page.locator(PASSED).wait_for()
    visitor.go_on()
    visitor.birth_date("69", "8", "8")
    visitor.agree()
    with page.expect_response("**/confirm") as confirmed:
        page.locator("[data-dialog-confirm]").dblclick()
    assert confirmed.value.status == 201
    visitor.install()
    visitor.go("/certificates/inquiry")
    expect(page.locator(".cm-history__item")).to_have_count(1)
    asked = [said for said in visitor.requests if said.startswith(f"{visitor.counter.url}/api/v1/orders\n".encode())]
    assert len(asked) == 1


def test_two_tabs_begin_one_order_and_share_its_key_and_its_code(visitor: Visitor) -> None:
    first, second = visitor.page, visitor.context.new_page()
    visitor.sign_in("C10005")
    for page in (first, second):
        page.goto("/certificates/apply?operation=enrol")
        visitor.step("start", page)
    for page in (first, second):
        visitor.submit("start", page)
    for page in (first, second):
        page.wait_for_url("**/orders/**")
        visitor.step("key", page)
    assert first.url == second.url
    for page in (first, second):
        visitor.submit("key", page)
    for page in (first, second):
        visitor.step("channel", page)
    expect(second.locator("[data-key-notice]")).to_have_count(0)
    code = visitor.code(visitor.send_code())
    second.reload()
    visitor.step("code", second)
    visitor.enter(code)
    first.locator(PASSED).wait_for()
    second.locator("#code").fill(code)
    visitor.submit("code", second)
    expect(second.locator("[data-error-summary]")).to_contain_text("這組驗證碼已經用過")
    second.reload()
    second.locator(PASSED).wait_for()
    second.locator("main a.cm-primary").click()
    visitor.step("birth_date", second)
    both_at_the_end(visitor, first, second)


def both_at_the_end(visitor: Visitor, first: Page, second: Page) -> None:
    """Both tabs confirm; there is one certificate, and the second tab shows it too."""
    visitor.go_on()
    visitor.birth_date("38", "10", "10")
    visitor.step("review")
    second.reload()
    visitor.step("review", second)
    for page in (first, second):
        page.locator("#consent").check()
        visitor.submit("review", page)
        page.locator("dialog[open]").wait_for()
    for page in (first, second):
        page.locator("[data-dialog-confirm]").click()
    for page in (first, second):
        visitor.step("install", page)
    visitor.install()
    visitor.submit("install", second)
    second.locator("[data-done]").wait_for()
    first.goto("/certificates/inquiry")
    expect(first.locator(".cm-history__item")).to_have_count(0)
    second.close()


def test_the_language_can_be_changed_in_mid_order_and_the_order_stays(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10009")
    visitor.apply("rekey")
    visitor.make_key("C10009")
    order, reference = visitor.order, visitor.send_code()
    page.get_by_role("link", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert (visitor.order, visitor.reference()) == (order, reference)
    expect(page.locator("main")).to_contain_text("The verification code is valid for:")
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hant-TW")
    visitor.enter(visitor.code(reference))
    page.locator(PASSED).wait_for()
    assert visitor.order == order


def test_who_is_signed_out_in_mid_order_signs_in_and_goes_on_with_it(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10011")
    visitor.apply("rekey")
    visitor.make_key("C10011")
    order, reference = visitor.order, visitor.send_code()
    code = visitor.code(reference)
    visitor.context.clear_cookies(name="chopmark")
    visitor.enter(code)
    visitor.refused("您已完成的步驟會保留。")
    expect(page.locator("#code")).to_have_value(code)
    visitor.look()
    page.get_by_role("link", name="重新登入").click()
    visitor.fill_in("C10011")
    assert (visitor.reference(), visitor.order) == (reference, order)
    visitor.enter(code)
    page.locator(PASSED).wait_for()
    visitor.context.clear_cookies(name="chopmark")
    page.reload()
    expect(page.locator("main")).to_contain_text("登入")
    visitor.look()
    visitor.sign_in("C10011")
    visitor.go("/certificates")
    visitor.see("開始了「憑證展延」")
    page.locator("main a.cm-primary").click()
    visitor.step("channel")  # what an earlier login has approved is no approval in this one
    assert visitor.order == order


def test_a_step_whose_script_does_not_come_says_so_and_goes_on_after_it_was_loaded_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10017")
    page.route("**/start-*.js", lambda route: route.abort())
    visitor.go("/certificates/apply?operation=enrol")
    visitor.refused("本頁發生問題。請重新整理；您已完成的步驟會保留。")
    visitor.look()
    expect(page.locator("form[data-step=start] button[data-submit]").first).to_be_disabled()
    assert "/certificates/apply" in page.url, "nothing is sent by the browser itself"
    (fault,) = visitor.faults
    assert "import" in fault
    visitor.faults.clear()
    page.unroute("**/start-*.js")
    visitor.press("重新整理本頁")
    visitor.apply("enrol")
    visitor.step("key")
