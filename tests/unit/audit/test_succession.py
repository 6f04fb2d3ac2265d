"""After a restore: the successor, the two trees that the verifier knows then, and every cut that stays an error."""

import io
from dataclasses import replace
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.export import ExportSource, write_export
from chopmark.audit.findings import Code, Level, Report
from chopmark.audit.head import FIRST_HEAD, Head, Lost, decode_head, encode_head, head_hash, verify_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.losscheck import RESTORED_STREAM
from chopmark.audit.ports import StoredHead
from chopmark.audit.record import AuditKeys
from chopmark.audit.report import lines
from chopmark.audit.sequencer import TreeBehind, TreeBroken
from chopmark.audit.standing import Behind
from chopmark.audit.succession import Overtaken, stand
from chopmark.audit.verify import verify
from tests.unit.audit.ledger import START, KeySigner, MemoryTree, Rows
from tests.unit.audit.restores import KEY, ORDER, Restorable, once_restored


def codes(report: Report) -> list[Code]:
    return [finding.code for finding in report.findings]


def errors(report: Report) -> set[Code]:
    return {finding.code for finding in report.findings if finding.level is Level.ERROR}


# the successor ----------------------------------------------------------------------------------------------------


async def test_the_successor_continues_the_ledger_and_names_the_tree_that_is_lost() -> None:
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(3)
    kept, lost = world.heads.heads
    made = await world.restored(copy)
    assert verify_head(made, [world.signer.public_key])
    assert made.draft.lost == Lost(head_hash(kept), lost.root, 5)
    assert made.draft.previous == head_hash(lost)
    assert (made.size, made.draft.fencing > lost.draft.fencing) == (3, True)
    assert world.heads.heads == [kept, lost, made]
    assert decode_head(encode_head(made)) == made
    await world.batch(1)
    assert world.heads.heads[-1].draft.previous == head_hash(made)


async def test_the_successor_is_over_all_that_waits_however_much_that_is() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(1)
    world.restore(copy)
    world.write(1200)
    await world.tell()
    made = await world.succeed()
    assert made is not None
    assert made.size == 1 + 1200 + 1
    assert [record for record in world.rows.records if record.index is None] == []


async def test_a_database_that_has_no_head_at_all_has_a_base_of_zeros() -> None:
    world = Restorable()
    empty = world.rows.copy()
    await world.batch(3)
    made = await world.restored(empty)
    assert made.draft.lost is not None
    assert (made.draft.lost.base, made.size) == (FIRST_HEAD, 1)
    await world.batch(1)
    assert errors(await world.verify()) == set()


async def test_a_whole_ledger_gets_no_successor() -> None:
    world = Restorable()
    assert await world.succeed() is None
    await world.batch(2)
    world.write()
    assert await world.succeed() is None
    assert len(world.heads.heads) == 1


async def test_nothing_is_signed_before_the_record_of_the_restore_waits() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(1)
    world.restore(copy)
    with pytest.raises(TreeBroken, match="no record of the restore"):
        await world.succeed()


async def test_a_heads_file_whose_last_head_is_not_ours_is_not_succeeded() -> None:
    world = Restorable()
    await world.batch(1)
    world.heads.heads.append(replace(world.heads.heads[0], draft=replace(world.heads.heads[0].draft, size=9)))
    with pytest.raises(TreeBroken, match="heads file was not signed"):
        await world.succeed()


async def test_between_commit_and_append_a_crash_costs_nothing_and_a_second_call_goes_on() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(2)
    world.restore(copy)
    await world.tell()
    world.heads.full = True
    with pytest.raises(OSError, match="no space"):
        await world.succeed()
    assert [decode_head(head.line).draft.lost is None for head in world.rows.stored_heads] == [True, False]
    assert not isinstance((await stand(world.ledger, world.files)).standing, Behind)
    assert errors(await world.verify()) == set()
    world.heads.full = False
    made = await world.succeed()
    assert world.heads.heads[-1] == made == decode_head(world.rows.stored_heads[-1].line)
    assert await world.succeed() is None
    assert len(world.rows.stored_heads) == 2
    assert errors(await world.verify()) == set()


