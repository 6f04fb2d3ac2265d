"""What somebody with write access to the database, and no key, can do to the audit rows.

Each function changes `Rows` in place, drawing from a `Random`; TAMPERINGS names them all. They know
only rows, so that the same list serves a database: read its rows, tamper, write them back.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from chopmark.audit.events import Event
from chopmark.audit.head import FIRST_HEAD, HeadDraft, decode_head, encode_head, head_hash
from chopmark.audit.ports import StoredHead
from chopmark.audit.record import GENESIS, AuditKey, StoredRecord, StreamId, Tip, make_record, new_stream, parse_stamp
from chopmark.audit.tree import Frontier
from tests.unit.audit.ledger import KeySigner, Rows

FOREIGN = AuditKey("a1", b"\x07" * 32)
"""A key of the right name that the insider made up."""


def flipped(octets: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(octets))
    return octets[:at] + bytes([octets[at] ^ (1 << rng.randrange(8))]) + octets[at + 1 :]


def edit(rows: Rows, rng: Random, **columns: Callable[[StoredRecord], object]) -> int:
    at = rng.randrange(len(rows.records))
    record = rows.records[at]
    changes: dict[str, Any] = {name: change(record) for name, change in columns.items()}
    rows.records[at] = replace(record, **changes)
    return at


def edit_facts(rows: Rows, rng: Random) -> None:
    edit(rows, rng, facts=lambda record: '{"count":7777}')


def break_facts(rows: Rows, rng: Random) -> None:
    edit(rows, rng, facts=lambda record: rng.choice(["", "{", record.facts + " ", '{"count": 1}', "[]"]))


def edit_time(rows: Rows, rng: Random) -> None:
    edit(rows, rng, at=lambda record: record.at[:-2] + ("1Z" if record.at[-2] != "1" else "2Z"))


def edit_event(rows: Rows, rng: Random) -> None:
    edit(rows, rng, event=lambda record: rng.choice([event.value for event in Event if event != record.event]))


def edit_mac(rows: Rows, rng: Random) -> None:
    edit(rows, rng, mac=lambda record: flipped(record.mac, rng))


def edit_previous(rows: Rows, rng: Random) -> None:
    edit(rows, rng, previous=lambda record: flipped(record.previous, rng))


def edit_kid(rows: Rows, rng: Random) -> None:
    edit(rows, rng, kid=lambda record: "a0")


def edit_version(rows: Rows, rng: Random) -> None:
    edit(rows, rng, version=lambda record: record.version + 100)


def move_to_another_chain(rows: Rows, rng: Random) -> None:
    edit(rows, rng, stream=lambda record: "ORDERX")


def edit_the_newest_of_a_chain_and_its_row(rows: Rows, rng: Random) -> None:
    newest = {record.stream: at for at, record in enumerate(rows.records)}
    at = rng.choice(list(newest.values()))
    record = replace(rows.records[at], facts='{"count":7777}')
    rows.records[at] = record
    set_tip(rows, Tip(StreamId(record.stream), record.version, record.leaf_hash()))


def delete_one(rows: Rows, rng: Random) -> None:
    del rows.records[rng.randrange(len(rows.records))]


def delete_a_sequenced_one_and_close_the_gap(rows: Rows, rng: Random) -> None:
    victim = rng.choice([record for record in rows.records if record.index is not None])
    rows.records = [
        replace(record, index=record.index - 1)
        if record.index is not None and record.index > (victim.index or 0)
        else record
        for record in rows.records
        if record is not victim
    ]


def delete_an_unsequenced_one(rows: Rows, rng: Random) -> None:
    rows.records.remove(rng.choice([record for record in rows.records if record.index is None]))


def delete_a_whole_chain(rows: Rows, rng: Random) -> None:
    stream = rng.choice([record.stream for record in rows.records if record.index is not None])
    rows.records = [record for record in rows.records if record.stream != stream]
    rows.tips = [tip for tip in rows.tips if tip.stream != stream]


def exchange_places(rows: Rows, rng: Random) -> None:
    one, two = rng.sample([at for at, record in enumerate(rows.records) if record.index is not None], 2)
    first, second = rows.records[one], rows.records[two]
    rows.records[one], rows.records[two] = replace(first, index=second.index), replace(second, index=first.index)


def exchange_unsequenced_versions(rows: Rows, rng: Random) -> None:
    waiting = [at for at, record in enumerate(rows.records) if record.index is None]
    pairs = [(a, b) for a in waiting for b in waiting if a < b and rows.records[a].stream == rows.records[b].stream]
    one, two = rng.choice(pairs)
    first, second = rows.records[one], rows.records[two]
    rows.records[one] = replace(second, version=first.version, previous=first.previous)
    rows.records[two] = replace(first, version=second.version, previous=second.previous)


def take_a_place_away(rows: Rows, rng: Random) -> None:
    at = rng.choice([at for at, record in enumerate(rows.records) if record.index is not None])
    rows.records[at] = replace(rows.records[at], index=None)


def invent_one(rows: Rows, rng: Random) -> None:
    tip = rng.choice([*rows.tips, new_stream(StreamId("ORDERX"))])
    at = parse_stamp(rows.records[-1].at)
    record = make_record(tip, rng.choice(list(Event)), {}, at, FOREIGN).stored()
    rows.records.append(record)
    set_tip(rows, Tip(tip.stream, record.version, record.leaf_hash()))


def invent_a_place(rows: Rows, rng: Random) -> None:
    size = max(head.size for head in rows.stored_heads)
    invent_one(rows, rng)
    rows.records[-1] = replace(rows.records[-1], index=rng.randrange(size + 1))


def repeat_one(rows: Rows, rng: Random) -> None:
    rows.records.append(replace(rng.choice(rows.records), index=None))


def cut_the_end(rows: Rows, rng: Random) -> None:
    """Cut the last leaves of the tree, with chain rows that fit what is left."""
    size = max(head.size for head in rows.stored_heads)
    left = rng.randrange(size)
    rows.records = [record for record in rows.records if record.index is not None and record.index < left]
    fit_tips(rows)


def cut_rows_and_heads_together(rows: Rows, rng: Random) -> None:
    """Go back to how everything looked at an earlier head, as an old copy of the database does."""
    sizes = sorted(head.size for head in rows.stored_heads)
    left = rng.choice([0, *sizes[:-1]])
    rows.records = [record for record in rows.records if record.index is not None and record.index < left]
    rows.stored_heads = [head for head in rows.stored_heads if head.size <= left]
    fit_tips(rows)


def rewrite_everything_with_own_keys(rows: Rows, rng: Random) -> None:
    """Edit one record and make every later chain link, tree, head and chain row agree with it."""
    victim = rng.randrange(len(rows.records))
    tips: dict[str, bytes] = {}
    for at, record in enumerate(rows.records):
        facts = '{"count":7777}' if at == victim else record.facts
        changed = replace(record, previous=tips.get(record.stream, GENESIS), facts=facts)
        if changed != record:
            changed = replace(changed, mac=FOREIGN.mac(changed.canonical()))
        rows.records[at] = changed
        tips[record.stream] = changed.leaf_hash()
    fit_tips(rows)
    resign(rows, KeySigner())


def resign(rows: Rows, signer: KeySigner) -> None:
    """Make heads of the same sizes anew over the rows as they are."""
    old = sorted(rows.stored_heads, key=lambda head: head.size)
    hashes = [record.leaf_hash() for record in sorted_leaves(rows)]
    rows.stored_heads, frontier, previous = [], Frontier(), FIRST_HEAD
    for stored in old:
        draft = decode_head(stored.line).draft
        for leaf_hash in hashes[frontier.size : stored.size]:
            frontier = frontier.append(leaf_hash)
        draft = HeadDraft(stored.size, frontier.root(), draft.at, previous, draft.fencing)
        head = draft.signed(signer.sign(draft.message()))
        previous = head_hash(head)
        rows.stored_heads.append(StoredHead(stored.size, encode_head(head), frontier.to_bytes()))


def delete_a_head(rows: Rows, rng: Random) -> None:
    del rows.stored_heads[rng.randrange(len(rows.stored_heads))]


def delete_all_heads(rows: Rows, rng: Random) -> None:
    rows.stored_heads.clear()


def edit_a_head(rows: Rows, rng: Random) -> None:
    at = rng.randrange(len(rows.stored_heads))
    stored = rows.stored_heads[at]
    place = rng.randrange(len(stored.line))
    other = rng.choice([character for character in "0123456789abcdef" if character != stored.line[place]])
    rows.stored_heads[at] = replace(stored, line=stored.line[:place] + other + stored.line[place + 1 :])


def file_a_head_elsewhere(rows: Rows, rng: Random) -> None:
    at = rng.randrange(len(rows.stored_heads))
    rows.stored_heads[at] = replace(rows.stored_heads[at], size=rows.stored_heads[at].size + 1000)


def edit_a_frontier(rows: Rows, rng: Random) -> None:
    at = rng.randrange(len(rows.stored_heads))
    stored = rows.stored_heads[at]
    rows.stored_heads[at] = replace(stored, frontier=flipped(stored.frontier or b"?", rng))


def delete_a_chain_row(rows: Rows, rng: Random) -> None:
    del rows.tips[rng.randrange(len(rows.tips))]


def edit_a_chain_row(rows: Rows, rng: Random) -> None:
    tip = rng.choice(rows.tips)
    step = rng.choice([-1, 1])
    edited = rng.choice([replace(tip, version=tip.version + step), replace(tip, leaf_hash=flipped(tip.leaf_hash, rng))])
    set_tip(rows, edited)


def invent_a_chain_row(rows: Rows, rng: Random) -> None:
    rows.tips.append(Tip(StreamId("ORDERX"), 1, bytes(32)))


def exchange_chain_rows(rows: Rows, rng: Random) -> None:
    one, two = rng.sample(rows.tips, 2)
    set_tip(rows, replace(one, stream=two.stream))
    set_tip(rows, replace(two, stream=one.stream))


def sorted_leaves(rows: Rows) -> list[StoredRecord]:
    return sorted((record for record in rows.records if record.index is not None), key=lambda record: record.index or 0)


def set_tip(rows: Rows, tip: Tip) -> None:
    rows.tips = [tip if old.stream == tip.stream else old for old in rows.tips]
    if tip not in rows.tips:
        rows.tips.append(tip)


def fit_tips(rows: Rows) -> None:
    newest = {record.stream: record for record in rows.records}
    rows.tips = [Tip(StreamId(stream), record.version, record.leaf_hash()) for stream, record in newest.items()]


TAMPERINGS: tuple[Callable[[Rows, Random], None], ...] = (
    edit_facts,
    break_facts,
    edit_time,
    edit_event,
    edit_mac,
    edit_previous,
    edit_kid,
    edit_version,
    move_to_another_chain,
    edit_the_newest_of_a_chain_and_its_row,
    delete_one,
    delete_a_sequenced_one_and_close_the_gap,
    delete_an_unsequenced_one,
    delete_a_whole_chain,
    exchange_places,
    exchange_unsequenced_versions,
    take_a_place_away,
    invent_one,
    invent_a_place,
    repeat_one,
    cut_the_end,
    cut_rows_and_heads_together,
    rewrite_everything_with_own_keys,
    delete_a_head,
    delete_all_heads,
    edit_a_head,
    file_a_head_elsewhere,
    edit_a_frontier,
    delete_a_chain_row,
    edit_a_chain_row,
    invent_a_chain_row,
    exchange_chain_rows,
)
