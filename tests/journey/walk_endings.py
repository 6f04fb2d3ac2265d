"""Pages at the end of an order, walked like the others: a program's key, what ended, what was stopped."""

import base64
import re
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2

from chopmark.client.signing import ClientKey
from tests.journey.engines import patiently
from tests.journey.walk import STAYING, Place, Walker
from tests.journey.walk_beside import EST_URL, PROGRAM, begin

SOCKET = "CHOPMARK_EST__SOCKET"
BORN = ("38", "10", "10")
"""The birth date of the customer who walks `fetched`."""
STOP_CODE = re.compile(r"(?<![A-Z])[BCDFGHJKLMNPRSTW]{5}-[BCDFGHJKLMNPRSTW]{5}(?![A-Z])")
_WORDS = "form[data-step=possession][data-attached]"
KEY_WORDS = Place("possession, key words", f"{_WORDS} button[data-submit]", _WORDS)
_FETCHED = "main [data-order]:not(:has(form, [data-poll])) .cm-facts"
FETCHES = Place("install, a program fetches", "main p > a.govuk-link[href^='/orders/']", _FETCHED)
CERTIFICATES = Place("certificates", "main h1", path="/certificates")
MENU = ".cm-side a, .cm-phone-menu summary"
"""What the keyboard comes to on a page whose next action is a telephone call."""
FORM = Place("stop", "main form[action='/stop'] button")
STOPPED = Place("stop, answered", "main .cm-call, main [data-error-summary] a, main [data-stands]")
"""What says that the stop stands: the answer itself, and after a reload the form."""


def _ended(name: str, action: str = "main a.cm-primary") -> Place:
    return Place(f"ended, {name}", action, "[data-ended]")


CALL = "main .cm-call"