async def test_the_sequencer_brings_a_successor_to_the_file_too() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(2)
    world.restore(copy)
    await world.tell()
    world.heads.full = True
    with pytest.raises(OSError, match="no space"):
        await world.succeed()
    world.heads.full = False
    await world.batch(1)
    assert [head.size for head in world.heads.heads] == [1, 3, 2, 3]
    assert errors(await world.verify()) == set()


async def test_while_the_ledger_is_behind_the_sequencer_refuses_and_afterwards_it_goes_on() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(2)
    world.restore(copy)
    world.write()
    with pytest.raises(TreeBehind):
        await world.sequence()
    await world.tell()
    await world.succeed()
    assert await world.sequence() == 0
    await world.batch(2)


async def test_whoever_sequences_meanwhile_loses_to_the_fencing_number() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(2)
    world.restore(copy)
    await world.tell()

    class Raced(MemoryTree):
        """Another console seizes the lease between signing and writing."""

        async def sequence(self, batch, lease):
            await self.seize("other", 0, START, START - START)
            return await super().sequence(batch, lease)

    itself: Any = world.ledger
    itself.__class__ = Raced
    with pytest.raises(Overtaken):
        await world.succeed()
    itself.__class__ = MemoryTree
    assert len(world.heads.heads) == 2
    assert await world.succeed() is not None


# the verifier knows both trees --------------------------------------------------------------------------------------


async def test_after_a_restore_the_records_hold_and_the_loss_is_said() -> None:
    world = await once_restored()
    report = await world.verify()
    assert [(finding.code, finding.level) for finding in report.findings] == [(Code.RECORDS_LOST, Level.NOTICE)]
    (notice,) = report.findings
    assert notice.place == "head of size 7"
    assert notice.sentence == (
        "4 records were lost with the restore of 2026-03-02T01:00:15.000Z: the tree had 9, and 5 of them were kept. "
        "By S1: the disk died"
    )
    assert report.sound
    assert "But for those that the restores above have lost, they are complete." in lines(report)[-1]
    assert lines(report)[0].startswith("notice records-lost at head of size 7: 4 records were lost")


async def test_the_database_alone_and_its_export_say_the_same() -> None:
    world = await once_restored()
    alone = await world.verify(alone=True)
    assert alone.findings == (await world.verify()).findings
    out = io.StringIO()
    await write_export(world.rows, out)
    keys, public = AuditKeys([KEY]), [world.signer.public_key]
    source = ExportSource(lambda: io.StringIO(out.getvalue()))
    assert await verify(source, keys, public, None, world.now) == alone
    assert await verify(source, keys, public, world.heads.lines(), world.now) == await world.verify()
    without = await verify(source, None, public, world.heads.lines(), world.now)
    assert codes(without) == [Code.RECORDS_LOST]


async def test_a_record_that_waited_for_the_successor_is_not_late_and_one_of_the_next_head_is() -> None:
    world = Restorable()
    await world.batch(1)
    copy = world.rows.copy()
    await world.batch(1)
    world.restore(copy)
    world.write()
    world.seconds += 4000
    await world.tell()
    await world.succeed()
    assert codes(await world.verify()) == [Code.RECORDS_LOST]
    world.write()
    world.seconds += 4000
    await world.sequence()
    assert codes(await world.verify()) == [Code.RECORDS_LOST, Code.PLACED_LATE]


async def test_two_restores_one_after_the_other_are_two_notices() -> None:
    world = await once_restored()
    copy = world.rows.copy()
    await world.batch(3)
    await world.restored(copy)
    await world.batch(1)
    assert codes(await world.verify()) == [Code.RECORDS_LOST] * 2


async def test_the_same_old_copy_restored_twice_loses_the_first_successor_too() -> None:
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(3)
    first = await world.restored(copy)
    await world.batch(4)
    second = await world.restored(copy)
    assert second.draft.previous == head_hash(world.heads.heads[-2])
    assert encode_head(first) not in [head.line for head in world.rows.stored_heads]
    await world.batch(1)
    report = await world.verify()
    assert codes(report) == [Code.RECORDS_LOST]
    assert "the tree had 7, and 2 of them were kept" in report.findings[0].sentence


