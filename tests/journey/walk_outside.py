"""Pages that nobody signs in for, walked like the others: the sign-in, the issuer's certificates, pages of errors."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from tests.journey.engines import Refused
from tests.journey.visitor import PASSWORD
from tests.journey.walk import OFFLINE_S, Place, Walker
from tests.journey.walk_beside import PROGRAM, begin

_FORM = "form[action='/sign-in']"
WANTED = "/certificates"
"""Where somebody was going who is asked to sign in; the way there is kept whatever happens at the form."""
SIGN_IN = Place("sign-in", f"{_FORM} button[type=submit]", path=f"/sign-in?next={WANTED}")
NOT_IN = Place("sign-in, refused", SIGN_IN.action)
SUMMARY = "[data-error-summary]"
WRONG = "not-the-password"
REPOSITORY = Place("repository", "main a.cm-file-link", path="/repository")
_ANY = "main .cm-primary"
"""What to press next: a link on the page of an error, the form's button once that page is loaded again."""
NOWHERE = Place("error, no such page (404)", _ANY, path="/nowhere")
NOT_SO = Place("error, not to be opened that way (405)", _ANY, path="/sign-out")
TOO_OLD = Place("error, the form was too old (403)", _ANY)
CHANGED = Place("error, the order has changed (409)", _ANY)
ONE_BY_ONE = (("200 %", "forced colours", "second tab", "reload"), ("back",), ("keyboard",), ("slow 3G",))
"""Loaded again, the answer to a form is there no more: these deeds each have an answer of their own."""
STANDS = "return location.pathname === '/again'"
"""Whether the answer to a form stands where it can be loaded again: the page's script has put it there."""
ARRIVED = "return location.pathname === arguments[0] && document.readyState === 'complete'"


@dataclass
class Outsider(Walker):
    """Walks where it is not yet known who somebody is, so that everybody's attempts and sessions are counted."""

    def counts(self) -> tuple[int, ...]:
        """Return how many sessions, wrong passwords, orders and codes there are at the server, of all customers."""
        asked = (
            "SELECT count(*) FROM sessions",
            "SELECT coalesce(sum(failed), 0) FROM entries",
            "SELECT count(*) FROM orders",
            "SELECT count(*) FROM challenges",
        )
        with closing(sqlite3.connect(f"file:{self.guest.counter.data}/chopmark.sqlite?mode=ro", uri=True)) as database:
            return tuple(int(database.execute(query).fetchone()[0]) for query in asked)

    def made(self, place: Place, deed: str, before: tuple[int, ...], sessions: int, wrong: int) -> None:
        """Note whether exactly so many sessions and wrong passwords were added."""
        wanted = (before[0] + sessions, before[1] + wrong, *before[2:])
        now = self.counts()
        self.note(place, deed, "ok" if now == wanted else f"sessions, wrong passwords, ...: {now} instead of {wanted}")


def _fill(walker: Walker, number: str, password: str) -> None:
    walker.guest.engine.type("#who", number)
    walker.guest.engine.type("#password", password)


def _nobody(walker: Walker) -> None:
    """Show the form to a browser of which nothing is known."""
    walker.guest.engine.forget()
    walker.guest.go(SIGN_IN.path)
    walker.guest.engine.wait(SIGN_IN.action)


def _pressed_offline(walker: Outsider, place: Place) -> None:
    """Press "sign in" without a network; at the address that was shown, the form is there and signs in once."""
    engine, before, url = walker.guest.engine, walker.counts(), walker.guest.engine.url
    _fill(walker, walker.number, PASSWORD)
    with walker.line.offline():
        with suppress(Refused):
            engine.click(place.action)
        threading.Event().wait(OFFLINE_S)
        walker.made(place, "offline", before, 0, 0)
    engine.go(url)
    walker.note(place, "offline", walker.seen(place))
    walker.made(place, "offline", before, 0, 0)
    _fill(walker, walker.number, PASSWORD)
    engine.click(place.action)
    engine.until("signed in", ARRIVED, WANTED)
    walker.made(place, "offline", before, 1, 0)


