"""No tampering with the audit rows stays unseen, and rows that nobody touched give no finding."""

import asyncio
import io
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chopmark.audit.checks import ChainCheck, FileCheck, HeadCheck, MacCheck, TreeCheck
from chopmark.audit.events import Event
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import Code, Report
from chopmark.audit.head import encode_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.record import AuditKey, AuditKeys, StreamId
from chopmark.audit.sequencer import sequence_once
from chopmark.audit.verify import examine, standard_parts, verify
from tests.property.audit import tampering
from tests.property.audit.tampering import TAMPERINGS
from tests.unit.audit.ledger import START, KeySigner, MemoryHeads, MemoryTree, Rows
from tests.unit.audit.restores import Restorable

EXAMPLES = int(os.environ.get("CHOPMARK_TAMPER_EXAMPLES", "50"))
KEY = AuditKey("a1", bytes(range(32)))
KEYS = AuditKeys([KEY])
SIGNER = KeySigner()
CHAINS = [StreamId("ORDERA"), StreamId("ORDERB"), StreamId("customer:A-1"), StreamId("stranger:0f")]


@dataclass(frozen=True)
class WrittenTrail:
    """A ledger as it was written, and what lies outside the database."""

    rows: Rows
    file: HeadLines
    now: datetime

    def verify(self, rows: Rows) -> Report:
        return asyncio.run(verify(rows, KEYS, [SIGNER.public_key], self.file, self.now))


def a_trail(seed: int) -> WrittenTrail:
    """Three to six heads over two to four chains; at least two records of one chain still wait."""
    return asyncio.run(_written(Random(seed)))


async def _written(rng: Random) -> WrittenTrail:
    ledger, heads, now = MemoryTree(KEY), MemoryHeads(), START
    streams = CHAINS[: rng.randint(2, 4)]
    for _ in range(rng.randint(3, 6)):
        for stream in [*streams[:2], *rng.choices(streams, k=rng.randint(0, 5))]:
            now += timedelta(milliseconds=rng.randint(0, 400))
            ledger.append(stream, rng.choice(list(Event)), now, count=rng.randint(0, 9), reason="lost")
        await sequence_once(ledger, SIGNER, heads, now=now, holder="one")
    for stream in [streams[0], *rng.choices(streams, k=rng.randint(0, 3)), streams[0]]:
        ledger.append(stream, rng.choice(list(Event)), now)
    return WrittenTrail(ledger.rows, heads.lines(), now)


def a_restored_world(seed: int) -> WrittenTrail:
    """As `a_trail`, but an older copy was restored on the way, and declared."""
    return asyncio.run(_restored(Random(seed)))


async def _restored(rng: Random) -> WrittenTrail:
    world = Restorable(signer=SIGNER)

    async def heads(most: int) -> None:
        for _ in range(rng.randint(1, most)):
            for stream in [*CHAINS[:2], *rng.choices(CHAINS, k=rng.randint(0, 3))]:
                world.ledger.append(stream, rng.choice(list(Event)), world.now, count=rng.randint(0, 9))
            await world.sequence()

    await heads(3)
    world.write(rng.randint(0, 2))
    copy = world.rows.copy()
    world.write()
    await heads(3)
    world.restore(copy)
    world.write(rng.randint(0, 2))
    await world.tell()
    await world.succeed()
    await heads(3)
    for stream in (CHAINS[0], CHAINS[1], CHAINS[0]):
        world.ledger.append(stream, rng.choice(list(Event)), world.now)
    return WrittenTrail(world.rows, world.heads.lines(), world.now)


async def through_an_export(rows: Rows) -> ExportSource:
    out = io.StringIO()
    await write_export(rows, out)
    return ExportSource(lambda: io.StringIO(out.getvalue()))


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), tamper=st.sampled_from(TAMPERINGS))
def test_every_tampering_is_found_in_the_rows_and_in_their_export(seed, tamper):
    world = a_trail(seed)
    rows = world.rows.copy()
    tamper(rows, Random(seed))
    assert not world.verify(rows).sound
    export = asyncio.run(through_an_export(rows))
    assert not asyncio.run(verify(export, KEYS, [SIGNER.public_key], world.file, world.now)).sound


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_each_kind_of_tampering_is_found(tamper, seed):
    world = a_trail(seed)
    rows = world.rows.copy()
    tamper(rows, Random(seed))
    report = world.verify(rows)
    assert not report.sound, tamper.__name__


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), tamper=st.sampled_from(TAMPERINGS))
def test_every_tampering_is_found_after_a_restore_too(seed, tamper):
    world = a_restored_world(seed)
    sound = world.verify(world.rows)
    assert [finding.code for finding in sound.findings] == [Code.RECORDS_LOST]
    rows = world.rows.copy()
    tamper(rows, Random(seed))
    assert not world.verify(rows).sound
    export = asyncio.run(through_an_export(rows))
    assert not asyncio.run(verify(export, KEYS, [SIGNER.public_key], world.file, world.now)).sound


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), gone=st.integers(0, 2**32))
def test_no_head_of_the_lost_tree_can_be_taken_out_of_the_file_unseen(seed, gone):
    world = a_restored_world(seed)
    heads = list(world.file.heads)
    held = {stored.line for stored in world.rows.stored_heads}
    lost = [at for at, head in enumerate(heads) if encode_head(head) not in held]
    at = lost[gone % len(lost)]
    report = asyncio.run(
        verify(world.rows, KEYS, [SIGNER.public_key], HeadLines((*heads[:at], *heads[at + 1 :])), world.now)
    )
    assert Code.SUCCESSOR_WRONG in {finding.code for finding in report.findings}


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_untouched_rows_and_their_export_give_no_finding(seed):
    world = a_trail(seed)
    report = world.verify(world.rows)
    assert report.findings == ()
    assert report.records == len(world.rows.records)
    export = asyncio.run(through_an_export(world.rows))
    assert asyncio.run(verify(export, KEYS, [SIGNER.public_key], world.file, world.now)) == report


# Tree and head checks stand alone only without a heads file, which sees the same damage.
PART_AND_WHAT_IT_ALONE_SEES = [
    (ChainCheck, tampering.delete_an_unsequenced_one, True),
    (MacCheck, tampering.invent_one, True),
    (TreeCheck, tampering.exchange_places, False),
    (HeadCheck, tampering.edit_a_head, False),
    (FileCheck, tampering.cut_rows_and_heads_together, True),
]


@pytest.mark.parametrize(
    ("part", "tamper", "with_file"), PART_AND_WHAT_IT_ALONE_SEES, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_verifier_without_one_of_its_parts_misses_something(part, tamper, with_file):
    missed = 0
    for seed in range(12):
        world = a_trail(seed)
        rows = world.rows.copy()
        tamper(rows, Random(seed))

        def parts(world=world):
            return standard_parts(KEYS, [SIGNER.public_key], world.file if with_file else None, world.now)

        assert not asyncio.run(examine(rows, parts())).sound
        lame = [each for each in parts() if not isinstance(each, part)]
        missed += asyncio.run(examine(rows, lame)).sound
    assert missed > 0
