"""The table of three engines, every page, and what people do to pages: reload, go back, press twice, lose the network.

A cell passes when the order is kept, nothing is done twice, the next action can be seen and pressed, and the focus is
where it should be. `CHOPMARK_WALK=FOLDER pytest -m soak tests/journey/test_walk.py` leaves what came out in FOLDER, and
`tools/walk.py FOLDER` writes the table of docs/browsers.md.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from tests.journey.engines import Refused, patiently
from tests.journey.guest import Guest
from tests.journey.line import Line, line_to

OFFLINE_S = 10.0
SHOWN_WITHIN_S = 60.0
TABS = 60
NOT_EMULATED = "not emulated"
STATE = """
const [wanted, focus] = arguments;
const main = document.querySelector("main");
const shown = [...document.querySelectorAll(wanted)].filter((each) => each.getClientRects().length > 0)[0];
if (!shown) return "no next action is shown";
if (shown.disabled) return "the next action is disabled";
shown.scrollIntoView({block: "center", behavior: "instant"});
const box = shown.getBoundingClientRect();
const over = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
if (over === null || !(shown.contains(over) || over.contains(shown))) return "something lies over the next action";
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 1) return `the page is ${wide} px wider than the window`;
const at = document.activeElement;
if (focus !== "" && !(at !== null && at.matches(focus))) return `the focus is at ${at?.tagName}#${at?.id}`;
return "ok";
"""
REACHED = """
const at = document.activeElement;
if (!at.matches(arguments[0])) return "";
const style = getComputedStyle(at);
const marked = style.outlineStyle !== "none" || style.boxShadow !== "none";
return marked ? "ok" : "the focus cannot be seen";
"""
SAID = "return document.activeElement.closest('[data-error-summary]') !== null"
COLOURED = """
if (!matchMedia("(forced-colors: active)").matches) return "not emulated";
const shown = [...document.querySelectorAll(arguments[0])].find((each) => each.getClientRects().length > 0);
const style = getComputedStyle(shown);
return style.color === style.backgroundColor ? "the next action has no contrast" : "ok";
"""


@dataclass(frozen=True)
class Place:
    """One page. `form` is the step that is there, `action` what to press next, `focus` where the focus has to be."""

    name: str
    action: str = "main a.cm-primary"
    form: str = ""
    path: str = ""
    focus: str = ""


def _step(name: str, focus: str = "") -> Place:
    form = f"form[data-step={name}][data-attached]"
    return Place(name, f"{form} button[data-submit]", form, focus=focus)


OUTSIDE = (
    Place("home", "main a.cm-tile--main", path="/home"),
    Place("certificates", path="/certificates"),
    Place(
        "apply", "form[data-step=start][data-attached] button[data-submit]", path="/certificates/apply?operation=rekey"
    ),
    Place("inquiry", path="/certificates/inquiry"),
    Place("revoke", "form[data-step=start][data-attached] button[data-submit]", path="/certificates/revoke"),
    Place("profile", path="/profile"),
    Place("browser check", path="/help/browser"),
    Place("stop", "main button[type=submit]", path="/stop"),
)
STEPS = (
    _step("key"),
    _step("channel"),
    _step("code", "#code"),
    Place("passed", form=".cm-result"),
    _step("birth_date"),
    _step("review"),
    _step("install"),
    Place("done", form="[data-done]"),
)


@dataclass
class Column:
    """What came out in one engine, by page and deed; written into the folder `CHOPMARK_WALK` as it comes."""

    engine: str
    found: dict[tuple[str, str], str] = field(default_factory=dict)
    part: str = ""
    """Ends the file's name, where a column is walked in parts."""

    def faults(self) -> dict[tuple[str, str], str]:
        """Return the cells that did not pass."""
        return {cell: said for cell, said in self.found.items() if said not in {"ok", NOT_EMULATED}}

    def note(self, page: str, deed: str, said: str) -> None:
        """Keep the worst that was said of a cell."""
        before = self.found.get((page, deed), "ok")
        self.found[page, deed] = said if before == "ok" else before
        if folder := os.environ.get("CHOPMARK_WALK"):
            cells = [[*cell, what] for cell, what in self.found.items()]
            (Path(folder) / f"{self.engine}{self.part}.json").write_text(json.dumps(cells, indent=1))


