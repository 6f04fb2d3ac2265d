"""The verifier's findings by name, its warnings, what it leaves out, and exports that are damaged."""

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import MOST_FINDINGS, Code, Level
from chopmark.audit.headlines import HeadLines
from chopmark.audit.ports import StoredHead, Unreadable
from chopmark.audit.record import AuditKey, AuditKeys, StreamId, Tip
from chopmark.audit.sequencer import sequence_once
from chopmark.audit.verify import verify
from tests.unit.audit.ledger import START, KeySigner, MemoryHeads, MemoryTree, Rows

KEY = AuditKey("a1", bytes(range(32)))
SIGNER = KeySigner()
A, B = StreamId("ORDERA"), StreamId("ORDERB")


@pytest.fixture
async def world():
    """Four leaves in the tree under two heads, two more waiting."""
    ledger, heads = MemoryTree(KEY), MemoryHeads()
    for stream in (A, B):
        ledger.append(stream, Event.RA_ORDER_OPENED, START)
        ledger.append(stream, Event.RA_KEY_BOUND, START)
        await sequence_once(ledger, SIGNER, heads, now=START, holder="one")
    ledger.append(A, Event.RA_CODE_WRONG, START, attempts_left=4)
    ledger.append(A, Event.RA_CODE_RIGHT, START)
    return ledger, heads


async def check(rows, *, keys=(KEY,), file=None, seconds=0):
    now = START + timedelta(seconds=seconds)
    return await verify(rows, AuditKeys(keys) if keys else None, [SIGNER.public_key], file, now)


def codes(report):
    return [finding.code for finding in report.findings]


async def test_untouched_records_are_sound_and_counted(world):
    ledger, heads = world
    report = await check(ledger.rows, file=heads.lines())
    assert report.findings == ()
    assert report.sound
    assert (report.records, report.size, report.streams, report.heads) == (6, 4, 2, 2)
    assert (report.macs_checked, report.file_checked) == (True, True)


async def test_an_empty_ledger_is_sound():
    assert (await check(Rows(), file=HeadLines(()))).findings == ()


async def test_what_was_not_given_is_said_to_be_unchecked(world):
    report = await check(world[0].rows, keys=())
    assert (report.macs_checked, report.file_checked, report.sound) == (False, False, True)


async def test_an_edited_leaf_of_the_tree_shows_in_mac_link_and_root(world):
    rows = world[0].rows
    rows.records[0] = replace(rows.records[0], event="ra:order:cancelled")
    report = await check(rows)
    assert codes(report) == [Code.MAC_WRONG, Code.CHAIN_LINK_WRONG, Code.ROOT_WRONG]
    assert report.findings[0].place == "index 0 (ORDERA@1)"
    assert report.findings[2].place == "head of size 2"


async def test_an_edited_leaf_shows_even_to_an_auditor_without_audit_keys(world):
    rows = world[0].rows
    rows.records[3] = replace(rows.records[3], facts='{"count":1}')
    assert codes(await check(rows, keys=())) == [Code.ROOT_WRONG, Code.CHAIN_TIP_WRONG]


async def test_a_deleted_leaf_leaves_a_gap_in_tree_and_chain(world):
    rows = world[0].rows
    del rows.records[0]
    assert codes(await check(rows)) == [Code.INDEX_MISSING, Code.CHAIN_GAP]


async def test_a_deleted_waiting_leaf_leaves_a_gap_in_its_chain(world):
    rows = world[0].rows
    del rows.records[4]
    report = await check(rows)
    assert codes(report) == [Code.CHAIN_GAP]
    assert report.findings[0].place == "ORDERA@4"


async def test_rows_cut_without_their_heads_show_in_the_newest_head(world):
    rows = world[0].rows
    rows.records = rows.records[:2] + rows.records[4:]
    rows.tips = [tip for tip in rows.tips if tip.stream == A]
    assert codes(await check(rows)) == [Code.TREE_CUT]


async def test_rows_and_heads_cut_together_show_in_the_heads_file_alone(world):
    ledger, heads = world
    rows = ledger.rows
    rows.records = rows.records[:2] + rows.records[4:]
    rows.tips = [tip for tip in rows.tips if tip.stream == A]
    rows.stored_heads = rows.stored_heads[:1]
    assert (await check(rows)).sound
    assert codes(await check(rows, file=heads.lines())) == [Code.FILE_AHEAD, Code.FILE_HEAD_MISSING]


async def test_an_old_copy_that_was_continued_with_the_real_keys_shows_in_the_heads_file(world):
    ledger, heads = world
    ledger.rows = Rows(ledger.rows.records[:2], [], ledger.rows.stored_heads[:1])
    ledger.rows.tips = [Tip(A, 2, ledger.rows.records[1].leaf_hash())]
    for _ in range(2):
        ledger.append(A, Event.RA_ORDER_CANCELLED, START)
    await sequence_once(ledger, SIGNER, MemoryHeads(), now=START, holder="one")
    assert (await check(ledger.rows)).sound
    assert codes(await check(ledger.rows, file=heads.lines())) == [Code.FILE_ROOT_WRONG, Code.FILE_HEAD_MISSING]


async def test_the_newest_young_leaf_cut_together_with_its_chain_row_is_the_one_thing_not_seen(world):
    rows = world[0].rows
    rows.records.pop()
    rows.tips = [Tip(A, 3, rows.records[-1].leaf_hash()) if tip.stream == A else tip for tip in rows.tips]
    assert (await check(rows, file=world[1].lines())).sound


async def test_a_leaf_that_waits_longer_than_the_merge_delay_is_a_warning(world):
    rows = world[0].rows
    assert (await check(rows, seconds=60)).findings == ()
    report = await check(rows, seconds=61)
    assert [(each.code, each.level, each.place) for each in report.findings] == [
        (Code.UNSEQUENCED_LATE, Level.WARNING, "ORDERA@3")
    ]
    assert report.sound