async def test_a_standby_that_went_on_by_itself_is_succeeded_from_its_own_head() -> None:
    """It grew beyond the lost tree before anybody saw, with a heads file of its own."""
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(1)
    before, world.heads.heads = world.heads.heads, world.heads.heads[:1]
    world.restore(copy)
    await world.batch(4)
    world.heads.heads = before
    await world.tell()
    made = await world.succeed()
    assert made is not None
    assert made.draft.lost is not None
    assert (made.draft.lost.size, made.size) == (3, 7)
    await world.batch(1)
    report = await world.verify()
    assert codes(report) == [Code.RECORDS_LOST]
    assert "1 record was lost" in report.findings[0].sentence
    assert "the tree had 3, and 2 of them were kept" in report.findings[0].sentence


async def test_an_older_copy_of_the_heads_file_that_ends_before_the_loss_verifies() -> None:
    world = await once_restored()
    assert errors(await world.verify(HeadLines(tuple(world.heads.heads[:2])))) == set()


async def test_a_copy_that_ends_within_the_lost_tree_shows_a_cut_until_the_rest_of_the_file_is_there() -> None:
    world = await once_restored()
    heads = world.heads.heads
    assert errors(await world.verify(HeadLines(tuple(heads[:3])))) == {Code.FILE_HEAD_MISSING, Code.FILE_ROOT_WRONG}
    assert errors(await world.verify(HeadLines((*heads[:3], *heads)))) == set()


# every other cut stays an error -------------------------------------------------------------------------------------


async def test_what_a_restore_cut_is_an_error_until_it_is_declared() -> None:
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(3)
    world.restore(copy)
    assert errors(await world.verify()) == {Code.FILE_AHEAD, Code.FILE_HEAD_MISSING}


async def test_a_second_cut_behind_the_successor_is_an_error() -> None:
    world = await once_restored()
    later = world.rows.copy()
    await world.batch(2)
    world.restore(later)
    assert errors(await world.verify()) == {Code.FILE_AHEAD, Code.FILE_HEAD_MISSING}


async def test_the_kept_tree_may_not_be_rewritten_under_cover_of_the_loss() -> None:
    world = await once_restored()
    world.rows.records[0] = replace(world.rows.records[0], facts='{"count":7}')
    assert Code.ROOT_WRONG in errors(await world.verify())
    assert Code.FILE_ROOT_WRONG in errors(await world.verify())


async def test_a_successor_that_somebody_else_signed_is_an_error() -> None:
    world = await once_restored()
    world.resigned(2, KeySigner())
    assert {Code.HEAD_SIGNATURE_WRONG, Code.FILE_SIGNATURE_WRONG} <= errors(await world.verify())
    assert Code.HEAD_SIGNATURE_WRONG in errors(await world.verify(alone=True))


async def test_an_unsigned_successor_is_an_error() -> None:
    world = await once_restored()
    stored = world.rows.stored_heads[2]
    unsigned = encode_head(replace(decode_head(stored.line), signature=b""))
    world.rows.stored_heads[2] = StoredHead(stored.size, unsigned, stored.frontier)
    assert Code.HEAD_SIGNATURE_WRONG in errors(await world.verify(alone=True))
    assert Code.FILE_HEAD_MISSING in errors(await world.verify())


def lost_of(world: Restorable) -> Lost:
    lost = decode_head(world.rows.stored_heads[2].line).draft.lost
    assert lost is not None
    return lost


async def test_a_successor_whose_base_is_not_the_ledgers_head_is_an_error() -> None:
    world = await once_restored()
    world.resigned(2, lost=replace(lost_of(world), base=head_hash(world.heads.heads[0])))
    for report in (await world.verify(), await world.verify(alone=True)):
        assert (Code.HEAD_LINK_WRONG, "head of size 7") in [(found.code, found.place) for found in report.findings]


@pytest.mark.parametrize("change", [{"size": 12}, {"root": bytes(32)}])
async def test_a_successor_that_says_other_things_of_the_lost_tree_is_an_error(change: dict[str, Any]) -> None:
    world = await once_restored()
    world.resigned(2, lost=replace(lost_of(world), **change))
    assert Code.SUCCESSOR_WRONG in errors(await world.verify())


async def test_a_successor_that_gives_up_what_is_not_lost_is_an_error() -> None:
    world = await once_restored()
    kept = world.heads.heads[1]
    world.resigned(2, previous=head_hash(kept), lost=Lost(head_hash(kept), kept.root, kept.size))
    assert Code.SUCCESSOR_WRONG in errors(await world.verify())
    assert Code.SUCCESSOR_WRONG in errors(await world.verify(alone=True))


