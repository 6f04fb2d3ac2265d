"""Pages beside the usual way, walked like the others: the way in from a trading program, a program's key, a slip."""

import sqlite3
from contextlib import closing
from dataclasses import replace

from tests.journey.walk import Place, Walker

EST_URL = "https://est.example.com"
WAY_IN = Place("way in, used already", "main a[href='/sign-in']", path="/launch")
ASKED = Place("is this you?", "form[action='/launch/confirm'] button")
REFUSED = "form[action='/launch/refuse'] button"
PROGRAM = Place("program", "form[action$='/credential'] button")
SLIP = Place("slip", "form[data-step=slip][data-attached] button[data-submit]", "form[data-step=slip][data-attached]")
MADE_UP = "ABCD-EFGH-JKMN"
"""No slip's letters."""


def way_in(walker: Walker) -> None:
    """Walk the page of the trading program's ticket without one, and the question that a ticket leads to.

    "No" is pressed twice as well: it signs nobody in, and the next ticket asks again.
    """
    guest = walker.guest
    guest.go(WAY_IN.path)
    guest.watch.look("way in")
    walker.stay(WAY_IN)
    walker.note(WAY_IN, "offline", walker.offline(WAY_IN))
    before = walker.counts()
    guest.engine.press_twice(WAY_IN.action)
    guest.engine.until("sign-in", "return location.pathname === '/sign-in' && document.readyState === 'complete'")
    walker.note(WAY_IN, "double click", "ok" if walker.counts() == before else "something was done")
    guest.to_sign_in()
    _from_the_program(walker)
    guest.watch.look("is this you?")
    walker.stay(ASKED)
    walker.note(ASKED, "offline", walker.offline(ASKED))
    guest.engine.press_twice(REFUSED)
    guest.engine.until("sign-in", "return location.pathname === '/sign-in' && document.readyState === 'complete'")
    if guest.engine.script("return document.querySelector('.cm-signout__button') !== null"):
        walker.note(ASKED, "double click", "no signs somebody in")
    _from_the_program(walker)
    guest.engine.press_twice(ASKED.action)
    guest.engine.until("signed in", "return location.pathname === '/certificates'")
    walker.note(ASKED, "double click", "ok" if walker.counts() == before else "something was done")


def _from_the_program(walker: Walker) -> None:
    engine = walker.guest.engine
    walker.guest.go("/demo")
    engine.script("document.querySelector('#customer').value = arguments[0]", walker.number)
    engine.script("document.querySelector('.cm-term__tool--live').click()")
    engine.wait(ASKED.action)


def program(walker: Walker) -> None:
    """Walk the page of an order whose key a program makes; pressed twice, it shows one credential."""
    engine = walker.guest.engine
    begin(walker, "helper")
    engine.wait(PROGRAM.action)
    walker.guest.watch.look("program")
    walker.stay(PROGRAM)
    walker.note(PROGRAM, "offline", walker.offline(PROGRAM))
    before = walker.counts()
    engine.press_twice(PROGRAM.action)
    engine.wait("main .cm-notice--warning")
    walker.note(PROGRAM, "double click", "ok" if walker.counts() == before else "something was done")


def slip(walker: Walker) -> None:
    """Walk the step of a customer of whom no contact can carry a code, with letters that are no slip's."""
    engine, counter = walker.guest.engine, walker.guest.counter
    with closing(sqlite3.connect(counter.data / "chopmark.sqlite", timeout=30)) as database:
        database.execute("UPDATE contacts SET disputed_at = 1 WHERE customer = ?", (walker.number,))
        database.commit()
    begin(walker, "browser")
    walker.guest.submit("key")
    walker.note(SLIP, "shown", walker.seen(SLIP))
    walker.guest.watch.look("slip")
    walker.stay(SLIP)
    engine.type("#slip", MADE_UP)
    walker.note(SLIP, "offline", walker.offline(SLIP))
    before = walker.counts()
    engine.go(engine.url)
    walker.note(SLIP, "double click", walker.seen(SLIP))
    engine.type("#slip", MADE_UP)
    engine.press_twice(SLIP.action)
    engine.wait("[data-error-summary]")
    said = walker.seen(replace(SLIP, focus=""))
    walker.note(SLIP, "double click", said if walker.counts() == before else "something was done")


def begin(walker: Walker, home: str) -> None:
    """Begin a first application whose key is made there."""
    engine = walker.guest.engine
    walker.guest.go("/certificates/apply?operation=enrol")
    form = walker.guest.step("start")
    engine.script("document.querySelector(arguments[0]).click()", f"{form} input[name=key_home][value={home}]")
    walker.guest.submit("start")
    engine.until("an order", "return location.pathname.includes('/orders/')")
