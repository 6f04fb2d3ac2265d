"""The journeys in Firefox and in WebKit, each with a fresh profile; Chromium walks them in the other modules.

One server, whose clock the module moves, and one browser of each kind, which all tests share.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.journey.autofill import VALUE, filled_control, offered_until_control, save_login
from tests.journey.counter import Counter, Prepared, running_ahead
from tests.journey.engines import Engine, firefox, webkit
from tests.journey.guest import Guest, saved
from tests.journey.makers import Holder, keytool, openssl_3
from tests.journey.openssl import Opened, authorities
from tests.journey.strangers import PASSPHRASE, Maker
from tests.journey.visitor import PASSWORD
from tests.journey.walk import short_walk
from tests.journey.watching import Watch
from tests.machine import program

ENGINES = {"Firefox": firefox, "WebKit": webkit}
APPLY = {"Firefox": ("C10005", ("38", "10", "10")), "WebKit": ("C10003", ("47", "12", "31"))}
RENEW = {"Firefox": ("C10001", ("49", "7", "15")), "WebKit": ("C10006", ("69", "8", "8"))}
COME_BACK = {"Firefox": "C10009", "WebKit": "C10011"}
WALK = {
    "Firefox": (("C10010", ("-1", "6", "4")), ("C10018", ("93", "5", "20"))),
    "WebKit": (("C10015", ("67", "7", "7")), ("C10007", ("64", "3", "20"))),
}
"""Who walks the short form of the table: it ends before the birth date is asked."""
BROUGHT, BORN = "C10021", ("59", "3", "3")
"""Who has a certificate of the CA before (Firefox)."""
NEARLY_A_YEAR = timedelta(days=345)
KEPT_HERE = "return document.querySelector('[data-kept-text]')?.innerText === '在這台電腦的這個瀏覽器'"


@pytest.fixture(scope="module")
def counter(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The module's counter, whose clock can be put ahead."""
    with running_ahead(prepared, tmp_path_factory.mktemp("counter")) as started:
        yield started


@dataclass
class Browsers:
    """The browsers of other houses: opened when first asked for, and kept for all tests."""

    counter: Counter
    open: Callable[[str], Engine]
    there: dict[str, Watch] = field(default_factory=dict)

    def guest(self, name: str) -> Guest:
        """Return a customer in the browser of this name."""
        if name not in self.there:
            self.there[name] = Watch(self.open(name))
        return Guest(self.counter, self.there[name].engine, self.there[name])


