"""Pages on which an order stands still, walked like the others: whose key is it, a wait, a credential shown once."""

import sqlite3
from contextlib import closing
from dataclasses import replace

from tests.journey.walk import Place, Walker
from tests.journey.walk_beside import PROGRAM, begin

REMINDERS = Place(
    "reminders", "form[action='/certificates/reminders'] button[type=submit]", path="/certificates/reminders"
)
_POSSESSION = "form[data-step=possession][data-attached]"
_AGAIN = "form[data-step=start][data-attached]"
POSSESSION = Place("possession", f"{_POSSESSION} button[data-submit]", _POSSESSION)
ELSEWHERE = Place("possession, key elsewhere", f"{_AGAIN} button[data-submit]", _AGAIN)
CREDENTIAL = Place("credential", "main p > a.govuk-link[href^='/orders/']")
SHOWN = "body[data-shown-once]"
HELD = "main form[data-step=channel][data-attached] input[name=channel]:disabled"
DELAY = Place("waiting, a delay", "main details.cm-leave summary", HELD)
PENDING = Place("waiting, at the CA", "[data-poll] a.govuk-link", "[data-poll]")
FORGET_KEYS = """
return new Promise((then) => {
  const asked = indexedDB.deleteDatabase("chopmark");
  asked.onsuccess = () => then("gone");
  asked.onerror = () => then(String(asked.error));
  asked.onblocked = () => then("another page has it open");
});"""


def reminders(walker: Walker) -> None:
    """Walk the page of the reminders; saved twice, the wishes are stored and nothing else."""
    guest = walker.guest
    guest.go(REMINDERS.path)
    guest.watch.look("reminders")
    walker.stay(REMINDERS)
    walker.note(REMINDERS, "offline", walker.offline(REMINDERS))
    before = walker.counts()
    guest.engine.press_twice(REMINDERS.action)
    guest.engine.until("saved", "return location.search === '?saved=true' && document.readyState === 'complete'")
    said = walker.seen(REMINDERS)
    walker.note(REMINDERS, "double click", said if walker.counts() == before else "something was done")


def possession(walker: Walker) -> None:
    """Walk the question after another sign-in, first where the file's key is, then where it is not."""
    guest, engine = walker.guest, walker.guest.engine
    begin(walker, "file")
    guest.step("key")
    passphrase = guest.passphrase()
    guest.submit("key")
    guest.step("channel")
    order = guest.order
    guest.sign_in(walker.number)
    guest.go(f"/orders/{order}")
    walker.note(POSSESSION, "shown", walker.seen(POSSESSION))
    guest.watch.look("possession")
    walker.stay(POSSESSION)
    engine.type("#passphrase", passphrase)
    walker.note(POSSESSION, "offline", walker.offline(POSSESSION))
    before = walker.counts()
    engine.press_twice(POSSESSION.action)
    guest.step("channel")
    same = guest.order == order and walker.counts() == before
    walker.note(POSSESSION, "double click", "ok" if same else "something was done")
    guest.sign_in(walker.number)
    guest.go("/help/browser")
    engine.until("the keys are gone", FORGET_KEYS)
    guest.go(f"/orders/{order}")
    walker.note(ELSEWHERE, "shown", walker.seen(ELSEWHERE))
    guest.watch.look("possession, key elsewhere")
    walker.stay(ELSEWHERE)
    walker.note(ELSEWHERE, "offline", walker.offline(ELSEWHERE))
    orders, *rest = walker.counts()
    engine.press_twice(ELSEWHERE.action)
    guest.step("key")
    anew = guest.order != order and walker.counts() == (orders + 1, *rest)
    walker.note(ELSEWHERE, "double click", "ok" if anew else f"{(orders, *rest)} became {walker.counts()}")


def credential(walker: Walker) -> None:
    """Walk a program's credential: before each deed one is shown, and no deed makes another."""
    guest, engine = walker.guest, walker.guest.engine
    begin(walker, "helper")
    address = engine.url
    for deed in ("200 %", "forced colours", "reload", "back", "second tab", "keyboard", "slow 3G", "offline"):
        made = _shown(walker, address)
        if deed == "offline":
            walker.note(CREDENTIAL, deed, walker.offline(CREDENTIAL))
        else:
            walker.stay(CREDENTIAL, (deed,))
        if _tokens(walker) != made:
            walker.note(CREDENTIAL, deed, "another credential was made")
        if deed == "reload" and engine.script("return document.querySelector(arguments[0]) !== null", SHOWN):
            walker.note(CREDENTIAL, deed, "it is shown again")
    made = _shown(walker, address)
    guest.watch.look("credential")
    engine.press_twice(CREDENTIAL.action)
    engine.until("the order again", "return document.querySelector(arguments[0]) === null", SHOWN)
    said = walker.seen(replace(CREDENTIAL, action=PROGRAM.action))
    walker.note(CREDENTIAL, "double click", said if _tokens(walker) == made else "another credential was made")


def _shown(walker: Walker, address: str) -> list[bytes]:
    """Show a new credential; return what the server keeps of it."""
    engine = walker.guest.engine
    engine.go(address)
    engine.click(PROGRAM.action)
    engine.wait(SHOWN)
    engine.until("a reload makes no other", "return location.pathname === '/again'")
    return _tokens(walker)


def _tokens(walker: Walker) -> list[bytes]:
    path = f"file:{walker.guest.counter.data}/chopmark.sqlite?mode=ro"
    with closing(sqlite3.connect(path, uri=True, timeout=30)) as database:
        query = "SELECT token_hash FROM credentials WHERE customer = ?"
        return [bytes(row[0]) for row in database.execute(query, (walker.number,))]


def delay(walker: Walker) -> None:
    """Walk the wait of `strict`: one contact, one code, and a day until the second one."""
    guest, engine = walker.guest, walker.guest.engine
    guest.go("/certificates/apply?operation=replace")
    guest.step("start")
    engine.script("document.querySelector('input[name=reason]').click()")
    guest.submit("start")
    guest.submit("key")
    guest.enter(guest.ask_for_code())
    walker.note(DELAY, "shown", walker.seen(DELAY))
    guest.watch.look("waiting, a delay")
    _stands_still(walker, DELAY)


def pending(walker: Walker) -> None:
    """Walk the page of an order that is at the CA. There it stays: the worker, which would ask again, is stopped."""
    guest, engine = walker.guest, walker.guest.engine
    begin(walker, "browser")
    guest.submit("key")
    guest.step("channel")
    guest.counter.kill("worker")
    with closing(sqlite3.connect(guest.counter.data / "chopmark.sqlite", timeout=30)) as database:
        wanted = "UPDATE orders SET state = 'pending', submitted_at = bound_at WHERE id = ?"
        assert database.execute(wanted, (guest.order,)).rowcount == 1
        database.commit()
    engine.reload()
    walker.note(PENDING, "shown", walker.seen(PENDING))
    guest.watch.look("waiting, at the CA")
    _stands_still(walker, PENDING)


def _stands_still(walker: Walker, place: Place) -> None:
    """Do all to a page of an order that does not go on; what is pressed twice there shows the same order again."""
    guest = walker.guest
    order, before = guest.order, walker.counts()
    walker.stay(place)
    walker.note(place, "offline", walker.offline(place))
    guest.engine.press_twice(place.action)
    said = walker.seen(place)
    same = guest.order == order and walker.counts() == before
    walker.note(place, "double click", said if same else "something was done")