async def test_nor_may_it_give_up_an_older_head_that_the_ledger_holds() -> None:
    world = await once_restored()
    first, kept = world.heads.heads[:2]
    world.resigned(2, previous=head_hash(first), lost=Lost(head_hash(kept), first.root, first.size))
    told = [found.sentence for found in (await world.verify()).findings if found.code is Code.SUCCESSOR_WRONG]
    assert told == ["The tree that this successor gives up is not lost."]


async def test_two_successors_that_give_up_the_same_tree_are_an_error() -> None:
    world = await once_restored()
    lost = world.heads.heads[3]
    kept = decode_head(world.rows.stored_heads[2].line)
    second = Lost(head_hash(kept), lost.root, lost.size)
    world.resigned(3, previous=head_hash(lost), lost=second)
    assert Code.SUCCESSOR_REPEATED in errors(await world.verify())
    assert Code.SUCCESSOR_REPEATED in errors(await world.verify(alone=True))


async def test_of_two_successors_in_the_file_the_one_that_the_ledger_lacks_is_missing() -> None:
    world = await once_restored()
    made = decode_head(world.rows.stored_heads[2].line)
    other = replace(made.draft, at=START).signed(world.signer.sign(replace(made.draft, at=START).message()))
    at = world.heads.heads.index(made)
    heads: list[Head] = [*world.heads.heads[:at], other, *world.heads.heads[at:]]
    assert errors(await world.verify(HeadLines(tuple(heads)))) == {Code.FILE_HEAD_MISSING}


async def test_a_successor_without_its_record_is_an_error() -> None:
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(3)
    world.restore(copy)
    world.write()
    await world.succeed()
    assert errors(await world.verify()) == {Code.SUCCESSOR_UNTOLD}
    assert errors(await world.verify(alone=True)) == {Code.SUCCESSOR_UNTOLD}


@pytest.mark.parametrize("told", [{"kept": 1, "lost": 5}, {"kept": 2, "lost": 4}, {}])
async def test_a_record_of_another_restore_does_not_stand_for_it(told: dict[str, int]) -> None:
    world = Restorable()
    await world.batch(2)
    copy = world.rows.copy()
    await world.batch(3)
    world.restore(copy)
    world.ledger.append(RESTORED_STREAM, Event.AUDIT_LEDGER_RESTORED, world.now, **told)
    await world.succeed()
    assert errors(await world.verify()) == {Code.SUCCESSOR_UNTOLD}


async def test_a_record_on_another_chain_or_under_an_earlier_head_does_not_stand_for_it() -> None:
    world = Restorable()
    await world.batch(1)
    told = {"kept": 2, "lost": 5}
    world.ledger.append(RESTORED_STREAM, Event.AUDIT_LEDGER_RESTORED, world.now, **told)
    await world.sequence()
    copy = world.rows.copy()
    await world.batch(3)
    world.restore(copy)
    world.ledger.append(ORDER, Event.AUDIT_LEDGER_RESTORED, world.now, **told)
    await world.succeed()
    assert errors(await world.verify()) == {Code.SUCCESSOR_UNTOLD}


async def test_a_heads_file_from_which_the_lost_tree_was_cut_is_an_error() -> None:
    world = await once_restored()
    cut = [head for head in world.heads.heads if encode_head(head) in held(world.rows)]
    assert errors(await world.verify(HeadLines(tuple(cut)))) == {Code.SUCCESSOR_WRONG}


@pytest.mark.parametrize(
    ("gone", "found"), [(2, {Code.SUCCESSOR_WRONG}), (3, {Code.SUCCESSOR_WRONG, Code.FILE_HEAD_MISSING})]
)
async def test_a_gap_in_the_lost_tree_is_an_error(gone: int, found: set[Code]) -> None:
    world = await once_restored()
    heads = world.heads.heads
    assert errors(await world.verify(HeadLines((*heads[:gone], *heads[gone + 1 :])))) >= found


async def test_a_copy_that_begins_in_the_middle_of_the_file_still_leads_back_to_the_ledger() -> None:
    world = await once_restored()
    assert errors(await world.verify(HeadLines(tuple(world.heads.heads[2:])))) == set()


def held(rows: Rows) -> set[str]:
    return {stored.line for stored in rows.stored_heads}
