"""The manual's table, walked: every step's page shows the manual's own words, and its English beside them."""

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.journey.counter import Counter
from tests.journey.openssl import Opened
from tests.journey.visitor import Visitor, code_in

MENU = {
    "zh-TW": ["個人資料", "交易密碼", "電子憑證", "電子對帳單", "承銷申購", "文件簽署", "線上e櫃檯", "商品專區"],
    "en": [
        "My details",
        "Trading password",
        "Electronic certificate",
        "Electronic statements",
        "Share subscription",
        "Document signing",
        "Online counter",
        "Products",
    ],
}
ENTRIES = {
    "zh-TW": ["憑證申請", "憑證展延", "憑證查詢", "憑證廢止"],
    "en": ["Apply for a certificate", "Renew the certificate", "Look up the certificate", "Revoke the certificate"],
}
PERSON = {
    "zh-TW": ("C10001", "(期) F014000-0001001", ("49", "7", "15"), "A1-"),
    "en": ("C10006", "(Futures) F014000-0001006", ("69", "8", "8"), "F2-"),
}


def test_a_customer_renews_by_phone_as_the_manual_says_and_then_revokes(
    counter: Counter, browser: Browser, language: str, tmp_path: Path
) -> None:
    with Visitor.arrive(counter, browser, language) as visitor:
        walk_in_from_the_trading_program(visitor)
        see_the_customer_area(visitor)
        choose_where_the_key_lives(visitor)
        prove_with_the_phone(visitor)
        enter_the_birth_date(visitor)
        confirm(visitor)
        kept = tmp_path / "new.p12"
        install(visitor, kept)
        opened = Opened.read(kept, visitor.passphrase, tmp_path / "openssl")
        assert opened.pair_fits()
        assert opened.is_good()
        look_up_and_revoke(visitor)
        assert opened.becomes_revoked()


def walk_in_from_the_trading_program(visitor: Visitor) -> None:
    """1: 系統 is the first entry of the menu, and 憑證管理 the fifth in it."""
    page, (number, account, _, _) = visitor.page, PERSON[visitor.language]
    visitor.go("/demo")
    page.locator("#customer").select_option(number)
    first = page.locator("main nav .cm-term__entry").first
    expect(first).to_have_text(visitor.say("系統", "System"))
    first.click()
    fifth = page.locator("main nav li").nth(4)
    expect(fifth).to_have_text(visitor.say("憑證管理", "Certificates"))
    visitor.look()
    fifth.get_by_role("button").click()
    page.wait_for_url("**/launch/confirm")
    visitor.see("這是您本人嗎？", "Is this you?")
    visitor.see(account, account)
    visitor.look()
    page.locator("form[action='/launch/confirm'] button").click()
    page.wait_for_url("**/certificates**")


def see_the_customer_area(visitor: Visitor) -> None:
    """2, 3, 3-1: the services, the hotline, the firm; what 電子憑證 opens to; the one recommended action."""
    page, (_, account, _, _) = visitor.page, PERSON[visitor.language]
    body = page.locator("body")
    for name in MENU[visitor.language] + ENTRIES[visitor.language]:
        expect(page.locator(".cm-side nav").get_by_text(name, exact=True)).to_be_visible()
    expect(page.locator(".cm-greeting")).to_contain_text(visitor.say("您好", "Hello"))
    zh = ["客戶服務專區", "客服專線：412-0000轉9", "國內股市開盤日 AM8:00-PM7:00", "外島地區", "版權所有", "地址："]
    en = ["Customer service area", "Customer hotline:412-0000", "8:00 to 19:00", "outer islands", "All rights reserved"]
    for words in zh if visitor.language == "zh-TW" else en:
        expect(body).to_contain_text(words)
    expect(body).to_contain_text("service@haojing.example")
    visitor.see("憑證管理", "Certificate management")
    visitor.see("請選擇帳號", "Please choose an account")
    expect(page.locator("#account option").first).to_have_text(re.compile(re.escape(account)))
    visitor.press("查詢", "Look up")
    page.wait_for_url("**account=**")
    recommended = page.locator("main a.cm-primary")
    expect(recommended).to_have_text(visitor.say("憑證展延", "Renew the certificate"))
    visitor.see("到期。請現在展延", "Renew it now")
    visitor.look()
    for path in ("/home", "/profile", "/elsewhere/statements"):
        visitor.go(path)
        visitor.look()
    visitor.go("/certificates")
    recommended.click()


def choose_where_the_key_lives(visitor: Visitor) -> None:
    """4: where the key will live, before it exists; the account stays in sight."""
    number = PERSON[visitor.language][0]
    visitor.see("憑證要存放在哪裡？", "Where shall the certificate be kept?")
    form = visitor.step("start")
    visitor.look()
    form.locator("input[value=file]").check()
    visitor.submit("start")
    visitor.page.wait_for_url("**/orders/**")
    visitor.see("選擇帳號", "Choose account")
    visitor.step("key")
    visitor.look()
    visitor.make_key(number)


