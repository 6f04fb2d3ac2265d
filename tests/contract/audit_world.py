"""A real audit ledger for tests: writers, a sequencer and a verifier over one engine."""

import io
from dataclasses import asdict, dataclass, field
from datetime import datetime
from random import Random

from chopmark.audit.events import Event
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import Report
from chopmark.audit.headlines import HeadLines
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.ports import HeadLog, Source
from chopmark.audit.record import AuditKey, AuditKeys, StreamId, Tip, make_record, next_tip
from chopmark.audit.verify import verify
from chopmark.jobs.sequence import sequence
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Script, Value, query
from chopmark.store.repositories.audit.log import AuditRepository
from chopmark.store.repositories.records import append
from tests.tables import Clock
from tests.unit.audit.ledger import START, KeySigner, MemoryHeads, Rows

KEY = AuditKey("a1", bytes(range(32)))
KEYS = AuditKeys([KEY])
_LEAF = """
INSERT INTO leaves (entry, chain, version, previous, at, event, facts, kid, mac)
VALUES (:entry, :stream, :version, :previous, :at, :event, :facts, :kid, :mac)
"""
_PLACE = "INSERT INTO places (position, entry) VALUES (:position, :entry)"
CHAINS = [StreamId("ORDERA"), StreamId("ORDERB"), StreamId("customer:A-1"), StreamId("stranger:0f")]


@dataclass
class AuditTrail:
    """The ledger, what lies outside the database, and the verbs of this file's tests."""

    engine: Engine
    clock: Clock = field(default_factory=lambda: Clock(START))
    heads: MemoryHeads = field(default_factory=MemoryHeads)
    signer: KeySigner = field(default_factory=KeySigner)

    def __post_init__(self) -> None:
        self.ledger = AuditRepository(self.engine)
        self.audit_log = AuditLog(self.ledger, KEY, self.clock)

    async def write(self, chain: StreamId, **facts: int) -> None:
        async def attempt(builder: RecordBuilder) -> None:
            await self.engine.run(append, builder.record(Event.RA_ORDER_OPENED, **facts))

        await self.audit_log.write(chain, attempt)

    async def write_many(self, chain: StreamId, count: int, event: Event = Event.RA_ORDER_OPENED) -> None:
        """Append leaves in one transaction."""
        tip = await self.ledger.tip(chain)
        await self.engine.run(_many, tip, count, event, self.clock.now())

    async def sequence(self, holder: str = "one", heads: HeadLog | None = None, limit: int = 1000) -> int:
        log = heads or self.heads
        return await sequence(self.ledger, self.signer, log, self.clock, holder, limit=limit)

    async def verify(self, lines: HeadLines | None = None) -> Report:
        """Read the heads file first, then the database."""
        lines = lines or self.heads.lines()
        async with self.ledger.snapshot() as source:
            return await self.examine(source, lines)

    async def verify_export(self) -> Report:
        """Write an export and verify that."""
        lines = self.heads.lines()
        out = io.StringIO()
        async with self.ledger.snapshot() as source:
            await write_export(source, out)
        return await self.examine(ExportSource(lambda: io.StringIO(out.getvalue())), lines)

    async def examine(self, source: Source, lines: HeadLines) -> Report:
        return await verify(source, KEYS, [self.signer.public_key], lines, self.clock.now())

    async def rows(self) -> Rows:
        """Return every row of the audit tables."""
        async with self.ledger.snapshot() as source:
            records = [record async for record in source.sequenced()] + [
                record async for record in source.unsequenced()
            ]
            tips = [tip async for tip in source.streams()]
            return Rows(records, tips, [head async for head in source.heads()])

    async def put(self, rows: Rows) -> None:
        """Make these the only rows of the audit tables, as somebody with write access would."""
        await self.engine.run(_replaced, rows)

    async def story(self, rng: Random) -> None:
        """Write three to six heads over two to four chains; at least two records of one chain still wait."""
        chains = CHAINS[: rng.randint(2, 4)]
        for _ in range(rng.randint(3, 6)):
            for chain in [*chains[:2], *rng.choices(chains, k=rng.randint(0, 3))]:
                self.clock.later(milliseconds=rng.randint(0, 400))
                await self.write_many(chain, rng.randint(1, 2), rng.choice(list(Event)))
            await self.sequence()
        for chain in [chains[0], *rng.choices(chains, k=rng.randint(0, 3)), chains[0]]:
            await self.write_many(chain, 1, rng.choice(list(Event)))


def _many(tip: Tip, count: int, event: Event, at: datetime) -> Script[None]:
    for number in range(count):
        record = make_record(tip, event, {"count": number, "reason": "lost"}, at, KEY)
        yield from append(record)
        tip = next_tip(record)


def without_unique_indexes() -> Script[None]:
    yield query("DROP INDEX leaves_by_chain")
    yield query("DROP TABLE places")
    yield query("CREATE TABLE places (position BIGINT, entry BIGINT)")


def emptied() -> Script[None]:
    for table in ("places", "leaves", "chains", "heads", "leases"):
        yield query(f"DELETE FROM {table}")


def _replaced(rows: Rows) -> Script[None]:
    for table in ("places", "leaves", "chains", "heads"):
        yield query(f"DELETE FROM {table}")
    records: list[dict[str, Value]] = [asdict(record) | {"entry": at} for at, record in enumerate(rows.records, 1)]
    yield Batch(_LEAF, [{name: value for name, value in row.items() if name != "index"} for row in records])
    yield Batch(
        _PLACE, [{"position": row["index"], "entry": row["entry"]} for row in records if row["index"] is not None]
    )
    tips: list[dict[str, Value]] = [asdict(tip) for tip in rows.tips]
    yield Batch("INSERT INTO chains (chain, version, tip) VALUES (:stream, :version, :leaf_hash)", tips)
    heads: list[dict[str, Value]] = [asdict(head) for head in rows.stored_heads]
    yield Batch("INSERT INTO heads (size, line, frontier) VALUES (:size, :line, :frontier)", heads)
