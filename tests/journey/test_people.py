"""The demo's people: first, expired, lost, of a company, unproven, and what each of them is shown."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journey.openssl import Opened
from tests.journey.visitor import Visitor


def recommended(visitor: Visitor, words: str, why: str) -> None:
    """Expect the one recommended action of the overview, and why."""
    visitor.go("/certificates")
    expect(visitor.page.locator("main a.cm-primary")).to_have_text(words)
    visitor.see(why)
    visitor.look()


def test_a_first_application_ends_with_a_certificate_file(visitor: Visitor, tmp_path: Path) -> None:
    visitor.sign_in("C10005")
    recommended(visitor, "憑證申請", "您還沒有憑證")
    visitor.apply("enrol", "file")
    visitor.make_key()
    visitor.to_review(("38", "10", "10"))
    visitor.look()
    visitor.finish(tmp_path / "first.p12")
    visitor.see("憑證申請完成")
    visitor.see("安裝憑證成功")
    assert Opened.read(tmp_path / "first.p12", visitor.passphrase, tmp_path / "openssl").is_good()
    again = tmp_path / "again.p12"
    form = visitor.step("download")
    form.locator("#passphrase").fill(visitor.passphrase)
    with visitor.page.expect_download() as download:
        visitor.submit("download")
    download.value.save_as(again)
    assert (
        Opened.read(again, visitor.passphrase, tmp_path / "again").record
        == Opened.read(tmp_path / "first.p12", visitor.passphrase, tmp_path / "once").record
    )


def test_an_expired_certificate_is_applied_for_anew_not_renewed(visitor: Visitor) -> None:
    visitor.sign_in("C10003")
    recommended(visitor, "憑證申請", "到期。請重新申請。")
    visitor.go("/certificates/apply?operation=rekey")
    visitor.see("到期。請重新申請。")
    expect(visitor.page.locator("form[data-step=start]")).to_have_count(0)
    visitor.look()
    visitor.apply("enrol")
    visitor.make_key()
    visitor.to_review(("47", "12", "31"))
    visitor.finish()
    visitor.see("憑證申請完成")


def test_who_lost_the_certificate_says_so_and_gets_a_new_one_at_once(visitor: Visitor) -> None:
    visitor.sign_in("C10002")
    visitor.go("/certificates")
    visitor.see("您的憑證正常")
    visitor.look()
    visitor.go("/certificates/apply?operation=replace")
    visitor.step("start")
    visitor.look()
    visitor.submit("start")
    visitor.refused("請選擇", "reason")
    visitor.look()
    visitor.apply("replace", "browser", "lost")
    visitor.make_key()
    visitor.to_review(("61", "2", "29"))
    visitor.see("我的舊憑證已停用，並將廢止。")
    visitor.finish()
    visitor.see("憑證申請完成")
    visitor.go("/certificates/inquiry")
    visitor.see("過去的憑證")


def test_a_company_is_asked_for_no_birth_date(visitor: Visitor) -> None:
    visitor.sign_in("C10011")
    recommended(visitor, "憑證展延", "請現在展延")
    visitor.apply("rekey")
    visitor.make_key("C10011")
    expect(visitor.page.locator(".cm-steps__item")).to_have_count(5)
    visitor.to_review(None)
    visitor.look()
    visitor.finish()
    visitor.see("憑證展延完成")


def test_an_issued_certificate_whose_key_is_elsewhere_is_cancelled_and_applied_for_again(visitor: Visitor) -> None:
    visitor.sign_in("C10013")
    recommended(visitor, "繼續您的申請", "您還沒有憑證")
    visitor.page.locator("main a.cm-primary").click()
    visitor.page.locator("form[data-step=install][data-attached]").wait_for(state="attached")
    missing = visitor.page.locator("[data-key-missing]")
    expect(missing).to_be_visible()
    expect(missing).to_contain_text("這個瀏覽器裡沒有這張憑證的金鑰。")
    visitor.look()
    visitor.submit("cancel")
    visitor.page.locator("[data-ended]").wait_for()
    visitor.see("您取消了這次申請。")
    visitor.look()
    visitor.page.locator("main a.cm-primary").click()
    visitor.apply("enrol")
    visitor.make_key()
    visitor.to_review(("51", "4", "30"))
    visitor.finish()
    visitor.see("憑證申請完成")


def test_who_has_two_accounts_chooses_one_and_the_open_order_stays(visitor: Visitor) -> None:
    visitor.sign_in("C10006")
    visitor.go("/certificates")
    accounts = visitor.page.locator("#account option")
    expect(accounts).to_have_text(["(期) F014000-0001006", "(證) 9A95-0002006"])
    visitor.page.locator("#account").select_option(label="(證) 9A95-0002006")
    visitor.press("查詢")
    visitor.page.wait_for_url("**account=9A95**")
    visitor.page.locator("main a.cm-primary").click()
    visitor.step("start")
    visitor.submit("start")
    visitor.page.wait_for_url("**/orders/**")
    order = visitor.order
    expect(visitor.page.locator("#account option:checked")).to_have_text("(證) 9A95-0002006")
    visitor.page.locator("#account").select_option(label="(期) F014000-0001006")
    visitor.press("查詢")
    visitor.see("開始了「憑證展延」")
    visitor.look()
    visitor.page.locator("main a.cm-primary").click()
    visitor.step("key")
    assert visitor.order == order


def test_a_mobile_number_that_changed_yesterday_is_shown_with_its_reason_and_mail_works(visitor: Visitor) -> None:
    visitor.sign_in("C10007")
    visitor.go("/profile")
    visitor.see("最近才變更")
    visitor.look()
    visitor.apply("rekey")
    visitor.make_key("C10007")
    mobile = visitor.page.locator("#channel-mobile")
    expect(mobile).to_be_disabled()
    visitor.see("這項資料最近才變更。為了您的安全，")
    expect(visitor.page.locator("#channel-email")).to_be_checked()
    visitor.look()
    visitor.prove_code("email")


def test_who_has_no_mail_address_is_offered_the_phone_only(visitor: Visitor) -> None:
    visitor.sign_in("C10008")
    visitor.go("/profile")
    visitor.see("尚未登記。")
    visitor.look()
    visitor.apply("rekey")
    visitor.make_key("C10008")
    expect(visitor.page.locator("input[name=channel]")).to_have_count(1)
    visitor.look()
    visitor.prove_code()


def test_a_held_customer_is_told_to_call(visitor: Visitor) -> None:
    visitor.sign_in("C10012")
    visitor.apply("enrol")
    visitor.make_key()
    visitor.prove_code()
    visitor.go_on()
    visitor.birth_date("44", "9", "9")
    visitor.refused("請來電")
    expect(visitor.page.locator("#year")).to_have_value("44")
    visitor.look()


@pytest.mark.parametrize(
    ("number", "birth", "era", "masked", "western"),
    [
        ("C10009", ("74", "1", "5"), "roc", "A8", "1985年1月5日"),
        ("C10010", ("2", "6", "4"), "before_roc", "H1", "1910年6月4日"),
    ],
    ids=["resident", "born before the Republic"],
)
def test_a_resident_and_one_born_before_the_republic_renew(
    visitor: Visitor, number: str, birth: tuple[str, str, str], era: str, masked: str, western: str
) -> None:
    visitor.sign_in(number)
    visitor.apply("rekey")
    visitor.make_key(number)
    visitor.prove_code()
    visitor.go_on()
    form = visitor.step("birth_date")
    form.locator("#era").select_option(era)
    for name, value in zip(("year", "month", "day"), birth, strict=True):
        form.locator(f"#{name}").fill(value)
    expect(visitor.page.locator("[data-western]")).to_have_text(f"西元 {western}")
    expect(visitor.page.locator("main dl .cm-masked")).to_contain_text(masked)
    visitor.look()
    visitor.submit("birth_date")
    visitor.step("review")
    visitor.finish()
    visitor.see("憑證展延完成")


@pytest.mark.parametrize(
    ("number", "words", "why"),
    [
        ("C10004", "憑證申請", "您上一張憑證已廢止。"),
        ("C10016", "憑證申請", "到期。請重新申請。"),
        ("C10018", "憑證展延", "請現在展延"),
        ("C10019", "憑證展延", "請現在展延"),
        ("C10020", "憑證申請", "您還沒有憑證。"),
    ],
    ids=["revoked", "expired", "sub-brokerage", "ends today", "company"],
)
def test_everybody_is_told_the_one_thing_to_do(visitor: Visitor, number: str, words: str, why: str) -> None:
    visitor.sign_in(number)
    recommended(visitor, words, why)


def test_a_certificate_in_order_offers_nothing_and_its_history_can_be_seen(visitor: Visitor) -> None:
    visitor.sign_in("C10014")
    visitor.go("/certificates")
    visitor.see("您的憑證正常")
    expect(visitor.page.locator("main a.cm-primary")).to_have_count(0)
    visitor.go("/certificates/apply?operation=rekey")
    visitor.see("您的憑證正常")
    visitor.go("/certificates/inquiry")
    expect(visitor.page.locator(".cm-history__item")).to_have_count(1)
    visitor.look()
