"""Every condition under which a row of work is claimed, closed and put back: the row says otherwise in one thing."""

from typing import Any

import pytest

from chopmark.core.types import Channel
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.store.repositories.messaging.outbox import OutboxRepository, queue
from tests.contract.alone import Alone

MINUTE, HOUR = 60_000, 3_600_000
CODE, NOTICE = OutboxJobKind.CODE, OutboxJobKind.NOTICE


async def work(alone: Alone, name: str = "W", **said: Any) -> None:
    """Write a row that is due. Moments are told from now."""
    moments: dict[str, Any] = {
        key: alone.ago() + said.pop(key) for key in ("not_before", "leased_until") if key in said
    }
    row = {"kind": "code", "not_before": alone.ago(), "leased_until": alone.ago()}
    await alone.add("work", **{"id": name, **row, **said, **moments})


async def claimed(alone: Alone, most: int = 9) -> list[OutboxJob]:
    return await OutboxRepository(alone.engine).claim([CODE], most, "one", alone.now, 60)


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        ({}, True),
        ({"done_at": 1}, False),
        ({"kind": "notice"}, False),
        ({"not_before": MINUTE}, False),
        ({"not_before": 2 * HOUR}, True),  # by a machine whose clock was wrong
        ({"leased_until": MINUTE}, False),
        ({"leased_until": HOUR}, True),  # no lease is that long
    ],
)
async def test_a_row_is_claimed_when_it_is_due_and_nobody_has_it(
    alone: Alone, row: dict[str, Any], taken: bool
) -> None:
    await work(alone, **row)
    assert [one.id for one in await claimed(alone)] == ["W"] * taken
    (left,) = await alone.rows("SELECT attempts, holder, leased_until FROM work")
    assert (left["attempts"], left["holder"]) == ((1, "one") if taken else (0, None))
    assert await claimed(alone) == []


async def test_those_that_wait_longest_are_claimed_first_and_given_in_their_order(alone: Alone) -> None:
    for name, before in (("c", -1), ("a", -3), ("b", -2)):
        await work(alone, name, not_before=before)
    assert [one.id for one in await claimed(alone, most=2)] == ["a", "b"]
    assert [one.id for one in await claimed(alone, most=2)] == ["c"]


async def test_a_row_that_is_claimed_says_what_was_queued(alone: Alone) -> None:
    await alone.people("A")
    row = {"customer": "A", "order_id": "O", "challenge": "X", "channel": "email", "contact_version": 3}
    await work(alone, "full", **row, expires_at=alone.ahead(minutes=5), facts='{"a": 1}')
    await work(alone, "bare")
    bare, full = sorted(await claimed(alone), key=lambda one: one.id)
    assert (full.customer, full.order, full.challenge, full.channel) == ("A", "O", "X", Channel.EMAIL)
    assert (full.contact_version, dict(full.facts), full.attempts) == (3, {"a": 1}, 1)
    assert full.expires_at is not None
    assert (bare.customer, bare.order, bare.challenge, bare.channel, bare.expires_at) == (None,) * 5
    await alone.change("DELETE FROM work")
    await alone.engine.run(queue, (bare, full))
    assert [(one.id, one.customer, one.channel) for one in await claimed(alone)] == [
        (one.id, one.customer, one.channel) for one in sorted((bare, full), key=lambda one: one.not_before)
    ]


HELD: list[dict[str, Any]] = [{}, {"holder": "two"}, {"done_at": 1}, {"leased_until": 0}]
"""As it is held, and otherwise."""


async def held(alone: Alone, row: dict[str, Any]) -> OutboxJob:
    """Claim a row and another, and let the first say something else meanwhile."""
    for name in ("W", "other"):
        await work(alone, name)
    found = {one.id: one for one in await claimed(alone)}
    for column, value in row.items():
        await alone.change(f"UPDATE work SET {column} = :value WHERE id = 'W'", value=value)
    return found["W"]


@pytest.mark.parametrize("row", HELD)
async def test_a_row_is_closed_by_whoever_holds_it(alone: Alone, row: dict[str, Any]) -> None:
    mine = await held(alone, row)
    works = OutboxRepository(alone.engine)
    assert await works.done(mine, "one", alone.now, "void", None) is (row == {})
    outcome = await alone.values("work", "id", "outcome")
    assert outcome == {"W": "void" if row == {} else None, "other": None}


@pytest.mark.parametrize("row", HELD)
async def test_many_rows_are_closed_by_whoever_holds_them(alone: Alone, row: dict[str, Any]) -> None:
    mine = await held(alone, row)
    assert await OutboxRepository(alone.engine).done_all([mine], "one", alone.now, "void") == (row == {})
    assert (await alone.values("work", "id", "outcome"))["other"] is None


@pytest.mark.parametrize("row", HELD[:3])
async def test_a_row_is_put_back_by_whoever_holds_it_and_is_free_then(alone: Alone, row: dict[str, Any]) -> None:
    mine = await held(alone, row)
    at = alone.now.replace(hour=alone.now.hour + 1)
    assert await OutboxRepository(alone.engine).retry(mine, "one", at, "busy") is (row == {})
    rows = {each["id"]: each for each in await alone.rows("SELECT id, holder, leased_until, not_before FROM work")}
    if row == {}:
        assert rows["W"] == {"id": "W", "holder": None, "leased_until": 0, "not_before": alone.ahead(hours=1)}
    else:
        assert rows["W"]["not_before"] == alone.ago()
    assert rows["other"]["holder"] == "one"


async def test_a_code_was_sent_once_and_a_notice_marks_no_challenge(alone: Alone) -> None:
    await alone.people("A")
    await alone.add("orders", id="O", customer="A", state="bound")
    row = {
        "order_id": "O", "customer": "A", "channel": "mobile", "contact_version": 1, "nonce": b"", "kid": "k",
        "operation": "enrol", "spki": "s", "digits": 6, "reference": "r", "attempts": 0, "max_attempts": 5,
        "created_at": 0, "expires_at": 0, "resend_at": 0, "state": "expired",
    }  # fmt: skip
    for name, sent in (("X", None), ("Y", None), ("Z", 7)):
        await alone.add("challenges", id=name, sent_at=sent, **row)
    works = OutboxRepository(alone.engine)
    for name, kind, outcome in (("X", "code", "sent"), ("Y", "notice", "sent"), ("Z", "code", "sent")):
        await work(alone, name, kind=kind, challenge=name)
        (mine,) = await works.claim([CODE, NOTICE], 1, "one", alone.now, 60)
        assert await works.done(mine, "one", alone.now, outcome, None)
    assert await alone.values("challenges", "id", "sent_at") == {"X": alone.ago(), "Y": None, "Z": 7}


@pytest.mark.parametrize("kind", [CODE, OutboxJobKind.REVOKE])
async def test_whoever_waits_for_work_is_woken_when_it_is_queued(alone: Alone, kind: OutboxJobKind) -> None:
    works = OutboxRepository(alone.engine)
    waits = works.wait if kind is CODE else works.wait_for_endings
    while await waits(0):
        pass  # who waits for the first time looks at once
    await alone.engine.run(queue, (OutboxJob("W", kind, None, None, None, None, None, {}, 0, alone.now, None),))
    assert await waits(5)
