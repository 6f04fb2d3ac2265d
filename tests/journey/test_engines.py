"""The same journeys in Firefox and in WebKit, each with a fresh profile: a file, the vault, a first application, a
code typed by hand, a download, and going on after the browser was loaded again.

Chromium walks them in the other modules.
"""

import html
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journey.counter import Counter
from tests.journey.engines import Engine, firefox, patiently, webkit
from tests.journey.openssl import Opened
from tests.journey.strangers import PASSPHRASE, Maker
from tests.journey.visitor import LOOKS, PASSWORD, code_in

ENGINES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {"firefox": firefox, "webkit": webkit}


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A browser of another house, with a fresh profile."""
    with ENGINES[request.param](tmp_path_factory.mktemp(request.param) / "browser") as opened:
        yield opened


@dataclass
class Guest:
    """A customer in that browser."""

    counter: Counter
    engine: Engine

    def step(self, name: str) -> str:
        """Return the selector of a step's form once its script is there."""
        form = f"form[data-step={name}][data-attached]"
        self.engine.wait(form)
        return form

    def submit(self, name: str) -> None:
        """Press the button of a step's form.

        By script: a press at a place of the window is lost where the page moves at that moment, as it does on a busy
        machine when a choice above the button shows its hint.
        """
        self.engine.script("document.querySelector(arguments[0]).click()", f"{self.step(name)} button[data-submit]")

    def sign_in(self, number: str) -> None:
        """Sign in at the portal, after whoever was there before."""
        self.engine.go(f"{self.counter.url}/sign-in")
        if self.engine.script("return document.querySelector('.cm-signout__button') !== null"):
            self.engine.click(".cm-signout__button")
            self.engine.go(f"{self.counter.url}/sign-in")
        self.engine.type("#who", number)
        self.engine.type("#password", PASSWORD)
        self.engine.click("form[action='/sign-in'] button[type=submit]")
        self.engine.until("signed in", "return location.pathname !== '/sign-in'")

    def apply(self, operation: str, home: str) -> None:
        """Choose what and where, and begin."""
        self.engine.go(f"{self.counter.url}/certificates/apply?operation={operation}")
        form = self.step("start")
        self.engine.script("document.querySelector(arguments[0]).click()", f"{form} input[name=key_home][value={home}]")
        self.submit("start")
        self.step("key")

    def open_old(self, file: Path, passphrase: str) -> None:
        """Open the present certificate's file."""
        self.engine.type("#old_file[type=file]", str(file))
        self.engine.type("#old_passphrase", passphrase)

    def passphrase(self) -> str:
        """Return the pass-phrase that is suggested for the new file, and say that it is written down."""
        found: str = self.engine.script("return document.querySelector('[data-passphrase]').value")
        self.engine.script("document.querySelector('#written_down').click()")
        return found

    def to_install(self, birth: tuple[str, str, str]) -> None:
        """Go from the code to the issued certificate; the code is read and typed by hand."""
        self.submit("channel")
        self.step("code")
        self.engine.type("#code", self.code())
        self.submit("code")
        self.engine.click("main a.cm-primary")
        self.step("birth_date")
        for part, value in zip(("year", "month", "day"), birth, strict=True):
            self.engine.type(f"#{part}", value)
        self.submit("birth_date")
        self.step("review")
        self.engine.script("document.querySelector('#consent').click()")
        self.submit("review")
        self.engine.click("[data-dialog-confirm]")
        self.step("install")

    def code(self) -> str:
        """Return the code in the message that the page names."""
        reference: str = self.engine.script("return document.querySelector('main .cm-serial').innerText.trim()")
        for _ in range(LOOKS):
            with urllib.request.urlopen(f"{self.counter.url}/demo/inbox") as answer:
                shown = html.unescape(answer.read().decode())
            for message in shown.split('class="cm-message"'):
                if reference in message:
                    return code_in(re.sub("<[^>]*>", "", message))
        raise AssertionError(f"no message {reference}")

    def done(self) -> None:
        """Expect the end."""
        self.engine.until("done", "return document.querySelector('[data-done]') !== null")

    def put_into_browser(self) -> None:
        """Have the certificate put into this browser."""
        self.submit("install")
        self.done()


@pytest.fixture
def guest(counter: Counter, engine: Engine) -> Guest:
    """A customer of the module's counter."""
    return Guest(counter, engine)


def saved(guest: Guest, folder: Path) -> Path:
    """Return the file that was saved: where the browser put it, or as the page gives it as text."""
    if guest.engine.name == "Firefox":
        for _ in patiently():
            there = [path for path in guest.engine.downloads.glob("*.p12") if path.stat().st_size > 0]
            if there and not list(guest.engine.downloads.glob("*.part")):
                return there[0]
        raise AssertionError("nothing was saved")
    guest.engine.script("document.querySelector('[data-other-ways]').open = true")
    guest.engine.click("[data-copy-text]")
    text = guest.engine.until("the text", "return document.querySelector('[data-as-text]').value")
    made = folder / "copied.p12"
    made.write_text(text)
    return made


def test_a_first_application_into_a_file_that_is_opened_again(guest: Guest, tmp_path: Path) -> None:
    guest.sign_in("C10005" if guest.engine.name == "Firefox" else "C10003")
    guest.apply("enrol", "file")
    passphrase = guest.passphrase()
    guest.submit("key")
    guest.to_install(("38", "10", "10") if guest.engine.name == "Firefox" else ("47", "12", "31"))
    guest.engine.type("#passphrase", passphrase)
    guest.submit("install")
    guest.engine.wait("[data-saved-title]")
    file = saved(guest, tmp_path)
    guest.engine.type("#new_file[type=file]", str(file))
    guest.engine.click("[data-saved] button[data-submit]")
    guest.done()
    if guest.engine.name == "Firefox":
        assert Opened.read(file, passphrase, tmp_path / "openssl").is_good()


def test_a_renewal_with_a_file_into_the_vault_and_then_out_of_the_vault(guest: Guest, tmp_path: Path) -> None:
    number, birth = ("C10001", ("49", "7", "15")) if guest.engine.name == "Firefox" else ("C10006", ("69", "8", "8"))
    theirs = Maker(guest.counter.p12(number), guest.counter.passphrase(number), tmp_path)
    guest.sign_in(number)
    guest.apply("rekey", "browser")
    guest.open_old(theirs.openssl("theirs.p12", PASSPHRASE), PASSPHRASE)
    guest.submit("key")
    guest.step("channel")
    guest.engine.reload()  # the order is where it was
    guest.step("channel")
    guest.to_install(birth)
    guest.engine.reload()
    guest.put_into_browser()
    guest.engine.go(f"{guest.counter.url}/certificates/apply?operation=replace")
    guest.step("start")
    guest.engine.go(f"{guest.counter.url}/certificates/inquiry")
    kept = "return document.querySelector('[data-kept-text]')?.innerText === '在這台電腦的這個瀏覽器'"
    guest.engine.until("it is in this browser", kept)
