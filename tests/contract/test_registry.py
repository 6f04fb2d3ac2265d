"""Taking customers in, on both databases: whole or not at all, the same after a kill, changes cool down."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey, StoredRecord
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import Channel, CustomerId
from chopmark.identity.sealed import Sealer, SealKey
from chopmark.ra.customer_import.cells import Dates
from chopmark.ra.customer_import.ports import Allowed, Mark, Rules
from chopmark.ra.customer_import.report import Report
from chopmark.ra.customer_import.run import CustomerImport
from chopmark.store import db
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.audit.log import AuditRepository
from chopmark.store.repositories.ra.customer_import import SqlRegistry
from tests import postgres
from tests.tables import Clock, Tables

START = datetime(2026, 7, 15, 4, tzinfo=UTC)
HEADER = "customer,person_id,name,birth_date,mobile,email,accounts,verified_on"
ZOE = "C0001,A123456789,王小明,2001-07-15,0912345678,zoe@example.org,(期)F014000-0000007,2026-07-01"
BOB = "C0002,A223456781,林小美,1990-01-02,,bob@example.org,9A95-0123456,2026-07-01"


@dataclass
class Counting:
    """Different bytes each time."""

    count: int = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Directory(Tables):
    engine: Engine
    folder: Path
    url: str
    clock: Clock = field(default_factory=lambda: Clock(START))
    entropy: Counting = field(default_factory=Counting)
    rules: Rules = field(default_factory=lambda: Rules(timedelta(days=7)))
    sealer: Sealer = field(default_factory=lambda: Sealer(SealKey("k1", bytes(range(32))), bytes(32)))

    @property
    def customer_import(self) -> CustomerImport:
        return self.intake_of(SqlRegistry(self.engine))

    def intake_of(self, registry: SqlRegistry) -> CustomerImport:
        audit_log = AuditLog(AuditRepository(self.engine), AuditKey("a1", bytes(32)), self.clock)
        return CustomerImport(registry, self.sealer, audit_log, self.clock, self.entropy, self.rules, batch=10)

    def sheet(self, *lines: str, encoding: str = "utf-8", name: str = "customers.csv") -> Path:
        path = self.folder / name
        path.write_bytes("\r\n".join([HEADER, *lines, ""]).encode(encoding))
        return path

    async def take_in(self, *lines: str, allow: tuple[Allowed, ...] = ()) -> Report:
        return await self.customer_import.run(self.sheet(*lines), "alice", allowed=allow)

    async def directory(self) -> list[object]:
        """Everything in the directory, sealed columns opened."""
        found: list[object] = []
        for row in await self.rows("SELECT * FROM customers ORDER BY id"):
            for column in ("person_id", "name", "birth_date"):
                if (sealed := row.pop(f"{column}_sealed")) is not None:
                    row[column] = self.sealer.open(sealed, "customers", column, row["id"], row["version"]).reveal()
            found.append(row)
        for row in await self.rows("SELECT * FROM contacts ORDER BY customer, channel"):
            place = (row["channel"], row["customer"], row["version"])
            row["value_sealed"] = self.sealer.open(row["value_sealed"], "contacts", *place).reveal()
            found.append(row)
        return found + await self.rows("SELECT * FROM accounts ORDER BY number")

    async def contact(self, channel: Channel, customer: str = "C0001"):
        standing = await SqlRegistry(self.engine).standing([CustomerId(customer)])
        return standing[CustomerId(customer)].contacts.get(channel)


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request, tmp_path: Path) -> AsyncIterator[Directory]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'chopmark.db'}"
        engine = await db.open_engine(url)
        await db.create(engine)
        yield Directory(engine, tmp_path, url)
        await engine.close()
        return
    cluster: postgres.Cluster = request.getfixturevalue("postgres_cluster")
    dsn = await cluster.fresh_database()
    engine = await db.open_engine(dsn)
    await db.create(engine)
    yield Directory(engine, tmp_path, dsn)
    await engine.close()
    await cluster.drop(dsn)


async def test_a_good_file_is_in_the_directory_sealed_and_without_a_cool_down(world: Directory):
    report = await world.take_in(ZOE, "", BOB)
    assert report == Report("utf-8", 2, imported=2)
    zoe, bob, *contacts_and_accounts = await world.directory()
    assert isinstance(zoe, dict)
    assert isinstance(bob, dict)
    assert (zoe["person_id"], zoe["name"], zoe["birth_date"]) == ("A123456789", "王小明", "2001-07-15")
    assert bob["birth_date"] == "1990-01-02"
    assert len(contacts_and_accounts) == 3 + 2
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.version == 1
    assert mobile.cool_until <= world.clock.now()
    assert mobile.verified_at == datetime(2026, 6, 30, 16, tzinfo=UTC)  # midnight of 1 July in Taipei
    assert mobile.destination_hash == world.sealer.lookup_hash("destination", "+886912345678")


async def test_big5_and_a_byte_order_mark_are_understood_and_named(world: Directory):
    assert (await world.customer_import.check_file(world.sheet(ZOE, encoding="cp950"))).encoding == "cp950"
    report = await world.customer_import.run(world.sheet(ZOE, encoding="utf-8-sig"), "alice")
    assert (report.encoding, report.imported) == ("utf-8", 1)


async def test_a_year_that_excel_may_have_changed_keeps_the_sheet_out_unless_its_importer_says_what_years_are(
    world: Directory,
):
    roc, western = ZOE.replace("2001-07-15", "90/7/15"), ZOE.replace("2001-07-15", "1990/7/15")
    for line, code, right, wrong, day in (
        (roc, "excel.two_digits", Dates.ROC, Dates.WESTERN, "2001-07-15"),
        (western, "excel.century", Dates.WESTERN, Dates.ROC, "1990-07-15"),
    ):
        for dates in (Dates.PLAIN, wrong):
            report = await world.customer_import.run(world.sheet(line), "alice", dates=dates)
            assert [(fault.column, fault.code) for fault in report.faults] == [("birth_date", code)]
        report = await world.customer_import.run(world.sheet(line), "alice", allowed=[Allowed.BIRTH_DATE], dates=right)
        assert report.imported == 1
        zoe = (await world.directory())[0]
        assert isinstance(zoe, dict)
        assert zoe["birth_date"] == day


async def test_a_file_that_is_neither_utf8_nor_big5_is_refused_at_its_line(world: Directory):
    path = world.folder / "bad.csv"
    path.write_bytes(HEADER.encode() + b"\n" + ZOE.encode() + b"\n\xff\xff\n")
    report = await world.customer_import.run(path, "alice")
    assert [(fault.line, fault.code) for fault in report.faults] == [(3, "encoding")]


async def test_one_bad_line_keeps_the_whole_file_out_and_every_fault_is_told(world: Directory):
    again = BOB.replace("C0002", "C0003").replace("A223456781", "A123456789")
    report = await world.take_in(ZOE, "C0009,A123456788,x,,,,,", BOB, again)
    assert [(fault.line, fault.column, fault.code) for fault in report.faults] == [
        (3, "person_id", "person_id.check_digit"),
        (5, "person_id", "person_id.twice"),
        (5, "accounts", "accounts.twice"),
    ]
    assert report.imported == 0
    assert await world.directory() == []
    assert await world.rows("SELECT * FROM leaves") == []


async def test_an_id_or_account_of_another_customer_is_a_fault(world: Directory):
    await world.take_in(ZOE)
    report = await world.take_in(ZOE.replace("C0001", "C0005"))
    assert [(fault.column, fault.code) for fault in report.faults] == [
        ("person_id", "person_id.taken"),
        ("accounts", "accounts.taken"),
    ]


async def test_a_changed_mobile_cools_down_for_seven_days_and_both_contacts_of_before_are_told_the_old_one_first(
    world: Directory,
):
    await world.take_in(ZOE)
    world.clock.at += timedelta(days=1)
    await world.take_in(ZOE.replace("0912345678", "0987654321"))
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.version == 2
    assert mobile.cool_until == world.clock.at + timedelta(days=7)
    opened = world.sealer.open(mobile.value_sealed, "contacts", "mobile", "C0001", 2)
    assert opened.reveal() == "+886987654321"
    works = await world.rows("SELECT kind, customer, channel, contact_version FROM work ORDER BY not_before")
    assert [(w["kind"], w["customer"], w["channel"], w["contact_version"]) for w in works] == [
        ("notice", "C0001", "mobile", 1),
        ("notice", "C0001", "email", 1),
    ]
    records = await world.rows("SELECT chain, version, event FROM leaves ORDER BY chain, version")
    assert [tuple(record.values()) for record in records] == [
        ("customer:C0001", 1, Event.STAFF_CONTACT_CHANGED.value),
        ("staff:alice", 1, Event.STAFF_CUSTOMERS_IMPORTED.value),
        ("staff:alice", 2, Event.STAFF_CUSTOMERS_IMPORTED.value),
    ]
    assert (await world.rows("SELECT version FROM customers"))[0]["version"] == 1


async def test_a_dispute_ends_with_the_contact_it_is_about(world: Directory):
    await world.take_in(ZOE)

    def dispute() -> Script[None]:
        yield query("UPDATE contacts SET disputed_at = 5 WHERE channel = 'mobile'")

    await world.engine.run(dispute)
    await world.take_in(ZOE)
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.disputed_at is not None
    await world.take_in(ZOE.replace("0912345678", "0987654321"))
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.disputed_at is None


async def test_what_stays_the_same_is_not_touched_but_for_the_day_it_was_verified(world: Directory):
    await world.take_in(ZOE)
    before = await world.directory()
    world.clock.at += timedelta(days=30)
    await world.take_in(ZOE)
    assert await world.directory() == before
    await world.take_in(ZOE.replace("2026-07-01", "2026-08-01"))
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.verified_at == datetime(2026, 7, 31, 16, tzinfo=UTC)
    assert mobile.version == 1
    assert mobile.cool_until < world.clock.at
    await world.take_in(ZOE)
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.verified_at == datetime(2026, 7, 31, 16, tzinfo=UTC)


async def test_a_changed_name_seals_every_column_anew_under_the_next_version(world: Directory):
    await world.take_in(ZOE)
    await world.take_in(ZOE.replace("王小明", "王大明"))
    zoe = (await world.directory())[0]
    assert isinstance(zoe, dict)
    assert (zoe["version"], zoe["name"], zoe["birth_date"]) == (2, "王大明", "2001-07-15")


async def test_taking_a_contact_away_and_bringing_another_is_no_way_around_the_cool_down(world: Directory):
    await world.take_in(ZOE)
    await world.take_in(ZOE.replace("0912345678", ""), allow=(Allowed.BLANKED,))
    assert await world.contact(Channel.MOBILE) is None
    await world.take_in(ZOE.replace("0912345678", "0987654321"))
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.cool_until == world.clock.at + timedelta(days=7)
    assert mobile.version > 1


async def test_accounts_follow_the_sheet_in_its_order(world: Directory):
    await world.take_in(ZOE)
    await world.take_in(ZOE.replace("(期)F014000-0000007", "9A95-0000001;(期)F014000-0000007"))
    rows = await world.rows("SELECT number, kind, position FROM accounts ORDER BY position")
    assert [tuple(row.values()) for row in rows] == [
        ("9A95-0000001", "securities", 0),
        ("F014000-0000007", "futures", 1),
    ]


def many(count: int) -> list[str]:
    """Lines of companies: eight digits whose weighted sum fits (domain 3.2)."""
    lines: list[str] = []
    number = 10_000_000
    while len(lines) < count:
        number += 1
        products = [int(digit) * weight for digit, weight in zip(str(number), (1, 2, 1, 2, 1, 2, 4, 1), strict=True)]
        if sum(p // 10 + p % 10 for p in products) % 5 == 0:
            place = len(lines)
            lines.append(f"C{place:06},{number},公司{place},,09{place:08},,9A95-{place:07},2026-07-01")
    return lines


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
async def test_a_killed_run_goes_on_and_ends_in_the_same_rows_and_report(world: Directory, after: bool):
    class Dying(SqlRegistry):
        async def write(self, changes, records, now, mark):
            if mark == Mark(mark.file_sha256, 10, 20):
                if after:
                    await super().write(changes, records, now, mark)
                raise Killed
            return await super().write(changes, records, now, mark)

    path = world.sheet(*many(25))
    with pytest.raises(Killed):
        await world.intake_of(Dying(world.engine)).run(path, "alice")
    report = await world.customer_import.run(path, "alice")
    assert report == Report("utf-8", 25, imported=25)
    assert report.resumed_at == (20 if after else 10)
    rows = await world.directory()
    assert len(rows) == 3 * 25
    records = await world.rows("SELECT facts FROM leaves ORDER BY version")
    assert [record["facts"] for record in records] == [
        f'{{"by":"alice","count":{count},"door":"batch"}}' for count in (10, 10, 5)
    ]
    assert await world.customer_import.run(path, "alice") == report
    assert await world.directory() == rows


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.contract.test_registry import Directory
from chopmark.store import db

async def main(url, path):
    world = Directory(await db.open_engine(url), Path(path).parent, url)
    half = 3 * Path(path).stat().st_size // 2

    def told(done, _):
        if done > half:
            os.kill(os.getpid(), signal.SIGKILL)

    await world.customer_import.run(Path(path), "alice", told)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_loses_nothing_and_repeats_nothing(world: Directory):
    path = world.sheet(*many(25))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, world.url, str(path), env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert await child.wait() == -signal.SIGKILL
    report = await world.customer_import.run(path, "alice")
    assert (report, report.resumed_at) == (Report("utf-8", 25, imported=25), 20)
    assert len(await world.directory()) == 3 * 25
    assert len(await world.rows("SELECT chain FROM leaves")) == 3


async def test_the_leaves_of_a_run_are_one_chain(world: Directory):
    await world.take_in(*many(25))
    rows = await world.rows(
        "SELECT chain AS stream, version, previous, at, event, facts, kid, mac FROM leaves ORDER BY version"
    )
    previous = bytes(32)
    for row in rows:
        record = StoredRecord(**row)
        assert record.previous == previous
        previous = record.leaf_hash()
    assert (await world.rows("SELECT tip FROM chains"))[0]["tip"] == previous


async def test_two_runs_of_one_file_at_a_time_write_each_line_once(world: Directory):
    class Slower(SqlRegistry):
        async def write(self, changes, records, now, mark):
            if mark.start == 0:
                await world.customer_import.run(path, "bob")
            return await super().write(changes, records, now, mark)

    path = world.sheet(ZOE)
    with pytest.raises(Refused) as refused:
        await world.intake_of(Slower(world.engine)).run(path, "alice")
    assert refused.value.refusal.kind is Kind.CONFLICT
    records = await world.rows("SELECT chain FROM leaves")
    assert [record["chain"] for record in records] == ["staff:bob"]


async def test_a_customer_that_changes_between_reading_and_writing_is_read_again(world: Directory):
    await world.take_in(ZOE)

    class Overtaken(SqlRegistry):
        overtaken = False

        async def write(self, changes, records, now, mark):
            if not self.overtaken:
                self.overtaken = True
                await world.customer_import.add([row_of(ZOE.replace("0912345678", "0911111111"))], "bob")
            return await super().write(changes, records, now, mark)

    path = world.sheet(ZOE.replace("0912345678", "0922222222"))
    assert (await world.intake_of(Overtaken(world.engine)).run(path, "alice")).imported == 1
    mobile = await world.contact(Channel.MOBILE)
    assert mobile is not None
    assert mobile.version == 3
    assert world.sealer.open(mobile.value_sealed, "contacts", "mobile", "C0001", 3).reveal() == "+886922222222"


def row_of(line: str) -> dict[str, str]:
    return dict(zip(HEADER.split(","), line.split(","), strict=True))


async def test_rows_without_a_file_pass_the_same_checks_and_writes(world: Directory):
    report = await world.customer_import.add([row_of(ZOE), row_of(ZOE)], "alice")
    assert {fault.code for fault in report.faults} == {"customer.twice", "person_id.twice", "accounts.twice"}
    assert (await world.customer_import.add([row_of(ZOE), row_of(BOB)], "alice")).imported == 2
    assert len(await world.rows("SELECT id FROM customers")) == 2
    assert await world.rows("SELECT * FROM imports") == []


async def test_an_endless_line_and_a_missing_file_get_a_clear_answer(world: Directory):
    report = await world.take_in(ZOE, "x" * 100_000, BOB)
    assert [(fault.line, fault.code) for fault in report.faults] == [(3, "too_long")]
    empty = world.folder / "empty.csv"
    empty.write_bytes(b"")
    assert [fault.code for fault in (await world.customer_import.check_file(empty)).faults] == ["empty"]
    with pytest.raises(Refused) as refused:
        await world.customer_import.run(world.folder / "none.csv", "alice")
    assert refused.value.refusal.field == "file"


async def test_progress_rises_to_the_total(world: Directory):
    told: list[tuple[int, int]] = []
    path = world.sheet(*many(15))
    await world.customer_import.run(path, "alice", lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (2 * path.stat().st_size, 2 * path.stat().st_size)
