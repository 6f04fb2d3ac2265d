"""Whoever edits the audit rows of a real database is found out, on both engines and in an export."""

import os
from random import Random

import pytest

from chopmark.audit.findings import Code
from chopmark.audit.record import StreamId
from chopmark.store.db import create
from chopmark.store.engine.script import Script, query
from tests.contract.audit_world import AuditTrail, emptied, without_unique_indexes
from tests.property.audit.tampering import TAMPERINGS

ORDER = StreamId("ORDERA")
EXAMPLES = int(os.environ.get("CHOPMARK_TAMPER_EXAMPLES", "50"))
EVERY = {"sqlite": 1, "postgresql": 3}  # on PostgreSQL every third example


@pytest.fixture
async def bare(engine):
    """An engine whose audit tables let anything in."""
    await create(engine)
    await engine.run(without_unique_indexes)
    return engine


async def test_every_tampering_is_found_in_the_database_and_in_its_export(bare):
    for seed in range(0, EXAMPLES, EVERY[bare.dialect]):
        tamper = TAMPERINGS[seed % len(TAMPERINGS)]
        await bare.run(emptied)
        world = AuditTrail(bare)
        await world.story(Random(seed))
        sound = await world.verify()
        assert sound.findings == (), f"untouched, seed {seed}"
        assert await world.verify_export() == sound
        rows = await world.rows()
        tamper(rows, Random(seed))
        await world.put(rows)

        report = await world.verify()

        assert not report.sound, f"{tamper.__name__}, seed {seed}"
        assert await world.verify_export() == report, f"{tamper.__name__}, seed {seed}"


ODD_VALUES = [
    "UPDATE leaves SET facts = CAST(X'7BFF7D' AS TEXT) WHERE entry = 2",
    "UPDATE leaves SET chain = CAST(X'FF' AS TEXT) WHERE entry = 2",
    "UPDATE leaves SET chain = CAST(chain AS BLOB) WHERE entry = 2",
    "UPDATE leaves SET at = CAST(X'80' AS TEXT) WHERE entry = 2",
    "UPDATE leaves SET event = x'00' WHERE entry = 2",
    "UPDATE leaves SET kid = kid || char(0) WHERE entry = 2",
    "UPDATE leaves SET mac = 'text' WHERE entry = 2",
    "UPDATE leaves SET previous = CAST(X'FF' AS TEXT) WHERE entry = 2",
    "UPDATE leaves SET version = 'two' WHERE entry = 2",
    "UPDATE leaves SET version = 2.5 WHERE entry = 2",
    "UPDATE places SET entry = 'two' WHERE entry = 2",
    "UPDATE places SET entry = 2.5 WHERE entry = 2",
    "UPDATE places SET entry = x'02' WHERE entry = 2",
    "UPDATE places SET entry = 7 WHERE entry = 2",
    "UPDATE places SET position = -1 WHERE entry = 2",
    "UPDATE places SET position = 9223372036854775807 WHERE entry = 2",
    "UPDATE heads SET line = CAST(line AS BLOB)",
    "UPDATE heads SET line = CAST(X'FF' AS TEXT)",
    "UPDATE heads SET frontier = 'text'",
    "UPDATE chains SET chain = CAST(chain AS BLOB)",
    "UPDATE chains SET chain = CAST(X'FF' AS TEXT)",
    "UPDATE chains SET version = 'three'",
    "UPDATE chains SET tip = CAST(X'FF' AS TEXT)",
    "UPDATE chains SET tip = 0",
]


@pytest.mark.parametrize("statement", ODD_VALUES)
@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_a_value_that_its_column_should_not_hold_is_a_finding_and_no_crash(engine, statement):
    await create(engine)
    world = AuditTrail(engine)
    await world.write_many(ORDER, 3)
    await world.sequence()
    await engine.run(lambda: (yield query(statement)))

    assert not (await world.verify()).sound
    assert not (await world.verify_export()).sound


async def test_a_whole_database_rewritten_but_for_the_heads_file_is_found_through_the_file(bare):
    """Even with the audit key and the head key stolen, the copy of the heads outside tells."""
    world = AuditTrail(bare)
    await world.write_many(ORDER, 3)
    await world.sequence()
    await bare.run(emptied)
    forger = AuditTrail(bare, signer=world.signer)
    await forger.write_many(ORDER, 2)
    await forger.sequence()

    report = await world.verify()
    assert {finding.code for finding in report.findings} == {Code.FILE_AHEAD, Code.FILE_HEAD_MISSING}
    assert (await forger.verify()).sound


def count_leaves() -> Script[int]:
    rows = yield query("SELECT COUNT(*) AS n FROM leaves")
    return int(rows[0]["n"])


async def test_tampered_rows_are_written_as_they_are_read(bare):
    """The other tests here would say nothing if `put` and `rows` lost something."""
    world = AuditTrail(bare)
    await world.story(Random(1))
    rows = await world.rows()
    await world.put(rows)

    assert await world.rows() == rows
    assert await bare.read(count_leaves) == len(rows.records)
    assert (await world.verify()).findings == ()