def sign_in(walker: Outsider) -> None:
    """Walk the sign-in; the right password, pressed twice, opens one session."""
    engine = walker.guest.engine
    _nobody(walker)
    walker.guest.watch.look("sign-in")
    walker.stay(SIGN_IN)
    _pressed_offline(walker, SIGN_IN)
    _nobody(walker)
    before = walker.counts()
    _fill(walker, walker.number, PASSWORD)
    engine.press_twice(SIGN_IN.action)
    engine.until("signed in", ARRIVED, WANTED)
    walker.made(SIGN_IN, "double click", before, 1, 0)


def sign_in_refused(walker: Outsider) -> None:
    """Walk the refused sign-in: each press costs one attempt, and nothing else that is done to the page costs any."""
    numbers = iter(("C10001", "C10002", "C10003", "C10004"))  # a customer's fourth wrong password has to wait
    _one_by_one(walker, NOT_IN, lambda: _refused(walker, next(numbers)))
    _nobody(walker)
    _refused(walker, "C10006")
    _pressed_offline(walker, NOT_IN)


def _refused(walker: Outsider, number: str) -> None:
    """Type a wrong password, press twice, and expect one attempt and the focus at what is said."""
    engine = walker.guest.engine
    _nobody(walker)
    before = walker.counts()
    _fill(walker, number, WRONG)
    engine.press_twice(NOT_IN.action)
    engine.wait(f"{SUMMARY} a")
    engine.until("the answer's address", STANDS)
    walker.note(NOT_IN, "double click", walker.seen(replace(NOT_IN, focus=SUMMARY)))
    walker.made(NOT_IN, "double click", before, 0, 1)
    walker.guest.watch.look("sign-in, refused")


def _one_by_one(walker: Walker, place: Place, make: Callable[[], None]) -> None:
    for deeds in ONE_BY_ONE:
        make()
        walker.stay(place, deeds)


def repository(walker: Walker) -> None:
    """Walk the issuer's certificates; a file that is pressed twice leaves the page as it is."""
    walker.guest.go(REPOSITORY.path)
    walker.guest.watch.look("repository")
    walker.stay(REPOSITORY)
    walker.note(REPOSITORY, "offline", walker.offline(REPOSITORY))
    walker.guest.engine.press_twice(REPOSITORY.action)
    walker.note(REPOSITORY, "double click", walker.seen(REPOSITORY))


def errors(walker: Walker) -> None:
    """Walk the pages of errors, as a customer who is signed in; the way out of them is the page of the certificates."""
    guest, engine = walker.guest, walker.guest.engine
    guest.sign_in(walker.number)
    for place in (NOWHERE, NOT_SO):
        guest.go(place.path)
        guest.watch.look(place.name)
        walker.stay(place)
        walker.note(place, "offline", walker.offline(place))
        _left(walker, place)
    begin(walker, "helper")
    order = guest.order
    with closing(sqlite3.connect(guest.counter.data / "chopmark.sqlite", timeout=30)) as rows:
        state = rows.execute("SELECT state FROM orders WHERE id = ?", (order,)).fetchone()[0]

    def too_old() -> None:
        guest.go("/stop")
        engine.script("document.querySelector('form[action=\"/stop\"] [name=_csrf_token]').value = 'too old'")
        engine.click("form[action='/stop'] button[type=submit]")
        engine.wait("main a.cm-primary")
        engine.until("the answer's address", STANDS)

    def changed() -> None:
        _become(walker, order, state)
        guest.go(f"/orders/{order}")
        engine.wait(PROGRAM.action)
        _become(walker, order, "cancelled")
        engine.click(PROGRAM.action)
        engine.wait("main a.cm-primary")
        engine.until("the answer's address", STANDS)

    for place, make in ((TOO_OLD, too_old), (CHANGED, changed)):
        _one_by_one(walker, place, make)
        make()
        guest.watch.look(place.name)
        walker.note(place, "offline", walker.offline(place))
        make()
        _left(walker, place)


def _become(walker: Walker, order: str, state: str) -> None:
    with closing(sqlite3.connect(walker.guest.counter.data / "chopmark.sqlite", timeout=30)) as rows:
        assert rows.execute("UPDATE orders SET state = ? WHERE id = ?", (state, order)).rowcount == 1
        rows.commit()


def _left(walker: Walker, place: Place) -> None:
    """Press the way out twice."""
    before = walker.counts()
    walker.guest.engine.press_twice(place.action)
    walker.guest.engine.until("the page of the certificates", ARRIVED, WANTED)
    walker.note(place, "double click", "ok" if walker.counts() == before else "something was done")
