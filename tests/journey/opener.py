"""A customer who opens one certificate file after the other at the key step of one renewal, in any engine."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.journey.chromium import chromium_engine
from tests.journey.counter import Counter
from tests.journey.engines import Engine, firefox, webkit
from tests.journey.makers import Holder
from tests.journey.visitor import PASSWORD
from tests.machine import program

ENGINES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {
    "Chromium": lambda folder: chromium_engine(program("chromium"), folder),
    "Firefox": firefox,
    "WebKit": webkit,
}
CUSTOMERS = {"P-256": "C10001", "P-384": "C10010", "RSA": "C10009"}
"""A customer of the demo for each kind of key; each may renew."""

_ENDED = """
const step = document.querySelector("form[data-step=channel][data-attached]");
if (step !== null) return "opened";
const told = document.querySelector("[data-error-summary]");
return told !== null && told.getClientRects().length > 0 ? told.innerText : "";
"""
_FORGET = """
const done = () => { document.documentElement.dataset.forgotten = "yes"; };
const asked = indexedDB.open("chopmark");
asked.onupgradeneeded = () => asked.transaction.abort();
asked.onerror = done;
asked.onsuccess = () => {
  const work = asked.result.transaction("pending", "readwrite");
  work.objectStore("pending").clear();
  work.oncomplete = () => { asked.result.close(); done(); };
};
return true;
"""
_FORGOTTEN = "return document.documentElement.dataset.forgotten === 'yes'"
_FILL = """
document.querySelector("#old_passphrase").value = arguments[0];
document.querySelector("form[data-step=key] button[data-submit]").click();
return true;
"""


@dataclass
class Opener:
    """A customer in a browser, at the key step."""

    counter: Counter
    engine: Engine
    order: str = ""

    def holder(self, kind: str, folder: Path) -> Holder:
        """Return the key and the certificate of the customer with this kind of key."""
        number = CUSTOMERS[kind]
        return Holder.of(self.counter.p12(number), self.counter.passphrase(number), folder)

    def begin(self, kind: str) -> None:
        """Sign in as that customer and begin a renewal."""
        engine, url = self.engine, self.counter.url
        engine.go(f"{url}/sign-in")
        if engine.script("return document.querySelector('.cm-signout__button') !== null"):
            engine.click(".cm-signout__button")
            engine.go(f"{url}/sign-in")
        engine.type("#who", CUSTOMERS[kind])
        engine.type("#password", PASSWORD)
        engine.click("form[action='/sign-in'] button[type=submit]")
        engine.until("signed in", "return location.pathname !== '/sign-in'")
        engine.go(f"{url}/certificates/apply?operation=rekey")
        engine.wait("form[data-step=start][data-attached]")
        engine.script("document.querySelector('input[name=key_home][value=browser]').click()")
        engine.script("document.querySelector('form[data-step=start] button[data-submit]').click()")
        engine.until("an order, new or begun before", "return location.pathname.includes('/orders/')")
        self.order = engine.url.partition("?")[0]

    def end(self) -> None:
        """Give the order up, so that another login can begin one."""
        self.engine.wait("form[data-step=cancel][data-attached]")
        self.engine.script("document.querySelector('form[data-step=cancel] button[data-submit]').click()")
        self.engine.until("ended", "return document.querySelector('[data-ended]') !== null")

    def open(self, file: Path, passphrase: str) -> str:
        """Give the file to the page: "opened" when the server has taken its key's signature, else what the page says.

        Each time a new key is made, so that each time the old one has to sign.
        """
        engine = self.engine
        engine.script(_FORGET)
        engine.until("the key that was made before is gone", _FORGOTTEN)
        engine.go(f"{self.order}?step=key")
        engine.wait("form[data-step=key][data-attached]")
        engine.type("#old_file[type=file]", str(file))
        engine.script(_FILL, passphrase)
        return str(engine.until("opened or refused", _ENDED))
