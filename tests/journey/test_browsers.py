"""What a browser may lack: modules, a believable clock, an English keyboard, an answer to its own question."""

import re

from playwright.sync_api import Browser, expect

from tests.journey.counter import Counter
from tests.journey.visitor import Visitor

BOPOMOFO = dict(zip("1234567890", "ㄅㄉˇˋㄓˊ˙ㄚㄞㄢ", strict=True))
NEVER_ANSWERED = "if (navigator.storage) navigator.storage.persist = () => new Promise(() => {});"


def test_a_browser_without_modules_is_told_so_and_nothing_can_be_sent(counter: Counter, browser: Browser) -> None:
    context = browser.new_context(base_url=counter.url, locale="zh-TW", java_script_enabled=False)
    page = context.new_page()
    page.goto("/help/browser")
    expect(page.locator("main")).not_to_contain_text("檢查中")
    expect(page.locator("[data-check-result]")).to_contain_text("請改用最近兩年內的 Edge")
    page.goto("/sign-in")
    page.locator("#who").fill("C10001")
    page.locator("#password").fill("demo-Pass-2468")
    page.locator("form[action='/sign-in'] button[type=submit]").click()
    page.goto("/certificates/apply?operation=rekey")
    expect(page.locator("[data-moduleless]")).to_contain_text("IE 模式")
    expect(page.locator("[data-moduleless]")).to_be_visible()
    expect(page.locator("button[data-submit]")).to_be_disabled()
    context.close()


def test_where_modules_run_that_sentence_is_gone(visitor: Visitor) -> None:
    visitor.sign_in("C10001")
    visitor.go("/certificates/apply?operation=rekey")
    visitor.step("start")
    expect(visitor.page.locator("[data-moduleless]")).to_have_count(0)
    expect(visitor.page.locator("button[data-submit]")).to_be_enabled()


def test_a_question_that_nobody_answers_holds_nothing_up_and_a_code_is_read_through_zhuyin(visitor: Visitor) -> None:
    visitor.context.add_init_script(NEVER_ANSWERED)
    visitor.sign_in("C10005")
    visitor.apply("enrol")
    visitor.see("不必等那個詢問")
    visitor.make_key()
    code = visitor.code(visitor.send_code())
    visitor.page.locator("#code").press_sequentially("".join(BOPOMOFO[digit] for digit in code))
    expect(visitor.page.locator("#code")).to_have_value(code)
    visitor.submit("code")
    visitor.page.locator(".cm-result").wait_for()


def test_a_whole_message_may_be_put_in_by_the_keyboard(visitor: Visitor) -> None:
    visitor.sign_in("C10011")
    visitor.apply("rekey")
    visitor.make_key("C10011")
    message = visitor.message(visitor.send_code())
    visitor.step("code")
    visitor.page.locator("#code").focus()
    visitor.page.keyboard.insert_text(message)
    code = visitor.page.locator("#code").input_value()
    assert re.fullmatch(r"\d{6}", code)
    visitor.private.add(code)
    visitor.submit("code")
    visitor.page.locator(".cm-result").wait_for()


def test_a_wrong_clock_is_said_where_it_hurts(counter: Counter, browser: Browser) -> None:
    context = browser.new_context(base_url=counter.url, locale="zh-TW")
    context.add_init_script("const now = Date.now; Date.now = () => now() - 9 * 60_000;")
    page = context.new_page()
    page.goto("/help/browser")
    expect(page.locator("[data-check-result]")).to_contain_text("慢了9 分鐘")
    context.close()