def prove_with_the_phone(visitor: Visitor) -> None:
    """5 to 9: the channel with masked numbers, the code with its time and reference, 檢核成功."""
    page = visitor.page
    visitor.see("驗證碼接收方式", "How to receive the verification code")
    for zh, en in (("行動電話", "Mobile phone"), ("電子郵件", "E-mail"), ("不是我的號碼", "Not my number")):
        visitor.see(zh, en)
    expect(page.locator("main .cm-masked").first).to_have_text(re.compile(r"^09•• ••• \d{3}$"))
    visitor.see("登記", "Registered on")
    expect(visitor.step("channel").locator("button[data-submit]")).to_have_text(
        visitor.say("發送驗證碼", "Send the verification code")
    )
    visitor.look()
    reference = visitor.send_code()
    visitor.see("OTP 憑證驗證流程", "OTP certificate verification")
    visitor.see("驗證碼有效期限：", "The verification code is valid for:")
    expect(page.locator("main [role=timer]")).to_have_text(
        re.compile(visitor.say(r"^倒數 (300|29\d|2[0-8]\d) 秒$", r"^(300|29\d|2[0-8]\d) seconds$"))
    )
    visitor.see("請輸入驗證碼", "Please enter the verification code")
    visitor.see("重新發送", "Send a new code")
    expect(visitor.step("code").locator("button[data-submit]")).to_have_text(
        visitor.say("檢核驗證碼", "Check the verification code")
    )
    visitor.look()
    message = visitor.message(reference)
    assert visitor.say("展延電子憑證", "renewing your e-certificate") in message
    assert "http" not in message
    assert "www" not in message
    visitor.private.add(code_in(message))
    visitor.enter(code_in(message))
    visitor.see("檢核成功。", "The code is right.")
    expect(page.locator("main a.cm-primary")).to_have_text(
        visitor.say("立即去申請憑證", "Apply for the certificate now")
    )
    visitor.look()
    visitor.go_on()


def enter_the_birth_date(visitor: Visitor) -> None:
    """10, 11: 電子簽章憑證申請 with the birth date in ROC years, its western echo, and who issues."""
    page, (_, _, birth, masked) = visitor.page, PERSON[visitor.language]
    form = visitor.step("birth_date")
    visitor.see("電子簽章憑證申請", "Application for an electronic signature certificate")
    visitor.see(
        "需要二次驗證，請輸入民國的出生日期", "A second check is needed. Please enter your date of birth in ROC years"
    )
    visitor.see("身分證", "Identity card")
    expect(page.locator("main dl .cm-masked")).to_contain_text(masked)
    visitor.see("生日(民國)", "Date of birth (ROC)")
    for name, zh, en in (("year", "年", "Year"), ("month", "月", "Month"), ("day", "日", "Day")):
        expect(form.locator(f"label[for={name}]")).to_have_text(visitor.say(zh, en))
    expect(form.locator("button[data-submit]")).to_have_text(visitor.say("確定", "OK"))
    visitor.see(
        "本公司使用好景示範憑證管理中心核發之電子憑證，提供您進行網路下單作業使用。",
        "This company uses electronic certificates issued by",
    )
    form.locator("#year").fill("1")
    visitor.press("清除", "Clear")
    expect(form.locator("#year")).to_have_value("")
    for name, value in zip(("year", "month", "day"), birth, strict=True):
        form.locator(f"#{name}").fill(value)
    expect(page.locator("[data-western]")).to_have_text(
        visitor.say("西元 1960年7月15日", "In the western calendar: 8 August 1980")
    )
    visitor.look()
    visitor.submit("birth_date")


def confirm(visitor: Visitor) -> None:
    """12: review, consent, and the last question."""
    visitor.step("review")
    visitor.look()
    visitor.agree()
    dialog = visitor.page.locator("dialog[open]")
    expect(dialog).to_contain_text(visitor.say("確定要送出憑證申請？", "Really send the certificate application?"))
    expect(dialog.get_by_role("button")).to_have_text([visitor.say("確定", "OK"), visitor.say("取消", "Cancel")])
    visitor.look()
    visitor.press("取消", "Cancel")
    expect(dialog).to_have_count(0)
    visitor.submit("review")
    visitor.confirm()


def install(visitor: Visitor, kept: Path) -> None:
    """13: 安裝憑證成功, 憑證展延完成, with serial, validity, account and receipt."""
    visitor.step("install")
    visitor.look()
    visitor.install(kept)
    visitor.see("憑證展延完成", "The renewal is complete")
    visitor.see("安裝憑證成功", "The certificate was installed successfully")
    for zh, en in (("序號", "Serial number"), ("有效期間", "Validity"), ("帳號", "Account"), ("收據", "Receipt")):
        visitor.see(zh, en)
    visitor.look()


def look_up_and_revoke(visitor: Visitor) -> None:
    """憑證查詢 shows both certificates; 憑證廢止 asks for a code of its own."""
    page = visitor.page
    visitor.go("/certificates/inquiry")
    for zh, en in (
        ("憑證查詢", "Look up the certificate"),
        ("民國", "ROC"),
        ("還有 36", "36"),
        ("存放位置", "Where it is kept"),
    ):
        visitor.see(zh, en)
    visitor.see("過去的憑證", "Earlier certificates")
    visitor.look()
    visitor.go("/certificates/revoke")
    form = visitor.step("start")
    visitor.look()
    form.locator("input[name=reason]").first.check()
    visitor.submit("start")
    page.wait_for_url("**/orders/**")
    reference = visitor.send_code()
    message = visitor.message(reference)
    assert visitor.say("廢止電子憑證", "revoking your e-certificate") in message
    visitor.private.add(code_in(message))
    visitor.enter(code_in(message))
    visitor.see("檢核成功。", "The code is right.")
    visitor.go_on()
    visitor.step("review")
    visitor.look()
    visitor.agree()
    visitor.confirm()
    page.locator("[data-done]").wait_for()
    visitor.see("憑證廢止完成", "The revocation is complete")
    visitor.look()
