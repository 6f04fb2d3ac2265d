"""A customer in Firefox or in WebKit: the steps of an order as that browser's own automation does them."""

import html
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.journey.counter import Counter
from tests.journey.engines import Engine, patiently
from tests.journey.visitor import LOOKS, PASSWORD, code_in
from tests.journey.watching import Watch


@dataclass
class Guest:
    """A customer in that browser."""

    counter: Counter
    engine: Engine
    watch: Watch

    def step(self, name: str) -> str:
        """Return the selector of a step's form once its script is there."""
        form = f"form[data-step={name}][data-attached]"
        self.engine.wait(form)
        self.watch.look(name)
        return form

    def submit(self, name: str) -> None:
        """Press the button of a step's form.

        By script: a press at a place of the window is lost where the page moves at that moment, as it does on a busy
        machine when a choice above the button shows its hint.
        """
        self.engine.script("document.querySelector(arguments[0]).click()", f"{self.step(name)} button[data-submit]")

    def go(self, path: str) -> None:
        """Open a page of the portal."""
        self.engine.go(f"{self.counter.url}{path}")

    def sign_in(self, number: str) -> None:
        """Sign in at the portal, after whoever was there before."""
        self.to_sign_in()
        self.engine.type("#who", number)
        self.engine.type("#password", PASSWORD)
        self.engine.click("form[action='/sign-in'] button[type=submit]")
        self.engine.until("signed in", "return location.pathname !== '/sign-in'")

    def to_sign_in(self) -> None:
        """Show the sign-in form, to a customer of whom nothing is known."""
        self.go("/sign-in")
        if self.engine.script("return document.querySelector('.cm-signout__button') !== null"):
            self.engine.click(".cm-signout__button")
            self.go("/sign-in")
        self.watch.look("sign-in")

    def apply(self, operation: str, home: str) -> None:
        """Choose what and where, and begin."""
        self.engine.go(f"{self.counter.url}/certificates/apply?operation={operation}")
        form = self.step("start")
        self.engine.script("document.querySelector(arguments[0]).click()", f"{form} input[name=key_home][value={home}]")
        self.submit("start")
        self.step("key")

    def open_old(self, file: Path, passphrase: str) -> None:
        """Open the present certificate's file."""
        self.watch.look("old file")
        self.engine.type("#old_file[type=file]", str(file))
        self.engine.type("#old_passphrase", passphrase)

    def passphrase(self) -> str:
        """Return the pass-phrase that is suggested for the new file, and say that it is written down."""
        found: str = self.engine.script("return document.querySelector('[data-passphrase]').value")
        self.engine.script("document.querySelector('#written_down').click()")
        return found

    def give_up(self) -> None:
        """Cancel the order at the step of the channel."""
        self.step("channel")
        self.engine.wait("form[data-step=cancel][data-attached]")
        self.engine.script("document.querySelector('form[data-step=cancel] button[data-submit]').click()")
        self.engine.until("ended", "return document.querySelector('[data-ended]') !== null")

    @property
    def order(self) -> str:
        """The order whose page is shown."""
        return self.engine.url.partition("/orders/")[2].partition("?")[0]

    def ask_for_code(self) -> str:
        """Have a code sent and return it."""
        self.submit("channel")
        self.step("code")
        return self.code()

    def enter(self, code: str) -> None:
        """Type a code by hand and have it checked."""
        self.step("code")
        self.engine.type("#code", code)
        self.submit("code")

    def to_install(self, birth: tuple[str, str, str]) -> None:
        """Go from the code to the issued certificate; the code is read and typed by hand."""
        self.enter(self.ask_for_code())
        self.engine.wait(".cm-result")
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
        self.watch.look("done")

    def put_into_browser(self) -> None:
        """Have the certificate put into this browser."""
        self.submit("install")
        self.done()


def _size(path: Path) -> int:
    """Return a file's octets; 0 for one that was renamed meanwhile, as Firefox does when a download is complete."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def saved(guest: Guest, folder: Path, after: frozenset[Path] = frozenset()) -> Path:
    """Return the file that was saved: where the browser put it (none of `after`), or as the page gives it as text."""
    if guest.engine.name == "Firefox":
        for _ in patiently():
            names = set(guest.engine.downloads.iterdir())
            there = [path for path in names - after if path.suffix == ".p12" and _size(path) > 0]
            if there and not any(path.suffix == ".part" for path in names):
                return there[0]
        raise AssertionError("nothing was saved")
    guest.engine.script("document.querySelector('[data-other-ways]').open = true")
    guest.engine.click("[data-copy-text]")
    text = guest.engine.until("the text", "return document.querySelector('[data-as-text]').value")
    made = folder / "copied.p12"
    made.write_text(text)
    return made
