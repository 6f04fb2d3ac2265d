"""Every maker of certificate files, every kind of key and sort of pass-phrase, opened by the page in every engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journey.conftest import QUICK_ROUNDS
from tests.journey.counter import Counter, Prepared, running
from tests.journey.makers import PASSPHRASES, Holder, require
from tests.journey.matrix import KINDS, Files, Table
from tests.journey.opener import CUSTOMERS, ENGINES, Opener

_NAME = "return /(Chrome|Firefox|Version)\\/([0-9.]+)/.exec(navigator.userAgent)[2]"


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A running counter."""
    prepared = Prepared.make(tmp_path_factory.mktemp("prepared") / "data", rounds=QUICK_ROUNDS)
    with running(prepared, tmp_path_factory.mktemp("counter")) as started:
        yield started


@pytest.fixture(scope="module")
def files(counter: Counter, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """All files, made once."""
    require()
    folder = tmp_path_factory.mktemp("files")
    holders = {
        kind: Holder.of(counter.p12(CUSTOMERS[kind]), counter.passphrase(CUSTOMERS[kind]), folder / kind)
        for kind in KINDS
    }
    return Files.of(holders, folder)


@pytest.fixture(scope="module")
def table(files: Files) -> Iterator[Table]:
    """What was opened; it is written for the engines that have been through all of it."""
    filled = Table()
    yield filled
    filled.names = {name: shown for name, shown in filled.names.items() if filled.counts(name) == len(files.made)}
    if filled.names:
        filled.write(files)


@pytest.mark.parametrize("name", list(ENGINES))
def test_every_file_opens(name: str, counter: Counter, files: Files, table: Table, tmp_path: Path) -> None:
    with ENGINES[name](tmp_path / "browser") as engine:
        opener = Opener(counter, engine)
        table.names[name] = f"{name} {engine.script(_NAME)}"
        for kind in KINDS:
            opener.begin(kind)
            for cell, path in files.made.items():
                if cell[1] == kind:
                    table.said[name, cell] = opener.open(path, PASSPHRASES[cell[2]])
            opener.end()
    assert {
        cell: said for (engine_name, cell), said in table.said.items() if engine_name == name and said != "opened"
    } == {}
