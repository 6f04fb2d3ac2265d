"""A few cells of the table in each engine; all of it in `make soak`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journey.chromium import chromium_engine
from tests.journey.counter import Counter, Prepared, running
from tests.journey.engines import Engine, firefox, webkit
from tests.journey.guest import Guest
from tests.journey.line import Line, line_to
from tests.journey.walk import Column, Walker, short_walk
from tests.journey.walk_beside import EST_URL, program, slip, way_in
from tests.journey.walk_endings import SOCKET, ended, est_door, fetched, revoked, stopped
from tests.journey.walk_outside import Outsider, errors, repository, sign_in, sign_in_refused
from tests.journey.walk_waiting import credential, delay, pending, possession, reminders
from tests.journey.watching import Watch

CUSTOMERS = {
    "Chromium": (("C10001", ("49", "7", "15")), ("C10006", ("69", "8", "8"))),
    "Firefox": (("C10009", ("74", "1", "5")), ("C10008", ("57", "11", "11"))),
    "WebKit": (("C10018", ("93", "5", "20")), ("C10015", ("67", "7", "7"))),
}


@contextmanager
def engine_of(name: str, chromium: Path, folder: Path) -> Iterator[Engine]:
    """Give the engine of this name."""
    opened = {"Firefox": firefox, "WebKit": webkit}
    with ExitStack() as stack:
        if name == "Chromium":
            yield stack.enter_context(chromium_engine(chromium, folder))
        else:
            yield stack.enter_context(opened[name](folder / "browser"))


@contextmanager
def visitor(name: str, chromium: Path, counter: Counter, folder: Path) -> Iterator[tuple[Guest, Line]]:
    """Give a guest with this engine, and the line to the counter that can be slow or cut."""
    with line_to(counter.port) as line, engine_of(name, chromium, folder) as engine:
        engine.zoom(twice=False)
        yield Guest(replace(counter, port=line.port), engine, Watch(engine)), line


def walk_as(customers: Sequence[tuple[str, Callable[[Walker], None]]], guest: Guest, line: Line, cells: Column) -> None:
    """Sign in as each of these customers and make this customer's walk."""
    for number, walk in customers:
        guest.sign_in(number)
        walk(Walker(guest, line, number, ("", "", ""), cells))


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_every_page_bears_what_people_do_to_it(name: str, chromium: Path, counter: Counter, tmp_path: Path) -> None:
    cells = Column(name)
    with visitor(name, chromium, counter, tmp_path) as (guest, line):
        for number, birth in CUSTOMERS[name]:
            walker = Walker(guest, line, number, birth, cells)
            guest.sign_in(number)
            if number == CUSTOMERS[name][0][0]:
                walker.outside()
                walker.order()
            else:
                walker.twice()
    assert cells.faults() == {}


BESIDE = (("C10001", way_in), ("C10003", program), ("C10005", slip))
WAITING = (
    ("C10001", reminders),
    ("C10017", possession),
    ("C10004", credential),
    ("C10008", delay),
    ("C10005", pending),  # it stops the worker: the last one
)
ENDINGS = (("C10005", fetched), ("C10002", stopped), ("C10001", revoked), ("C10017", ended))


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_the_pages_beside_the_usual_way_bear_it_too(
    name: str, chromium: Path, prepared: Prepared, tmp_path: Path
) -> None:
    cells = Column(name, part="-beside")
    with (
        running(prepared, tmp_path / "counter", CHOPMARK_EST__URL=EST_URL) as counter,
        visitor(name, chromium, counter, tmp_path) as (guest, line),
    ):
        walk_as(BESIDE, guest, line, cells)
    assert cells.faults() == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_the_pages_of_an_order_that_stands_still_bear_it_too(
    name: str, chromium: Path, prepared: Prepared, tmp_path: Path
) -> None:
    cells = Column(name, part="-waiting")
    with (
        running(prepared, tmp_path / "counter", CHOPMARK_EST__URL=EST_URL, CHOPMARK_POLICY="strict") as counter,
        visitor(name, chromium, counter, tmp_path) as (guest, line),
    ):
        walk_as(WAITING, guest, line, cells)
    assert cells.faults() == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_the_pages_at_the_end_of_an_order_bear_it_too(
    name: str, chromium: Path, prepared: Prepared, tmp_path: Path
) -> None:
    cells = Column(name, part="-endings")
    settings = {"CHOPMARK_EST__URL": EST_URL, SOCKET: str(tmp_path / "est")}
    with (
        running(prepared, tmp_path / "counter", **settings) as counter,
        est_door(counter.environment, tmp_path),
        visitor(name, chromium, counter, tmp_path) as (guest, line),
    ):
        walk_as(ENDINGS, guest, line, cells)
    assert cells.faults() == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_the_sign_in_and_the_pages_of_errors_bear_it_too(
    name: str, chromium: Path, prepared: Prepared, tmp_path: Path
) -> None:
    cells = Column(name, part="-strangers")
    with (
        running(prepared, tmp_path / "counter", CHOPMARK_EST__URL=EST_URL) as counter,
        visitor(name, chromium, counter, tmp_path) as (guest, line),
    ):
        for walk in (sign_in, sign_in_refused, repository, errors):
            walk(Outsider(guest, line, "C10005", ("", "", ""), cells))
    assert cells.faults() == {}


def test_in_chromium_the_first_steps_bear_what_people_do_to_them(
    chromium: Path, counter: Counter, tmp_path: Path
) -> None:
    with engine_of("Chromium", chromium, tmp_path) as engine:
        column = short_walk(Guest(counter, engine, Watch(engine)), *CUSTOMERS["Chromium"])
    assert column.faults() == {}
    assert ("code", "offline") in column.found
