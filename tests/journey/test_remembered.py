"""Chromium's password manager knows the trading password: it comes into the sign-in and into no other field."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.journey.counter import Counter
from tests.journey.remembered import SHOWN, filled, opened, save_login, screen
from tests.journey.visitor import PASSWORD, Visitor

pytestmark = pytest.mark.soak
NUMBER, BIRTH = "C10006", ("69", "8", "8")


@pytest.fixture
def visitor(chromium: Path, counter: Counter, tmp_path: Path) -> Iterator[Visitor]:
    """A customer whose Chromium has saved the login."""
    profile = tmp_path / "profile"
    with screen() as display, sync_playwright() as playwright:
        with opened(playwright, chromium, profile, display, counter.url) as context:
            context.pages[0].goto("/sign-in")
        save_login(profile, counter.url, NUMBER, PASSWORD)
        with opened(playwright, chromium, profile, display, counter.url) as context:
            with Visitor.in_context(counter, context, "zh-TW") as arrived:
                yield arrived


def test_the_trading_password_is_filled_in_the_sign_in_and_in_no_other_field_of_any_form(
    visitor: Visitor, tmp_path: Path
) -> None:
    page, seen = visitor.page, {}

    def look(name: str) -> None:
        seen[name] = filled(page)
        looked.update(page.evaluate(SHOWN))
        page.reload()

    looked: set[str] = set()
    visitor.go("/sign-in")
    page.wait_for_function("() => document.querySelector('#password').matches(':autofill')")
    look("sign-in")
    visitor.sign_in(NUMBER)
    page.wait_for_url("**/home")
    for path in ("/profile", "/certificates/inquiry", "/certificates/revoke", "/stop"):
        visitor.go(path)
        look(path)
    visitor.apply("rekey", "file")
    visitor.step("key")
    look("key")
    visitor.make_key(NUMBER)
    look("channel")
    reference = visitor.send_code()
    look("code")
    visitor.enter(visitor.code(reference))
    page.locator(".cm-result").wait_for()
    visitor.go_on()
    visitor.step("birth_date")
    look("birth_date")
    visitor.birth_date(*BIRTH)
    visitor.step("review")
    look("review")
    visitor.agree()
    visitor.confirm()
    visitor.step("install").locator("#passphrase").fill(visitor.passphrase)
    visitor.save(tmp_path / "new.p12")
    look("install")
    assert seen.pop("sign-in") == {"who", "password"}
    assert {name: fields for name, fields in seen.items() if fields} == {}
    assert {"old_passphrase", "old_key_passphrase", "passphrase", "code", "year", "new_file"} <= looked