@dataclass
class Walker:
    """Walks one engine's column of the table as one customer."""

    guest: Guest
    line: Line
    number: str
    birth: tuple[str, str, str]
    cells: Column
    code: str = ""

    def counts(self) -> tuple[int, ...]:
        """Return how many orders, codes and certificates this customer has at the server."""
        found = []
        with closing(sqlite3.connect(f"file:{self.guest.counter.data}/chopmark.sqlite?mode=ro", uri=True)) as database:
            for table in ("orders", "challenges", "holdings"):
                query = f"SELECT count(*) FROM {table} WHERE customer = ?"
                found.append(int(database.execute(query, (self.number,)).fetchone()[0]))
        return tuple(found)

    def note(self, place: Place, deed: str, said: str) -> None:
        """Keep the worst that was said of a cell."""
        self.cells.note(place.name, deed, said)

    def seen(self, place: Place) -> str:
        """Return "ok", or what is wrong with the page that should be shown now."""
        found = "nothing"
        for _ in patiently(SHOWN_WITHIN_S):
            try:
                if place.form and not self.guest.engine.script(
                    "return !!document.querySelector(arguments[0])", place.form
                ):
                    found = "another page"
                    continue
                found = self.guest.engine.script(STATE, place.action, place.focus)
            except Refused as error:
                found = str(error)
            if found == "ok":
                break
        return str(found)

    # What is done to a page, and leaves it where it is

    def stay(self, place: Place, deeds: Sequence[str] = ()) -> None:
        """Do all to a page that does not go on from it, or only these deeds."""
        before, url = self.counts(), self.guest.engine.url
        for name, deed in STAYING.items():
            if deeds and name not in deeds:
                continue
            try:
                said = deed(self, place, url)
            except Refused as error:
                said = str(error)
            if said == "ok" and self.counts() != before:
                said = f"the server has done something: {before} {self.counts()}"
            self.note(place, name, said)

    def reload(self, place: Place, _: str) -> str:
        """Load the page again."""
        self.guest.engine.reload()
        return self.seen(place)

    def back(self, place: Place, _: str) -> str:
        """Go to another page and come back by the back button."""
        self.guest.go("/help/browser" if place.name != "browser check" else "/home")
        self.guest.engine.back()
        return self.seen(place)

    def second_tab(self, place: Place, url: str) -> str:
        """Open the same address in another tab; both show the page."""
        with self.guest.engine.second_tab():
            self.guest.engine.go(url)
            there = self.seen(place)
        here = self.seen(Place(place.name, place.action, place.form))
        return there if there != "ok" else here

    def zoom(self, place: Place, _: str) -> str:
        """Look at it at 200 %."""
        self.guest.engine.zoom(twice=True)
        try:
            return self.seen(Place(place.name, place.action, place.form))
        finally:
            self.guest.engine.zoom(twice=False)

    def keyboard(self, place: Place, _: str) -> str:
        """Go to the next action by the tabulator only."""
        self.guest.engine.reload()
        if (said := self.seen(place)) != "ok":
            return said
        for _turn in range(TABS):
            self.guest.engine.press("Tab")
            if said := self.guest.engine.script(REACHED, place.action):
                return str(said)
        return "the tabulator does not come to the next action"

    def colours(self, place: Place, _: str) -> str:
        """Look at it in the colours of the system."""
        if not self.guest.engine.force_colours(on=True):
            return NOT_EMULATED
        try:
            said = self.seen(Place(place.name, place.action, place.form))
            return str(self.guest.engine.script(COLOURED, place.action)) if said == "ok" else said
        finally:
            self.guest.engine.force_colours(on=False)

    def slow(self, place: Place, _: str) -> str:
        """Load it over a bad mobile network."""
        with self.line.slowed():
            self.guest.engine.reload()
            return self.seen(place)

    # What goes on from a page

    def fill(self, place: Place) -> None:
        """Fill in what the step asks for."""
        engine = self.guest.engine
        if place.name == "key":
            self.guest.open_old(self.guest.counter.p12(self.number), self.guest.counter.passphrase(self.number))
        elif place.name == "code":
            self.code = self.code or self.guest.code()
            engine.type("#code", self.code)
        elif place.name == "birth_date":
            for part, value in zip(("year", "month", "day"), self.birth, strict=True):
                engine.type(f"#{part}", value)
        elif place.name == "review":
            engine.script("document.querySelector('#consent').checked = true")

    def offline(self, place: Place, pause_s: float = OFFLINE_S) -> str:
        """Press without a network: that is said, with the focus there, and the same press goes on afterwards."""
        engine, before, url = self.guest.engine, self.counts(), self.guest.engine.url
        if not place.form.startswith("form"):
            with self.line.offline():
                with suppress(Refused):
                    engine.reload()
                threading.Event().wait(pause_s)
            engine.go(url)
            return self.seen(place)
        self.fill(place)
        with self.line.offline():
            self.press(place, engine.click)
            said = self._focus_at_what_is_said()
            threading.Event().wait(pause_s)
        return said if self.counts() == before else "something was done without a network"

    def _focus_at_what_is_said(self) -> str:
        for _ in patiently(SHOWN_WITHIN_S):
            if self.guest.engine.script(SAID):
                return "ok"
        return "what went wrong is not said where the focus is"

    def press(self, place: Place, how: Callable[[str], None]) -> None:
        """Press the next action; the last question is answered too."""
        how(place.action)
        if place.name == "review":
            self.guest.engine.wait("dialog[open]")
            how("dialog[open] [data-dialog-confirm]")

    # Whole walks

    def outside(self) -> None:
        """Walk the pages that belong to no order."""
        for place in OUTSIDE:
            self.guest.go(place.path)
            self.stay(place)
            self.guest.go(place.path)
            self.note(place, "offline", self.offline(place))
            if place.name != "apply":  # it begins an order: `twice` does that
                before = self.counts()
                self.guest.engine.press_twice(place.action)
                self.note(place, "double click", "ok" if self.counts() == before else "something was done")

    def order(self, steps: Sequence[Place] = STEPS, deeds: Sequence[str] = (), pause_s: float = OFFLINE_S) -> None:
        """Walk a renewal: everything on each page, and the press that goes on is made without a network at first."""
        self.guest.apply("rekey", "browser")
        order = self.guest.order
        for place in steps:
            self.note(place, "shown", self.seen(place))
            self.stay(place, deeds)
            self.note(place, "offline", self.offline(place, pause_s))
            if self.guest.order != order:
                self.note(place, "offline", "it is another order")
            if place.form.startswith("form") or place.name == "passed":
                self.fill(place) if place.name in {"key", "code"} else None
                self.press(place, self.guest.engine.click)
                gone = "return document.querySelector(arguments[0]) === null"
                self.guest.engine.until(f"{place.name} is over", gone, place.form)

    def twice(self, steps: Sequence[Place] = STEPS) -> None:
        """Walk a renewal in which everything is pressed twice, but for what the last page offers."""
        self.guest.go(APPLY.path)
        before = self.counts()
        self.note(APPLY, "double click", self.seen(APPLY))
        self.guest.engine.press_twice(APPLY.action)
        self.note(steps[0], "double click", self.seen(steps[0]))
        self._expect(APPLY, before, (1, 0, 0))
        for place, following in pairwise(steps):
            before = self.counts()
            self.fill(place)
            self.press(place, self.guest.engine.press_twice)
            self.note(place, "double click", self.seen(following))
            self._expect(place, before, MADE.get(place.name, (0, 0, 0)))

    def _expect(self, place: Place, before: tuple[int, ...], made: tuple[int, ...]) -> None:
        wanted = tuple(one + more for one, more in zip(before, made, strict=True))
        if (now := self.counts()) != wanted:
            self.note(place, "double click", f"orders, codes, certificates: {now} instead of {wanted}")


def short_walk(
    guest: Guest, first: tuple[str, tuple[str, str, str]], second: tuple[str, tuple[str, str, str]]
) -> Column:
    """Walk a few cells: the steps up to the code, once with everything but patience, and once pressed twice."""
    column = Column(guest.engine.name)
    with line_to(guest.counter.port) as line:
        there = Guest(replace(guest.counter, port=line.port), guest.engine, guest.watch)
        there.sign_in(first[0])
        Walker(there, line, *first, column).order(STEPS[:3], ("reload", "second tab", "keyboard"), 0.0)
        there.sign_in(second[0])
        Walker(there, line, *second, column).twice(STEPS[:3])
    return column


APPLY = OUTSIDE[2]
MADE = {"channel": (0, 1, 0), "review": (0, 0, 1)}
"""What one press makes: orders, codes, certificates."""
STAYING: dict[str, Callable[[Walker, Place, str], str]] = {
    "reload": Walker.reload,
    "back": Walker.back,
    "second tab": Walker.second_tab,
    "200 %": Walker.zoom,
    "keyboard": Walker.keyboard,
    "forced colours": Walker.colours,
    "slow 3G": Walker.slow,
}