@contextmanager
def est_door(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Have the EST interface wait on its socket, as it does behind a proxy."""
    command = [sys.executable, "-m", "chopmark", "est"]
    with (folder / "est.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        assert any(line.startswith("ready ") for line in process.stdout), (folder / "est.log").read_text()
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def fetched(walker: Walker) -> None:
    """Walk a program's order: the customer types the key's words, and the program fetches the certificate."""
    guest, engine = walker.guest, walker.guest.engine
    begin(walker, "helper")
    order = guest.order
    engine.click(PROGRAM.action)
    engine.wait("body[data-shown-once]")
    _, user, password = engine.script("return [...document.querySelectorAll('main dd')].map((e) => e.innerText.trim())")
    key = ClientKey.generate()
    assert _asked(walker, (user, password), key) == httpx2.codes.ACCEPTED
    guest.go(f"/orders/{order}")
    walker.note(KEY_WORDS, "shown", walker.seen(KEY_WORDS))
    guest.watch.look("possession, key words")
    walker.stay(KEY_WORDS)
    engine.type("#key_words", key.words)
    walker.note(KEY_WORDS, "offline", walker.offline(KEY_WORDS))
    before = walker.counts()
    engine.press_twice(KEY_WORDS.action)
    guest.step("channel")
    same = guest.order == order and walker.counts() == before
    walker.note(KEY_WORDS, "double click", "ok" if same else "something was done")
    _to_review(walker)
    engine.click("[data-dialog-confirm]")
    engine.wait(_FETCHED)
    guest.watch.look("a program fetches")
    _stands_still(walker, FETCHES)
    assert _asked(walker, (user, password), key) == httpx2.codes.OK


def _asked(walker: Walker, credential: tuple[str, str], key: ClientKey) -> int:
    """Send the program's request; return the status of the answer."""
    to = httpx2.HTTPTransport(uds=walker.guest.counter.environment[SOCKET])
    with httpx2.Client(transport=to, base_url=EST_URL.replace("https", "http"), timeout=60) as client:
        sent = base64.b64encode(key.request())
        headers = {"Content-Type": "application/pkcs10"}
        return client.post("/.well-known/est/simpleenroll", content=sent, headers=headers, auth=credential).status_code


def _to_review(walker: Walker) -> None:
    guest, engine = walker.guest, walker.guest.engine
    guest.enter(guest.ask_for_code())
    engine.wait(".cm-result")
    engine.click("main a.cm-primary")
    guest.step("birth_date")
    for part, value in zip(("year", "month", "day"), BORN, strict=True):
        engine.type(f"#{part}", value)
    guest.submit("birth_date")
    guest.step("review")
    engine.script("document.querySelector('#consent').click()")
    guest.submit("review")


def ended(walker: Walker) -> None:
    """Walk what is shown of orders that ended without a certificate."""
    guest, engine = walker.guest, walker.guest.engine
    _to_channel(walker)
    guest.give_up()
    _walk_ended(walker, _ended("cancelled"))
    for name, wanted, action in (
        ("out of time", "expires_at = 1", "main a.cm-primary"),
        ("refused", "state = 'refused'", CALL),
        ("on hold", "state = 'held'", CALL),
    ):
        _to_channel(walker)
        with closing(sqlite3.connect(guest.counter.data / "chopmark.sqlite", timeout=30)) as database:
            assert database.execute(f"UPDATE orders SET {wanted} WHERE id = ?", (guest.order,)).rowcount == 1
            database.commit()
        engine.reload()
        _walk_ended(walker, _ended(name, action))
    _to_channel(walker)
    guest.ask_for_code()
    engine.script("document.querySelector('form[data-step=dispute] button[data-submit]').click()")
    engine.wait("dialog[open]")
    engine.click("dialog[open] button.govuk-button--warning")
    engine.wait("[data-ended]")
    _walk_ended(walker, _ended("not my number"))


def _to_channel(walker: Walker) -> None:
    begin(walker, "browser")
    walker.guest.submit("key")
    walker.guest.step("channel")


def _walk_ended(walker: Walker, place: Place) -> None:
    walker.note(place, "shown", walker.seen(place))
    walker.guest.watch.look(place.name)
    if place.action == CALL:
        _stands_still(walker, place, MENU)
        return
    walker.stay(place)
    walker.note(place, "offline", walker.offline(place))
    before = walker.counts()
    walker.guest.engine.press_twice(place.action)
    _at_certificates(walker, place, before)


def _at_certificates(walker: Walker, place: Place, before: tuple[int, ...]) -> None:
    arrived = "return location.pathname === '/certificates' && document.readyState === 'complete'"
    walker.guest.engine.until("the page of the certificates", arrived)
    said = walker.seen(CERTIFICATES)
    walker.note(place, "double click", said if walker.counts() == before else "something was done")


def _stands_still(walker: Walker, place: Place, by_keyboard: str = "") -> None:
    """Do all to a page of an order that does not go on; the keyboard goes to `by_keyboard` if that is another thing."""
    before = walker.counts()
    walker.stay(place, [deed for deed in STAYING if deed != "keyboard"])
    walker.stay(replace(place, action=by_keyboard or place.action), ("keyboard",))
    walker.note(place, "offline", walker.offline(place))
    walker.guest.engine.press_twice(place.action)
    said = walker.seen(place)
    walker.note(place, "double click", said if walker.counts() == before else "something was done")


def revoked(walker: Walker) -> None:
    """Walk the receipt of a revocation."""
    guest, engine, place = walker.guest, walker.guest.engine, Place("done, revoked", form="[data-done]")
    guest.go("/certificates/revoke")
    form = guest.step("start")
    engine.script("document.querySelector(arguments[0]).click()", f"{form} input[name=reason]")
    guest.submit("start")
    guest.enter(guest.ask_for_code())
    engine.wait(".cm-result")
    engine.click("main a.cm-primary")
    guest.step("review")
    engine.script("document.querySelector('#consent').click()")
    guest.submit("review")
    engine.click("[data-dialog-confirm]")
    engine.wait("[data-done]")
    walker.note(place, "shown", walker.seen(place))
    guest.watch.look("done, revoked")
    walker.stay(place)
    walker.note(place, "offline", walker.offline(place))
    before = walker.counts()
    engine.press_twice(place.action)
    _at_certificates(walker, place, before)


def stopped(walker: Walker) -> None:
    """Walk the answer to a stop code, which nobody signs in for, and the stopped order as its customer sees it.

    Two orders are stopped: gone back to or loaded again, the answer is there no more, so each needs one of its own.
    """
    guest = walker.guest
    _, code = _replaced(walker, frozenset())
    _answered(walker, code, 1)
    walker.stay(replace(STOPPED, action=CALL), ("200 %", "forced colours"))
    walker.stay(replace(STOPPED, action=f"{STOPPED.action}, {FORM.action}"), ("second tab",))
    walker.note(STOPPED, "second tab", walker.seen(replace(STOPPED, action=CALL)))
    walker.stay(STOPPED, ("back",))
    guest.sign_in(walker.number)
    order, code = _replaced(walker, frozenset({code}))
    _answered(walker, code, 2)
    walker.stay(STOPPED, ("reload", "slow 3G"))
    walker.stay(replace(STOPPED, action=FORM.action), ("keyboard",))
    walker.note(STOPPED, "offline", walker.offline(STOPPED))
    walker.note(STOPPED, "reload", _used(walker, 2))
    guest.sign_in(walker.number)
    guest.go(f"/orders/{order}")
    _walk_ended(walker, _ended("stopped by a contact", CALL))


def _replaced(walker: Walker, known: frozenset[str]) -> tuple[str, str]:
    """Apply for a replacement up to the right code; return the order and its stop code, which is none of `known`."""
    guest, engine = walker.guest, walker.guest.engine
    guest.go("/certificates/apply?operation=replace")
    guest.step("start")
    engine.script("document.querySelector('input[name=reason]').click()")
    guest.submit("start")
    guest.submit("key")
    guest.enter(guest.ask_for_code())
    engine.wait(".cm-result")
    for _ in patiently():
        with urllib.request.urlopen(f"{guest.counter.url}/demo/inbox") as answer:
            if found := set(STOP_CODE.findall(answer.read().decode())) - known:
                return guest.order, found.pop()
    raise AssertionError("no message with a stop code")


def _answered(walker: Walker, code: str, used: int) -> None:
    """Have an order stopped, with a double click, by somebody who is not signed in."""
    guest = walker.guest
    guest.to_sign_in()
    guest.go("/stop")
    guest.engine.type("#reference", code)
    guest.engine.press_twice(FORM.action)
    guest.engine.wait(CALL)
    walker.note(STOPPED, "double click", _used(walker, used))
    walker.note(STOPPED, "double click", walker.seen(replace(STOPPED, action=CALL)))
    guest.watch.look("stop, answered")


def _used(walker: Walker, wanted: int) -> str:
    """Return "ok" if so many stop codes were used at the server."""
    path = f"file:{walker.guest.counter.data}/chopmark.sqlite?mode=ro"
    with closing(sqlite3.connect(path, uri=True, timeout=30)) as database:
        found = database.execute("SELECT count(*) FROM stops WHERE used_at IS NOT NULL").fetchone()[0]
    return "ok" if found == wanted else f"{found} codes were used instead of {wanted}"
