"""Two people at one customer's counter, a browser each: nobody gets a certificate for a key that is not theirs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.journey.counter import Counter
from tests.journey.visitor import Visitor


@pytest.fixture
def stranger(counter: Counter, browser: Browser) -> Iterator[Visitor]:
    """Somebody who knows the customer's trading password and nothing else, in a browser of their own."""
    with Visitor.arrive(counter, browser, "en") as arrived:
        yield arrived


def no_certificate(visitor: Visitor) -> None:
    """Expect that this browser holds no certificate."""
    kept = visitor.page.evaluate(
        """async () => {
          const database = await new Promise((done, failed) => {
            const opening = indexedDB.open("chopmark");
            opening.onsuccess = () => done(opening.result);
            opening.onerror = () => failed(opening.error);
          });
          const all = database.transaction("installed").objectStore("installed").getAllKeys();
          const keys = await new Promise((done) => { all.onsuccess = () => done(all.result); });
          database.close();
          return keys.length;
        }"""
    )
    assert kept == 0


def test_a_customer_who_is_offered_a_strangers_order_begins_again_and_only_their_own_key_is_certified(
    visitor: Visitor, stranger: Visitor
) -> None:
    stranger.sign_in("C10005")
    stranger.apply("enrol")
    stranger.make_key()
    strangers_order = stranger.order
    visitor.sign_in("C10005")
    visitor.go("/certificates")
    visitor.page.locator("main a.cm-primary").click()
    assert visitor.order == strangers_order
    visitor.see("這是您的金鑰嗎？")
    expect(visitor.page.locator('[data-possession="missing"]')).to_be_visible()
    visitor.look()
    visitor.press("重新開始")
    visitor.step("key")
    assert visitor.order != strangers_order
    visitor.make_key()
    visitor.to_review(("38", "10", "10"))
    expect(visitor.page.locator("main")).to_contain_text("我的金鑰")
    visitor.finish()
    stranger.page.reload()
    stranger.see("", "You cancelled this order.")
    stranger.go("/certificates")
    no_certificate(stranger)


def test_a_strangers_replacement_does_not_stand_in_the_way_of_a_renewal(visitor: Visitor, stranger: Visitor) -> None:
    stranger.sign_in("C10001")
    stranger.apply("replace", reason="new_device")
    stranger.make_key()
    visitor.sign_in("C10001")
    visitor.apply("rekey")
    visitor.make_key("C10001")
    visitor.to_review(("49", "7", "15"))
    visitor.finish()
    visitor.see("憑證展延完成")
    stranger.page.reload()
    stranger.see("", "You cancelled this order.")
    no_certificate(stranger)


def test_a_key_in_the_browser_proves_itself_silently_after_another_sign_in(visitor: Visitor) -> None:
    visitor.sign_in("C10020")
    visitor.apply("enrol")
    visitor.make_key()
    order = visitor.order
    visitor.context.clear_cookies(name="chopmark")
    visitor.sign_in("C10020")
    visitor.go(f"/orders/{order}")
    visitor.step("channel")
    assert visitor.order == order
    visitor.look()


def test_the_key_of_a_file_asks_for_its_pass_phrase_after_another_sign_in(visitor: Visitor) -> None:
    visitor.sign_in("C10017")
    visitor.apply("enrol", "file")
    visitor.make_key()
    order = visitor.order
    visitor.context.clear_cookies(name="chopmark")
    visitor.sign_in("C10017")
    visitor.go(f"/orders/{order}")
    form = visitor.step("possession")
    form.locator("#passphrase").fill("not the pass-phrase")
    visitor.submit("possession")
    visitor.refused("這不是這次申請所用的憑證密碼。", "passphrase")
    visitor.look()
    form.locator("#passphrase").fill(visitor.passphrase)
    visitor.submit("possession")
    visitor.step("channel")
    assert visitor.order == order


def test_who_wants_the_key_elsewhere_ends_the_open_order_in_one_step(visitor: Visitor) -> None:
    visitor.sign_in("C10003")
    visitor.apply("enrol", "file")
    order = visitor.order
    visitor.go("/certificates/apply?operation=enrol")
    visitor.step("start").locator("input[name=key_home][value=browser]").check()
    visitor.submit("start")
    visitor.page.locator("dialog[open]").wait_for()
    visitor.look()
    visitor.press("結束原申請，改辦這一件")
    visitor.page.wait_for_url("**/orders/**")
    visitor.step("key")
    assert visitor.order != order
    visitor.go(f"/orders/{order}")
    visitor.see("您取消了這次申請。")
