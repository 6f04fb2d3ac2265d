"""Every no, in the page: the summary, the field, and nothing typed lost; and what then helps."""

import re

from playwright.sync_api import expect

from tests.journey.visitor import PASSWORD, Visitor


def test_a_wrong_password_keeps_the_name_and_says_the_same_for_a_stranger(visitor: Visitor) -> None:
    said = []
    for who in ("C10001", "C99999"):
        visitor.sign_in(who, "wrong-Pass-1357")
        visitor.page.locator(".govuk-error-summary").wait_for()
        expect(visitor.page.locator("#who")).to_have_value(who)
        said.append(visitor.page.locator("[data-error-list]").inner_text())
        visitor.look()
    assert said[0] == said[1]
    visitor.fill_in("", PASSWORD)
    visitor.refused("請輸入客戶編號或身分證字號", "who")
    visitor.look()
    visitor.fill_in("C10001", "")
    visitor.refused("請輸入", "password")
    visitor.look()


def test_a_wrong_file_or_pass_phrase_is_told_in_the_page_and_nothing_typed_is_lost(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10001")
    visitor.apply("rekey", "file")
    form = visitor.step("key")
    visitor.submit("key")
    visitor.refused("請選擇您現有憑證的檔案。", "old_file")
    visitor.refused("請輸入這個檔案的憑證密碼。", "old_passphrase")
    visitor.refused("請抄下憑證密碼，並勾選確認。", "written_down")
    visitor.look()
    suggested = form.locator("#passphrase").input_value()
    form.locator("#written_down").check()

    visitor.open_old("C10001")
    form.locator("#old_passphrase").fill("not-the-pass-phrase")
    visitor.submit("key")
    visitor.refused("憑證密碼不符。", "old_passphrase")
    visitor.look()
    assert form.locator("#old_passphrase").input_value() == "not-the-pass-phrase"
    assert form.locator("#passphrase").input_value() == suggested
    expect(form.locator("#written_down")).to_be_checked()

    visitor.open_old("C10006")
    visitor.submit("key")
    visitor.refused("這個檔案是另一張憑證：", "old_file")
    visitor.look()
    page.locator("#old_file").set_input_files({"name": "x.p12", "mimeType": "", "buffer": b"no certificate at all"})
    visitor.submit("key")
    visitor.refused("這不是憑證檔，或檔案已損壞。", "old_file")

    for own, sentence in (
        ("short", "憑證密碼太短。"),
        ("一二三四五六七八九十一二", "請只用英文字母"),
        ("F014000-0001001", "請不要用別人知道的資料"),
    ):
        form.locator("#passphrase").fill(own)
        form.locator("#written_down").check()
        visitor.open_old("C10001")
        visitor.submit("key")
        visitor.refused(sentence, "passphrase")
    visitor.look()
    form.locator("#passphrase").fill(suggested)
    visitor.make_key("C10001")


def test_wrong_codes_are_counted_hints_are_not_and_the_fifth_blocks_the_code(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10008")
    visitor.apply("rekey")
    visitor.make_key("C10008")
    reference = visitor.send_code()
    first = visitor.code(reference)
    field = page.locator("#code")
    for typed, sentence in (
        ("", "請輸入驗證碼。"),
        ("ABCDEF", "驗證碼是 6 碼數字。"),
        ("12345", "驗證碼是 6 碼數字。"),
    ):
        field.fill(typed)
        visitor.submit("code")
        visitor.refused(sentence, "code")
        expect(field).to_have_value(typed)
    visitor.look()
    wrong = f"{(int(first) + 1) % 1_000_000:06d}"
    for left in ("4", "3", "2"):
        field.fill(wrong)
        visitor.submit("code")
        visitor.refused(f"再試 {left} 次", "code")
        expect(field).to_have_value(wrong)
        visitor.look()
    page.reload()
    visitor.step("code")
    visitor.see("您還可以再試 2 次。")
    visitor.look()
    visitor.enter(wrong)
    visitor.refused("1 次", "code")
    visitor.enter(wrong)
    visitor.refused("驗證碼已輸入錯誤 5 次", "code")
    expect(page.locator("[data-countdown-box]")).to_be_hidden()
    visitor.look()
    visitor.enter(first)
    visitor.refused("5 次", "code")

    again = page.locator("form[data-step=resend] button[data-submit]")
    expect(again).to_be_disabled()
    expect(again).to_be_enabled(timeout=90_000)
    visitor.submit("resend")
    expect(page.locator("main .cm-serial").first).not_to_have_text(reference)
    second = visitor.code(visitor.reference())
    full_width = second.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    visitor.enter(f" {full_width[:3]} {full_width[3:]} ")
    visitor.see("檢核成功。")


WRONG_DATES = [
    (("", "", ""), "year", "請輸入出生年。"),
    (("90", "", "15"), "month", "請輸入出生月份。"),
    (("90", "7", ""), "day", "請輸入出生日。"),
    (("90", "13", "1"), "month", "出生月份"),
    (("90", "1", "32"), "day", "出生日"),
    (("90", "2", "30"), "day", "這個月只有 28 天。"),
    (("200", "1", "1"), "year", "這個出生日期在未來。"),
    (("1960", "7", "15"), "year", "1960 是西元年。您要填的是民國 49 年嗎？"),
    (("0", "7", "15"), "year", "沒有"),
    (("四九x", "7", "15"), "year", "年"),
]


def test_each_kind_of_wrong_birth_date_has_its_own_message_and_the_terms_must_be_agreed_to(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10006")
    visitor.apply("rekey")
    visitor.make_key("C10006")
    visitor.prove_code()
    visitor.go_on()
    said = []
    for typed, field, sentence in WRONG_DATES:
        visitor.birth_date(*typed)
        expect(page.locator("form[data-step=birth_date]")).not_to_have_attribute("data-busy", "")
        visitor.refused(sentence, field)
        said.append(page.locator("[data-error-list]").inner_text())
        assert tuple(page.locator(f"#{name}").input_value() for name in ("year", "month", "day")) == typed
        visitor.look()
    assert len(set(said)) == len(WRONG_DATES)
    visitor.birth_date("70", "8", "8")
    visitor.refused("與留存的出生日期不符。", "year")
    assert not re.search(r"69|1980", page.locator("main").inner_text().replace("西元 1981", ""))
    visitor.look()
    visitor.birth_date("69", "8", "8")

    visitor.step("review")
    visitor.submit("review")
    visitor.refused("請閱讀同意事項；同意的話請勾選。", "consent")
    expect(page.locator("dialog[open]")).to_have_count(0)
    visitor.look()


def test_not_my_number_stops_the_order_and_the_number_is_not_used_any_more(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10009")
    visitor.apply("rekey")
    visitor.make_key("C10009")
    page.locator("details.cm-dispute summary").click()
    visitor.step("dispute").locator("input[value=mobile]").check()
    visitor.look()
    visitor.submit("dispute")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("確定要停止這次申請？")
    visitor.look()
    dialog.get_by_role("button", name="取消").click()
    visitor.submit("dispute")
    dialog.get_by_role("button", name="停止這次申請").click()
    page.locator("[data-ended]").wait_for()
    visitor.see("為了您的安全，這次申請已暫停。")
    visitor.see("412-0000轉9")
    visitor.look()
    visitor.apply("rekey")
    visitor.make_key("C10009")
    expect(page.locator("#channel-mobile")).to_be_disabled()
    visitor.see("您表示這不是您的。")
    visitor.look()


def test_every_other_page_can_be_used_by_everybody(visitor: Visitor) -> None:
    visitor.sign_in("C10001")
    for path in ("/nowhere", "/orders/NOSUCHORDER", "/repository", "/help/browser", "/demo/inbox"):
        visitor.go(path)
        visitor.look()


def test_a_way_in_that_was_used_or_refused_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/launch")
    expect(page.locator("[data-launch-missing]")).to_be_visible()
    visitor.look()
    visitor.go("/demo")
    page.locator("#customer").select_option("C10001")
    page.locator("main nav .cm-term__entry").first.click()
    visitor.press("憑證管理")
    page.wait_for_url("**/launch")
    page.locator("form[action='/launch/refuse'] button").click()
    expect(page.locator("main h1")).to_be_visible()
    visitor.look()
    visitor.go("/certificates")
    expect(page.locator("main")).to_contain_text("登入")
    visitor.look()