async def test_a_leaf_under_a_key_that_was_rotated_out_still_verifies(world):
    ledger, _ = world
    ledger.key = AuditKey("a2", bytes(32))
    ledger.append(B, Event.RA_CODE_RIGHT, START)
    assert (await check(ledger.rows, keys=(KEY, ledger.key))).findings == ()
    assert codes(await check(ledger.rows)) == [Code.KEY_UNKNOWN]


async def test_a_head_by_another_key_is_found(world):
    ledger, _ = world
    stranger = KeySigner()
    await sequence_once(ledger, stranger, MemoryHeads(), now=START, holder="one", former_keys=[SIGNER.public_key])
    assert codes(await check(ledger.rows)) == [Code.HEAD_SIGNATURE_WRONG]


async def test_a_head_with_a_lower_fencing_number_is_found(world):
    ledger, heads = world
    ledger.lease = replace(ledger.lease, fencing=0)
    await sequence_once(ledger, SIGNER, heads, now=START, holder="one")
    assert codes(await check(ledger.rows)) == [Code.HEAD_ORDER_WRONG]


async def test_leaves_with_places_and_no_head_over_them_are_found(world):
    rows = world[0].rows
    rows.stored_heads.pop()
    assert codes(await check(rows)) == [Code.TREE_WITHOUT_HEAD]


async def test_columns_of_a_wrong_type_are_findings_and_no_crash(world):
    rows = world[0].rows
    rows.records[5] = replace(rows.records[5], at=None, facts=7, version="4", mac="x")
    wrong: Any = None
    text: Any = "four"
    rows.stored_heads[0] = StoredHead(2, wrong)
    rows.tips[0] = Tip(A, text, wrong)
    report = await check(rows)
    assert {Code.RECORD_MALFORMED, Code.HEAD_MALFORMED} <= set(codes(report))
    assert not report.sound


async def test_a_row_that_the_store_could_not_read_is_a_finding(world):
    class Torn(Rows):
        async def unsequenced(self):
            yield Unreadable("row 9", "a column holds no text")

    rows = world[0].rows
    report = await check(Torn(rows.records, rows.tips, rows.stored_heads))
    assert codes(report)[0] == Code.RECORD_MALFORMED
    assert report.findings[0].place == "row 9"


async def test_an_event_that_only_a_newer_release_knows_is_a_warning(world):
    ledger, _ = world
    known = ledger.append(B, Event.RA_CODE_RIGHT, START).stored()
    odd = replace(known, event="ra:order:danced")
    odd = replace(odd, mac=KEY.mac(odd.canonical()))
    ledger.rows.records[-1] = odd
    ledger.rows.tips[-1] = Tip(B, odd.version, odd.leaf_hash())
    report = await check(ledger.rows)
    assert codes(report) == [Code.EVENT_UNKNOWN]
    assert report.sound


async def test_findings_are_bounded_and_the_rest_is_counted():
    records = [replace(MemoryTree(KEY).append(A, Event.RA_KEY_BOUND, START).stored(), mac=b"")] * (MOST_FINDINGS + 5)
    report = await check(Rows(records))
    assert (len(report.findings), report.omitted, report.sound) == (MOST_FINDINGS, 5, False)


async def test_heads_file_lines_that_are_damaged_or_forged_are_found(world):
    ledger, heads = world
    forged = replace(heads.heads[0], signature=bytes(64))
    report = await check(ledger.rows, file=HeadLines((forged, *heads.heads), (7,)))
    assert codes(report) == [Code.FILE_UNREADABLE, Code.FILE_SIGNATURE_WRONG, Code.FILE_HEAD_MISSING]


async def test_a_head_written_twice_to_the_file_is_no_finding(world):
    ledger, heads = world
    twice = HeadLines((*heads.heads, *heads.heads))
    assert (await check(ledger.rows, file=twice)).findings == ()


async def exported(world):
    out = io.StringIO()
    async with world[0].snapshot() as source:
        count = await write_export(source, out)
    assert count == len(out.getvalue().splitlines()) == 12
    return out.getvalue()


async def test_an_export_verifies_like_the_ledger(world):
    text = await exported(world)
    assert await check(ExportSource(lambda: io.StringIO(text))) == await check(world[0].rows)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text.removesuffix('{"end":true}\n'), "stops before its end"),
        (lambda text: text[:-40], "not JSON"),
        (lambda text: "", "stops before its end"),
        (lambda text: text.replace('{"chopmark-audit-export":1}', '{"chopmark-audit-export":2}'), "no audit export"),
        (lambda text: text + "{}\n", "after the end"),
        (lambda text: text.replace('{"leaf":', '{"leave":', 1), "neither a leaf"),
        (lambda text: text.replace('{"leaf":{', "{{{", 1), "not JSON"),
    ],
)
async def test_a_damaged_export_says_what_is_wrong(world, damage, why):
    text = damage(await exported(world))
    report = await check(ExportSource(lambda: io.StringIO(text)))
    assert not report.sound
    assert any(why in finding.sentence for finding in report.findings)


async def test_an_export_carries_what_a_tampered_row_holds_to_the_verifier(world):
    rows = world[0].rows
    rows.records[5] = replace(rows.records[5], at=None, facts=b"\x00", mac="zz")
    wrong: Any = None
    text: Any = "zz"
    rows.stored_heads[0] = StoredHead(2, wrong, text)
    out = io.StringIO()
    await write_export(rows, out)
    report = await check(ExportSource(lambda: io.StringIO(out.getvalue())))
    assert {Code.RECORD_MALFORMED, Code.HEAD_MALFORMED} <= set(codes(report))
