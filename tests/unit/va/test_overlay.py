"""Status after a restore: what only the journal still has is laid over the database, of this CA and this list alone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.audit.journal import Deed, Line
from chopmark.audit.record import AuditRecord
from chopmark.core.types import CertificateState, IssuerId, OrderId, Serial
from chopmark.va.overlay import BESIDE, Overlaid
from chopmark.va.ports import CrlShard, Due, Ended, LastCrl, Status

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OURS, OTHERS = IssuerId("investor"), IssuerId("another")
ONE, TWO, THREE = Serial("01"), Serial("02"), Serial("03")
ACTIVE = Status(CertificateState.ACTIVE, None, None, 4)
HELD = Status(CertificateState.HELD, NOW - DAY, "certificate_hold", 5)


def line(
    deed: Deed = Deed.REVOKED, serial: Serial = ONE, issuer: IssuerId = OURS, shard: int = 0, **other: object
) -> Line:
    made = {"at": NOW, "until": NOW + 300 * DAY, "reason": "key_compromise", **other}
    return Line(deed=deed, issuer=issuer, serial=serial, order=OrderId("O"), shard=shard, **made)  # type: ignore[arg-type]


@dataclass
class Journal:
    """What the journal has and the database lacks."""

    lines: tuple[Line, ...] = ()
    unknown: frozenset[Serial] = frozenset()

    def overlay(self, serial: Serial) -> Line | None:
        return next((one for one in self.lines if one.serial == serial), None)

    def overlays(self) -> tuple[Line, ...]:
        return self.lines

    def made(self, serial: Serial) -> bool:
        return serial in self.unknown


@dataclass
class Database:
    """The records of the database."""

    found: Status | None = None
    gone: list[Ended] = field(default_factory=list)
    noted: list[AuditRecord] = field(default_factory=list)

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        return self.found

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        return [Due(serial, ACTIVE) for serial in (ONE, TWO)]

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        return self.gone

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        return CrlShard(LastCrl(7, NOW, 10), changed=False, mark="m", beside=10)

    async def note(self, record: AuditRecord) -> None:
        self.noted.append(record)


def overlaid(database: Database, *lines: Line, unknown: frozenset[Serial] = frozenset()) -> Overlaid:
    return Overlaid(database, Journal(lines, unknown))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "lines", "unknown", "status"),
    [
        (ACTIVE, (), (), ACTIVE),
        (None, (), (), None),
        (ACTIVE, (line(),), (), Status(CertificateState.REVOKED, NOW, "key_compromise", BESIDE + 4)),
        (HELD, (line(),), (), Status(CertificateState.REVOKED, NOW - DAY, "key_compromise", BESIDE + 5)),
        (None, (line(),), (), Status(CertificateState.REVOKED, NOW, "key_compromise", BESIDE)),
        (ACTIVE, (line(Deed.HELD),), (), Status(CertificateState.HELD, NOW, "key_compromise", BESIDE + 4)),
        (ACTIVE, (line(Deed.RELEASED),), (), ACTIVE),
        (ACTIVE, (line(Deed.PROVED),), (), ACTIVE),
        (ACTIVE, (line(serial=TWO),), (), ACTIVE),
        (ACTIVE, (line(issuer=OTHERS),), (), ACTIVE),
        (None, (line(issuer=OTHERS),), (), None),
        (None, (), (ONE,), Status(CertificateState.ISSUED, None, None, BESIDE)),
        (None, (), (TWO,), None),
        (ACTIVE, (), (ONE,), ACTIVE),
    ],
)
async def test_what_the_journal_has_ended_has_ended(
    found: Status | None, lines: tuple[Line, ...], unknown: tuple[Serial, ...], status: Status | None
) -> None:
    assert await overlaid(Database(found), *lines, unknown=frozenset(unknown)).status(OURS, ONE) == status


async def test_answers_signed_ahead_are_of_the_status_in_the_journal() -> None:
    due = await overlaid(Database(), line()).due(OURS, NOW, 10)
    assert due == [Due(ONE, Status(CertificateState.REVOKED, NOW, "key_compromise", BESIDE + 4)), Due(TWO, ACTIVE)]


async def test_a_list_has_what_only_the_journal_knows_of_its_own_shard() -> None:
    there = Ended(TWO, NOW - DAY, "certificate_hold")
    lines = (
        line(serial=THREE), line(serial=TWO), line(Deed.HELD, ONE, reason=None),
        line(serial=Serial("04"), shard=1), line(serial=Serial("05"), issuer=OTHERS),
        line(Deed.RELEASED, Serial("06")), line(Deed.PROVED, Serial("07")),
    )  # fmt: skip
    assert await overlaid(Database(gone=[there]), *lines).ended(OURS, 0, NOW - DAY) == [
        Ended(ONE, NOW, "unspecified"), Ended(TWO, NOW - DAY, "key_compromise"), Ended(THREE, NOW, "key_compromise")
    ]  # fmt: skip
    found = await overlaid(Database(), *lines).shard(OURS, 0)
    assert (found.beside, found.mark, found.changed, found.lacks) == (10 + 2 + 2 + 1, "m", False, True)
    assert not (await overlaid(Database()).shard(OURS, 0)).lacks


@pytest.mark.parametrize(
    ("ended_at", "until", "listed"),
    [(NOW, NOW + DAY, True), (NOW, NOW - DAY, True), (NOW - DAY, NOW + DAY, True), (NOW - DAY, NOW - DAY, False)],
)
async def test_an_entry_stays_as_long_as_one_of_the_database_would(
    ended_at: datetime, until: datetime, *, listed: bool
) -> None:
    found = await overlaid(Database(), line(at=ended_at, until=until)).ended(OURS, 0, NOW - timedelta(hours=1))
    assert [one.serial for one in found] == ([ONE] if listed else [])


async def test_a_record_of_its_own_is_written() -> None:
    database = Database()
    await overlaid(database).note("a record")  # type: ignore[arg-type]
    assert list(map(str, database.noted)) == ["a record"]
