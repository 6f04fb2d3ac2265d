"""Power cuts under the real server (F3): whatever the disk had not synced is gone, and what was told holds (I5)."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from chopmark.app.settings import Settings
from chopmark.ca.checker import Checker
from chopmark.store.repositories.ca.checking import CertificateRows
from tests.contract.served.power import How, Operation, compiled, cut, recorded
from tests.contract.served.serving import Answer, Served, Visit, serve, session
from tests.contract.world import ANN, BEN, CEO, DAN, FAY, Clock, Dice, Errand, World, world_fixture

world = world_fixture(("sqlite",))
RESTART = timedelta(seconds=30)
"""From a reservation to the restart and the resuming job's turn; I4 allows sixty seconds."""
NONCES = 300
LANES = 10
MOMENTS = 8
HOWS: tuple[How, ...] = ("lost", "kept", "some", "torn")


@dataclass(frozen=True)
class Told:
    """What a customer was told, and how much was recorded by then: this statement finds it afterwards."""

    recorded: int
    sql: str


@dataclass
class Run:
    """A run of the real server: what its disk held before, what it did to it, what it told."""

    database: Path
    recording: Path
    told: list[Told] = field(default_factory=list)

    def tell(self, sql: str) -> None:
        self.told.append(Told(self.recording.stat().st_size, sql))

    def lost(self, files: Mapping[str, bytes], upto: int, folder: Path) -> list[str]:
        """Return what was told before the cut and is not there after it; the database is sound in any case."""
        laid(files, folder)
        with closing(sqlite3.connect(folder / self.database.name)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("PRAGMA foreign_key_check").fetchone() is None
            asked = (told.sql for told in self.told if told.recorded <= upto)
            return [sql for sql in asked if db.execute(sql).fetchone() is None]


def laid(files: Mapping[str, bytes], folder: Path) -> None:
    """Put a database's files into a folder, and nothing else of that database."""
    for path in folder.glob("house.db*"):
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


@dataclass
class Customers:
    """Whose orders wait for their last word."""

    issue: list[Errand]
    revoke: Errand
    busy: Errand
    tokens: dict[str, str]


async def customers(world: World) -> Customers:
    await world.to_active(BEN)
    revoke = await world.to_revoke(BEN)
    await revoke.send()
    await revoke.answer(await revoke.code())
    issue = [await world.to_review(customer) for customer in (ANN, CEO, DAN)]
    busy = await world.open(FAY)
    tokens = {customer: await session(world, customer) for customer in (ANN, BEN, CEO, DAN, FAY)}
    return Customers(issue, revoke, busy, tokens)


async def _issue(run: Run, visit: Visit, errand: Errand) -> None:
    answer = await visit.confirm(errand.id, await visit.terms(errand.id))
    assert answer.status_code == 201, answer.text
    run.tell(
        f"SELECT 1 FROM orders o JOIN certificates c ON c.serial = o.serial JOIN holdings h ON h.serial = o.serial "
        f"WHERE o.id = '{errand.id}' AND o.state = 'issued' AND c.state = 'issued'"
    )


async def _revoke(run: Run, visit: Visit, errand: Errand) -> None:
    answer = await visit.confirm(errand.id, await visit.terms(errand.id))
    assert answer.json()["state"] == "done", answer.text
    run.tell(
        f"SELECT 1 FROM orders o JOIN certificates c ON c.serial = o.old_serial "
        f"WHERE o.id = '{errand.id}' AND o.state = 'done' AND c.state = 'revoked'"
    )


async def _keep_busy(visit: Visit, errand: Errand) -> None:
    """Write more than the log holds before SQLite moves it into the database."""

    async def lane() -> None:
        for _ in range(NONCES // LANES):
            answer: Answer = await visit.call("POST", f"/orders/{errand.id}/nonce")
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*(lane() for _ in range(LANES)))


async def day(run: Run, served: Served, who: Customers) -> None:
    """What the server is asked to do: three certificates and a revocation, in the middle of other work."""
    visits = {customer: await served.visit(token) for customer, token in who.tokens.items()}
    first, *others = who.issue
    await _issue(run, visits[ANN], first)
    await asyncio.gather(
        _keep_busy(visits[FAY], who.busy),
        _revoke(run, visits[BEN], who.revoke),
        *(_issue(run, visits[errand.caller.customer], errand) for errand in others),
    )


def reserved(files: Mapping[str, bytes], folder: Path) -> datetime | None:
    """Return when the last reservation of unknown fate was made that a cut left."""
    laid(files, folder)
    with closing(sqlite3.connect(folder / "house.db")) as db:
        found = db.execute("SELECT MAX(reserved_at) FROM certificates WHERE state = 'reserved'").fetchone()[0]
    return None if found is None else datetime.fromtimestamp(found / 1000, UTC)


def reserving(operations: list[Operation]) -> list[int]:
    """Return the moments after a sync of a commit in which a reservation may have been made."""
    moments, may = [], False
    for number, one in enumerate(operations, 1):
        may = may or b"ca:certificate:reserved" in one.data
        if may and one.kind == "S" and one.name.endswith("-wal"):
            moments.append(number)
            may = False
    return moments


async def resumed(world: World, at: datetime, files: Mapping[str, bytes], folder: Path) -> None:
    """Restart on what a cut left: within a minute each order has one certificate or none, and nothing is in limbo."""
    laid(files, folder)
    (folder / "heads.jsonl").unlink(missing_ok=True)  # the signed heads of an earlier cut
    clock, dice = Clock(at + RESTART), Dice(Random(77))
    url = f"sqlite:///{folder / 'house.db'}"
    again = await World.opened(Settings(mode="demo", data=folder, database=url), clock, dice)
    try:
        for job in ("resume", "revoke"):
            await again.once(job)
        assert await again.count("certificates", "state = 'reserved'") == 0
        assert await again.count("orders", "state IN ('submitted', 'pending')") == 0
        twice = "SELECT order_id FROM certificates WHERE state <> 'orphaned' GROUP BY order_id HAVING COUNT(*) > 1"
        assert await again.rows(twice) == []
        checker = Checker(
            world.services.ca.issuer.standard(), CertificateRows(again.services.foundation.engine), lint_each=0
        )
        assert (await checker.check(clock.now())).faults == ()
        assert (await again.audit()).findings == ()
    finally:
        await again.close()


async def shown(served: Served, who: Customers) -> None:
    """The real server on what is left shows each customer what they were told."""
    served.start("server")
    await served.ready()
    for errand in who.issue:
        visit = await served.visit(who.tokens[errand.caller.customer])
        assert (await visit.call("GET", f"/orders/{errand.id}")).json()["state"] == "issued"


async def test_f3_i5_what_the_real_server_told_holds_after_a_power_cut_at_any_moment(
    world: World, tmp_path: Path
) -> None:
    await drill(world, tmp_path, MOMENTS)


@pytest.mark.soak
async def test_f3_i5_what_the_real_server_told_holds_after_power_cuts_at_five_hundred_moments(
    world: World, tmp_path: Path
) -> None:
    await drill(world, tmp_path, 500)


async def drill(world: World, tmp_path: Path, moments: int) -> None:
    """Let the real server work, cut its power at many moments, and start it on what the last answer left."""
    who = await customers(world)
    await world.close()
    data = world.services.foundation.settings.data
    after = tmp_path / "after"
    shutil.copytree(data, after)
    before = {path.name: path.read_bytes() for path in data.glob("house.db*")}
    run = Run(data / "house.db", tmp_path / "recording")
    more = {"RECORD_FILES": str(run.database), "RECORD_TO": str(run.recording)}
    served = serve(world, tmp_path, preload=(compiled(tmp_path),), more=more)
    try:
        served.start("server")
        await served.ready()
        await day(run, served, who)
        served.kill("server")
        operations = recorded(run.recording)
        assert any(one.kind == "W" and one.name == "house.db" for one in operations)  # the log was moved at least once
        await judged(world, run, before, operations, after, moments)
        laid(cut(before, upto(operations, run.told[-1].recorded), "lost", Random(0)), data)
        served.preload, served.more = (), {}
        await shown(served, who)
    finally:
        await served.close()


def upto(operations: list[Operation], size: int) -> list[Operation]:
    return [one for one in operations if one.end <= size]


async def judged(
    world: World, run: Run, before: Mapping[str, bytes], operations: list[Operation], folder: Path, most: int
) -> None:
    """Cut at each answer, and at other moments in each way; restart where a reservation is left."""
    random = Random(3)
    moments = [len(upto(operations, told.recorded)) for told in run.told]
    moments += random.sample(range(len(operations)), most)
    for moment in moments:
        for how in HOWS:
            files = cut(before, operations[:moment], how, random)
            assert run.lost(files, operations[moment - 1].end if moment else 0, folder) == [], (moment, how)
    left = [cut(before, operations[:moment], "lost", random) for moment in reserving(operations)]
    limbo = [(at, files) for files in left if (at := reserved(files, folder)) is not None]
    assert limbo
    for at, files in (limbo[0], limbo[-1]):
        await resumed(world, at, files, folder)
    unsynced = cut(before, [one for one in operations if one.kind != "S"], "lost", random)
    assert len(run.lost(unsynced, operations[-1].end, folder)) == len(run.told)


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = wal")
db.execute(f"PRAGMA synchronous = {sys.argv[2]}")
db.execute("INSERT INTO t VALUES (1)")
import os; os.write(1, b"told\\n"); os._exit(9)
"""


def test_a_database_that_does_not_sync_is_caught_losing_what_it_told(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    for synchronous, rows in (("FULL", [(1,)]), ("NORMAL", []), ("OFF", [])):
        folder = tmp_path / synchronous
        folder.mkdir()
        with closing(sqlite3.connect(folder / "house.db")) as db:
            db.execute("CREATE TABLE t (x)")
        before = {"house.db": (folder / "house.db").read_bytes()}
        environment = {
            "LD_PRELOAD": str(library),
            "RECORD_FILES": str(folder / "house.db"),
            "RECORD_TO": str(folder / "recording"),
        }
        command = [sys.executable, "-c", WRITER, str(folder / "house.db"), synchronous]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (9, "told\n"), done.stderr
        laid(cut(before, recorded(folder / "recording"), "lost", Random(0)), folder)
        with closing(sqlite3.connect(folder / "house.db")) as db:
            assert db.execute("SELECT x FROM t").fetchall() == rows, synchronous