@pytest.fixture(scope="module")
def browsers(counter: Counter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    """Firefox and WebKit, each with a fresh profile."""
    with ExitStack() as stack:
        yield Browsers(
            counter, lambda name: stack.enter_context(ENGINES[name](tmp_path_factory.mktemp(name) / "browser"))
        )


@pytest.fixture(params=list(ENGINES))
def guest(request: pytest.FixtureRequest, browsers: Browsers) -> Guest:
    """A customer of the module's counter."""
    return browsers.guest(request.param)


@dataclass
class Vaults:
    """Certificates that a renewal with a file has put into each browser, once."""

    counter: Counter
    browsers: Browsers
    folder: Path
    filled: set[str] = field(default_factory=set)

    def fill(self, name: str) -> None:
        """Renew with a file of OpenSSL into this browser, unless that has been done."""
        if name in self.filled:
            return
        guest = self.browsers.guest(name)
        number, birth = RENEW[name]
        folder = self.folder / name
        folder.mkdir()
        theirs = Maker(self.counter.p12(number), self.counter.passphrase(number), folder)
        guest.sign_in(number)
        guest.apply("rekey", "browser")
        guest.open_old(theirs.openssl("theirs.p12", PASSPHRASE), PASSPHRASE)
        guest.submit("key")
        guest.step("channel")
        guest.engine.reload()  # the order is where it was
        guest.to_install(birth)
        guest.engine.reload()
        guest.put_into_browser()
        self.filled.add(name)


@pytest.fixture(scope="module")
def vaults(counter: Counter, browsers: Browsers, tmp_path_factory: pytest.TempPathFactory) -> Vaults:
    """What lies in the browsers."""
    return Vaults(counter, browsers, tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def nearly_a_year_later(counter: Counter, vaults: Vaults) -> None:
    """Each browser keeps a certificate, and its renewal window is open."""
    for name in ENGINES:
        vaults.fill(name)
    counter.put_clock_ahead(NEARLY_A_YEAR)


def test_a_refusal_that_the_server_renders_takes_the_focus(guest: Guest) -> None:
    guest.to_sign_in()
    guest.engine.type("#who", "C99999")
    guest.engine.type("#password", PASSWORD)
    guest.engine.click("form[action='/sign-in'] button[type=submit]")
    guest.engine.until("focused", "return document.activeElement.matches('[data-error-summary]:not([hidden])')")
    guest.watch.look("a refused sign-in")
    guest.engine.click("[data-error-list] a")
    guest.engine.until("at the field", "return document.activeElement.id === 'password'")


def test_a_first_application_into_a_file_that_is_opened_again(guest: Guest, tmp_path: Path) -> None:
    number, birth = APPLY[guest.engine.name]
    guest.sign_in(number)
    guest.apply("enrol", "file")
    passphrase = guest.passphrase()
    guest.submit("key")
    guest.to_install(birth)
    guest.engine.type("#passphrase", passphrase)
    guest.submit("install")
    guest.engine.wait("[data-saved-title]")
    file = saved(guest, tmp_path)
    guest.engine.type("#new_file[type=file]", str(file))
    guest.engine.click("[data-saved] button[data-submit]")
    guest.done()
    assert guest.watch.looked_at >= {
        "sign-in",
        "start",
        "key",
        "channel",
        "code",
        "birth_date",
        "review",
        "install",
        "done",
    }
    if guest.engine.name == "Firefox":  # WebKit's automation saves nothing, so there is nothing to save once more
        assert Opened.read(file, passphrase, tmp_path / "openssl").is_good()
        guest.engine.wait("[data-download-again]")
        guest.engine.type("#passphrase", passphrase)
        guest.submit("download")
        again = saved(guest, tmp_path, frozenset({file}))
        assert Opened.read(again, passphrase, tmp_path / "again").pair_fits()


def test_a_renewal_with_a_file_into_the_vault(guest: Guest, vaults: Vaults) -> None:
    vaults.fill(guest.engine.name)
    guest.sign_in(RENEW[guest.engine.name][0])
    guest.go("/certificates/inquiry")
    guest.engine.until("it is in this browser", KEPT_HERE)


def test_files_of_openssl_and_keytool_with_a_certificate_of_the_ca_before_renew_with_its_ca_in_them_and_without(
    browsers: Browsers, tmp_path: Path
) -> None:
    guest = browsers.guest("Firefox")
    program("keytool")
    holder = Holder.of(guest.counter.p12(BROUGHT), guest.counter.passphrase(BROUGHT), tmp_path / "theirs")
    whole, alone = tmp_path / "openssl.p12", tmp_path / "keytool.p12"
    openssl_3(holder, PASSPHRASE, whole)
    holder.leave_authorities_out()
    keytool(holder, PASSPHRASE, alone)
    held = {file: authorities(file, PASSPHRASE) for file in (whole, alone)}
    assert held == {whole: ["CN=Former Demo CA,O=Former Certification Company (demo),C=TW"], alone: []}
    guest.sign_in(BROUGHT)
    guest.apply("rekey", "browser")
    guest.open_old(alone, PASSPHRASE)
    guest.submit("key")
    guest.give_up()
    guest.apply("rekey", "browser")
    guest.open_old(whole, PASSPHRASE)
    guest.submit("key")
    guest.to_install(BORN)
    guest.put_into_browser()
    guest.go("/certificates/inquiry")
    guest.engine.until("the new one is in this browser", KEPT_HERE)
    guest.engine.until("whose the old one was", "return document.body.innerText.includes('舊憑證公司（示範）')")


def test_who_closes_the_page_comes_back_to_the_open_order_and_a_wrong_code_costs_nothing_else(guest: Guest) -> None:
    number = COME_BACK[guest.engine.name]
    guest.sign_in(number)
    with guest.engine.second_tab():
        guest.apply("rekey", "browser")
        guest.open_old(guest.counter.p12(number), guest.counter.passphrase(number))
        guest.submit("key")
        guest.step("channel")
        code, order = guest.ask_for_code(), guest.order
    guest.go("/certificates")
    guest.engine.until("what is open", "return document.querySelector('main').innerText.includes('開始了「憑證展延」')")
    guest.engine.click("main a.cm-primary")
    guest.enter(f"{(int(code) + 1) % 1_000_000:06}")
    guest.engine.wait("#code-error")
    assert guest.order == order
    guest.enter(code)
    guest.engine.wait(".cm-result")
    guest.engine.forget()
    guest.sign_in(number)
    guest.go("/certificates")
    guest.engine.click("main a.cm-primary")
    guest.step("channel")  # what an earlier login has approved is no approval in this one
    assert guest.order == order


@pytest.mark.soak
def test_the_first_steps_bear_what_people_do_to_them(guest: Guest) -> None:
    column = short_walk(guest, *WALK[guest.engine.name])
    assert column.faults() == {}
    assert ("code", "offline") in column.found


def test_the_trading_password_is_filled_in_the_sign_in_and_nowhere_else_and_no_passphrase_is_saved_as_one(
    browsers: Browsers,
) -> None:
    guest, number = browsers.guest("Firefox"), "C10008"
    guest.sign_in(number)
    save_login(guest.engine, guest.counter.url, number, PASSWORD)
    guest.to_sign_in()
    guest.engine.until("the password is filled", f"{VALUE} === arguments[1]", "#password", PASSWORD)
    assert guest.engine.script(VALUE, "#who") == number
    guest.engine.click("form[action='/sign-in'] button[type=submit]")
    guest.engine.until("signed in", "return location.pathname !== '/sign-in'")
    guest.apply("rekey", "file")
    filled_control(guest.engine, PASSWORD)
    assert [guest.engine.script(VALUE, f"#{name}") for name in ("old_passphrase", "old_key_passphrase")] == ["", ""]
    guest.engine.reload()
    guest.step("key")
    guest.passphrase()
    guest.open_old(guest.counter.p12(number), guest.counter.passphrase(number))
    guest.submit("key")
    guest.step("channel")
    offered = offered_until_control(guest.engine, "another-Pass-1357")
    assert guest.counter.passphrase(number) not in offered


@pytest.mark.usefixtures("nearly_a_year_later")
def test_a_renewal_out_of_the_vault_and_into_it_again(guest: Guest) -> None:
    number, birth = RENEW[guest.engine.name]
    guest.sign_in(number)
    guest.apply("rekey", "browser")
    guest.engine.wait("[data-old-key-found]")
    guest.submit("key")
    guest.to_install(birth)
    guest.put_into_browser()
    guest.go("/certificates/inquiry")
    guest.engine.until("the new one is in this browser", KEPT_HERE)
    shown = guest.engine.script("return document.querySelectorAll('.cm-history__item').length")
    assert shown == 2
