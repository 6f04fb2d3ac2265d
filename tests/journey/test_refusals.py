"""Every no, in the page and in both languages: the summary, the field, nothing typed lost; and what then helps.

A walk reads each no in Chinese, switches the language in the header, does the refused thing once more and reads it in
English.
"""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.journey.counter import Counter, Prepared, running_ahead
from tests.journey.visitor import PASSWORD, Visitor

LAST_SECONDS = 4
"""Of the pause, which the page counts down itself; of what is before them the server's clock is put ahead."""


@pytest.fixture(scope="module")
def counter(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The module's running counter, whose clock can be put ahead."""
    with running_ahead(prepared, tmp_path_factory.mktemp("counter")) as started:
        yield started


def both_languages(visitor: Visitor) -> Iterator[str]:
    """Give a turn in the visitor's language, then one in the other."""
    yield visitor.language
    visitor.switch()
    yield visitor.language


def look(visitor: Visitor) -> None:
    """Look at a state in Chinese; `test_looks` looks at every page's refusals in both languages."""
    if visitor.language == "zh-TW":
        visitor.look()


def test_a_wrong_password_keeps_the_name_and_says_the_same_for_a_stranger(visitor: Visitor) -> None:
    for _ in both_languages(visitor):
        said = []
        for who in ("C10001", "C99999"):
            visitor.sign_in(who, "wrong-Pass-1357")
            visitor.page.locator(".govuk-error-summary").wait_for()
            expect(visitor.page.locator("#who")).to_have_value(who)
            said.append(visitor.page.locator("[data-error-list]").inner_text())
            look(visitor)
        assert said[0] == said[1]
        visitor.refused(
            visitor.say("客戶編號（或身分證字號）與交易密碼不符。", "The customer number (or id) and the trading")
        )
        visitor.fill_in("", PASSWORD)
        visitor.refused(
            visitor.say(
                "請輸入客戶編號或身分證字號", "Please enter your customer number or your identity card number."
            ),
            "who",
        )
        look(visitor)
        visitor.fill_in("C10001", "")
        visitor.refused(visitor.say("請輸入交易密碼。", "Please enter your trading password."), "password")
        expect(visitor.page.locator("#who")).to_have_value("C10001")
        look(visitor)


WRONG_PASSPHRASES = (
    ("short", "憑證密碼太短。", "The pass-phrase is too short."),
    (
        "一二三四五六七八九十一二",
        "請只用英文字母",
        "Please take only letters, digits and signs of the English keyboard",
    ),
    ("F014000-0001001", "請不要用別人知道的資料", "Please take nothing that others know of you"),
)


def test_a_wrong_file_or_pass_phrase_is_told_in_the_page_and_nothing_typed_is_lost(visitor: Visitor) -> None:
    visitor.sign_in("C10001")
    visitor.apply("rekey", "file")
    form, suggested = visitor.step("key"), ""
    for _ in both_languages(visitor):
        visitor.submit("key")
        say = visitor.say
        visitor.refused(
            say("請選擇您現有憑證的檔案。", "Please choose the file of your present certificate."), "old_file"
        )
        visitor.refused(
            say("請抄下憑證密碼，並勾選確認。", "Please write the pass-phrase down and tick the box."), "written_down"
        )
        look(visitor)
        suggested = form.locator("#passphrase").input_value()
        form.locator("#written_down").check()
        refuse_old_files(visitor, suggested)
        for own, *sentence in WRONG_PASSPHRASES:
            form.locator("#passphrase").fill(own)
            form.locator("#written_down").check()
            visitor.open_old("C10001")
            visitor.submit("key")
            visitor.refused(say(*sentence), "passphrase")
            expect(form.locator("#passphrase")).to_have_value(own)
        look(visitor)
    form.locator("#passphrase").fill(suggested)
    visitor.make_key("C10001")


def refuse_old_files(visitor: Visitor, suggested: str) -> None:
    """Offer the right file with a wrong pass-phrase, another customer's file, and no certificate file at all."""
    page, form, say = visitor.page, visitor.step("key"), visitor.say
    visitor.open_old("C10001")
    form.locator("#old_passphrase").fill("not-the-pass-phrase")
    visitor.submit("key")
    visitor.refused(say("憑證密碼不符。", "The pass-phrase does not fit this file."), "old_passphrase")
    look(visitor)
    assert form.locator("#old_passphrase").input_value() == "not-the-pass-phrase"
    assert form.locator("#passphrase").input_value() == suggested
    expect(form.locator("#written_down")).to_be_checked()
    visitor.open_old("C10006")
    visitor.submit("key")
    visitor.refused(say("這個檔案是另一張憑證：", "This file holds another certificate:"), "old_file")
    look(visitor)
    page.locator("#old_file").set_input_files({"name": "x.p12", "mimeType": "", "buffer": b"no certificate at all"})
    visitor.submit("key")
    visitor.refused(
        say("這不是憑證檔，或檔案已損壞。", "This is not a certificate file, or it is damaged."), "old_file"
    )


def test_wrong_codes_are_counted_hints_are_not_and_the_fifth_blocks_the_code(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10008")
    visitor.apply("rekey")
    visitor.make_key("C10008")
    reference = visitor.send_code()
    first = visitor.code(reference)
    wrong = f"{(int(first) + 1) % 1_000_000:06d}"
    refuse_as_hints(visitor)
    visitor.look()
    refuse_as_wrong(visitor, wrong, ("再試 4 次", ""))
    visitor.look()
    refuse_as_wrong(visitor, wrong, ("再試 3 次", ""))
    visitor.switch()
    visitor.see("", "You can try 3 more times.")
    refuse_as_hints(visitor)
    refuse_as_wrong(visitor, wrong, ("", "The code is not right. You can try 2 more times."))
    refuse_as_wrong(visitor, wrong, ("", "The code is not right. You can try one more time."))
    visitor.switch()
    visitor.see("您還可以再試 1 次。")
    visitor.look()
    refuse_as_wrong(visitor, wrong, ("驗證碼已輸入錯誤 5 次", ""))
    expect(page.locator("[data-countdown-box]")).to_be_hidden()
    visitor.look()
    refuse_as_wrong(visitor, first, ("驗證碼已輸入錯誤 5 次", ""))
    visitor.context.request.get("/repository?lang=en")  # switched in another tab: this one's answers follow
    refuse_as_wrong(visitor, first, ("The code was wrong 5 times and is now blocked for your safety.", ""))
    expect(page.locator("form[data-step=resend] button[data-submit]")).to_be_disabled()
    visitor.switch()
    send_again(visitor, reference)


def refuse_as_hints(visitor: Visitor) -> None:
    """Type what cannot be a code: said at the field, not counted, and still there."""
    field = visitor.page.locator("#code")
    for typed, *sentence in (
        ("", "請輸入驗證碼。", "Please enter the verification code."),
        ("ABCDEF", "驗證碼是 6 碼數字。", "The verification code has 6 digits."),
        ("12345", "驗證碼是 6 碼數字。", "The verification code has 6 digits."),
    ):
        field.fill(typed)
        visitor.submit("code")
        visitor.refused(visitor.say(*sentence), "code")
        expect(field).to_have_value(typed)


def refuse_as_wrong(visitor: Visitor, code: str, sentence: tuple[str, str]) -> None:
    """Type a code that is not taken: said at the field, and still there."""
    visitor.enter(code)
    visitor.refused(visitor.say(*sentence), "code")
    expect(visitor.page.locator("#code")).to_have_value(code)


def send_again(visitor: Visitor, reference: str) -> None:
    """Read in both languages how long to wait, and wait for the end of it; then type another code, full-width."""
    send = visitor.step("channel").locator("button[data-submit]")
    for _ in both_languages(visitor):
        expect(send).to_be_disabled()
        visitor.see("秒後可以重新發送", "You can have a new one sent in")
    left = int(visitor.page.locator("[data-resend-seconds]").first.inner_text())
    visitor.counter.put_clock_ahead(timedelta(seconds=left - LAST_SECONDS))
    visitor.switch()
    expect(send).to_be_enabled(timeout=10_000)
    second = visitor.code(visitor.send_code())
    expect(visitor.page.locator("main .cm-serial").first).not_to_have_text(reference)
    full_width = second.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    visitor.enter(f" {full_width[:3]} {full_width[3:]} ")
    visitor.see("檢核成功。", "The code is right.")
    visitor.switch()
    visitor.see("檢核成功。", "The code is right.")


WRONG_DATES = [
    (("", "", ""), "year", "請輸入出生年。", "Please enter the year of your birth."),
    (("90", "", "15"), "month", "請輸入出生月份。", "Please enter the month of your birth."),
    (("90", "7", ""), "day", "請輸入出生日。", "Please enter the day of your birth."),
    (("90", "13", "1"), "month", "出生月份是 1 到 12 的數字。", "The month of birth is a number from 1 to 12."),
    (("90", "1", "32"), "day", "出生日是 1 到 31 的數字。", "The day of birth is a number from 1 to 31."),
    (("90", "2", "30"), "day", "這個月只有 28 天。", "This month had only 28 days."),
    (("200", "1", "1"), "year", "這個出生日期在未來。", "This date of birth lies in the future."),
    (
        ("1960", "7", "15"),
        "year",
        "1960 是西元年。您要填的是民國 49 年嗎？",
        "1960 is a western year. Did you mean ROC year 49?",
    ),
    (("0", "7", "15"), "year", "沒有民國 0 年。", "There is no year 0."),
    (("四九x", "7", "15"), "year", "出生年不是數字。", "The year of birth is not a number."),
]


def test_each_kind_of_wrong_birth_date_has_its_own_message_and_the_terms_must_be_agreed_to(visitor: Visitor) -> None:
    page = visitor.page
    visitor.sign_in("C10006")
    visitor.apply("rekey")
    visitor.make_key("C10006")
    visitor.prove_code()
    visitor.go_on()
    for _ in both_languages(visitor):
        refuse_dates(visitor)
    visitor.birth_date("69", "8", "8")

    visitor.step("review")
    for _ in both_languages(visitor):
        visitor.submit("review")
        visitor.refused(
            visitor.say("請閱讀同意事項；同意的話請勾選。", "Please read the text and tick the box, if you agree."),
            "consent",
        )
        expect(page.locator("dialog[open]")).to_have_count(0)
        look(visitor)


def refuse_dates(visitor: Visitor) -> None:
    """Enter every kind of wrong date, and one that is only not the customer's."""
    page, said = visitor.page, []
    for typed, field, *sentence in WRONG_DATES:
        visitor.birth_date(*typed)
        expect(page.locator("form[data-step=birth_date]")).not_to_have_attribute("data-busy", "")
        visitor.refused(visitor.say(*sentence), field)
        said.append(page.locator("[data-error-list]").inner_text())
        assert tuple(page.locator(f"#{name}").input_value() for name in ("year", "month", "day")) == typed
        look(visitor)
    assert len(set(said)) == len(WRONG_DATES)
    visitor.birth_date("70", "8", "8")
    visitor.refused(visitor.say("與留存的出生日期不符。", "This is not the birth date that we have on record."), "year")
    assert tuple(page.locator(f"#{name}").input_value() for name in ("year", "month", "day")) == ("70", "8", "8")
    assert not re.search(r"69|1980", page.locator("main").inner_text().replace("1981", ""))
    look(visitor)


def test_not_my_number_stops_the_order_and_the_number_is_not_used_any_more(visitor: Visitor) -> None:
    page, say = visitor.page, visitor.say
    visitor.sign_in("C10009")
    visitor.apply("rekey")
    visitor.make_key("C10009")
    dialog = page.locator("dialog[open]")
    for _ in both_languages(visitor):
        page.locator("details.cm-dispute summary").click()
        visitor.step("dispute").locator("input[value=mobile]").check()
        look(visitor)
        visitor.submit("dispute")
        expect(dialog).to_contain_text(say("確定要停止這次申請？", "Really stop this request?"))
        look(visitor)
        dialog.get_by_role("button", name=say("取消", "Cancel")).click()
    visitor.submit("dispute")
    dialog.get_by_role("button", name=say("停止這次申請", "Stop this request")).click()
    page.locator("[data-ended]").wait_for()
    for _ in both_languages(visitor):
        visitor.see("您表示有一項聯絡資料不是您的，", "You told us that a contact is not yours.")
        look(visitor)
    visitor.apply("rekey")
    visitor.make_key("C10009")
    for _ in both_languages(visitor):
        expect(page.locator("#channel-mobile")).to_be_disabled()
        visitor.see("您表示這不是您的。", "You told us that this is not yours.")
        look(visitor)


def test_every_other_page_can_be_used_by_everybody(visitor: Visitor) -> None:
    visitor.sign_in("C10001")
    for path in ("/repository", "/help/browser", "/demo/inbox"):
        visitor.go(path)
        visitor.look()
    for path in ("/nowhere", "/orders/NOSUCHORDER"):
        visitor.go(f"{path}?lang={visitor.language}")
        for _ in both_languages(visitor):
            visitor.see("找不到這個頁面", "There is no such page")
            look(visitor)


def test_a_way_in_that_was_used_or_refused_says_what_to_do(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/launch")
    for _ in both_languages(visitor):
        expect(page.locator("[data-launch-missing]")).to_be_visible()
        visitor.see("請從下單程式重新開啟", "Please open the customer area from your trading program once more")
        look(visitor)
    for _ in both_languages(visitor):
        visitor.go("/demo")
        page.locator("#customer").select_option("C10001")
        page.locator("main nav .cm-term__entry").first.click()
        visitor.press("憑證管理", "Certificates")
        page.wait_for_url("**/launch/confirm")
        page.locator("form[action='/launch/refuse'] button").click()
        expect(page.locator("main h1")).to_have_text(visitor.say("登入", "Sign in"))
        look(visitor)
    visitor.go("/certificates")
    for _ in both_languages(visitor):
        expect(page.locator("main")).to_contain_text(visitor.say("登入", "Sign in"))
        look(visitor)
