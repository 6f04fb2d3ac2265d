"""What the list of certificates that end counts: each condition of its one statement."""

from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import Channel, CustomerId
from chopmark.ra.expiries import Cursor, Ending
from chopmark.store.engine.columns import moment
from chopmark.store.repositories.ra.expiries import ExpiryRepository
from tests.contract.alone import Alone

BOTH = frozenset({Channel.MOBILE, Channel.EMAIL})


async def endings(
    alone: Alone, cursor: Cursor | None = None, most: int = 99, channels: frozenset[Channel] = BOTH
) -> list[Ending]:
    since = cursor or Cursor(alone.now)
    pages = ExpiryRepository(alone.engine)
    until, dead = alone.now + timedelta(days=30), alone.now - timedelta(days=60)
    return list((await pages.after(since, until, channels, dead, most)).rows)


async def one_of(alone: Alone, name: str = "S") -> Ending:
    (found,) = [one for one in await endings(alone) if one.id == name]
    return found


async def with_one(alone: Alone) -> int:
    """Give Ann a certificate of ours that ends in nine days; return that moment."""
    await alone.people("A", "B")
    await alone.runs(live="live", under_way="staging")
    ends = alone.ahead(days=9)
    await alone.ours("S", "A", ends)
    return ends


async def test_it_lists_what_is_or_was_in_use_and_ends_within_the_span_in_its_order(alone: Alone) -> None:
    ends = await with_one(alone)
    ours: dict[str, dict[str, Any]] = {
        "was": {"state": "superseded"}, "held": {"state": "held"}, "issued": {"state": "issued"},
        "over": {"not_after": alone.ago(seconds=1)}, "late": {"not_after": alone.ahead(days=30)},
        "sooner": {"not_after": ends - 1},
    }  # fmt: skip
    for name, row in ours.items():
        await alone.ours(name, **{"customer": "A", "not_after": ends, "profile": name, **row})
    theirs: dict[str, dict[str, Any]] = {
        "f": {}, "f_was": {"state": "superseded"}, "f_ended": {"state": "ended"}, "f_staged": {"run": "under_way"},
        "f_over": {"not_after": alone.ago(seconds=1)}, "f_late": {"not_after": alone.ahead(days=30)},
        "f_sooner": {"not_after": ends - 1},
    }  # fmt: skip
    for name, row in theirs.items():
        await alone.theirs(name, **{"customer": "A", "not_after": ends, **row})
    listed = [one.id for one in await endings(alone)]
    assert set(listed[:2]) == {"sooner", "f_sooner"}
    assert set(listed) == {"S", "was", "sooner", "f", "f_was", "f_sooner"}
    assert {one.id for one in await endings(alone) if one.in_use} == {"S", "sooner", "f", "f_sooner"}
    paged: list[str] = []
    cursor: Cursor | None = None
    while page := await endings(alone, cursor, most=2):
        assert len(page) <= 2
        paged += [one.id for one in page]
        cursor = Cursor(page[-1].not_after, page[-1].id)
    assert paged == listed


@pytest.mark.parametrize(
    ("other", "later"),
    [({}, True), ({"customer": "B"}, False), ({"state": "held"}, False), ({"state": "superseded"}, False)],
)
async def test_a_later_one_is_another_active_one_of_the_customer(
    alone: Alone, other: dict[str, Any], later: bool
) -> None:
    await with_one(alone)
    ends = alone.ahead(days=400)
    await alone.ours("T", **{"customer": "A", "not_after": ends, "profile": "another", **other})
    assert (await one_of(alone)).later_until == (moment(ends) if later else None)


@pytest.mark.parametrize(
    ("other", "later"),
    [({}, True), ({"customer": "B"}, False), ({"state": "held"}, False), ({"run": "under_way"}, False)],
)
async def test_a_later_imported_one_counts_as_well(alone: Alone, other: dict[str, Any], later: bool) -> None:
    await with_one(alone)
    ends = alone.ahead(days=400)
    await alone.theirs("F", **{"customer": "A", "not_after": ends, **other})
    assert (await one_of(alone)).later_until == (moment(ends) if later else None)
    near = alone.ahead(days=3)
    await alone.theirs("G", "B", near)
    assert (await one_of(alone, "G")).later_until == (moment(ends) if other.get("customer") else None)


@pytest.mark.parametrize(
    ("new", "old", "renewed"),
    [
        ({}, {}, True),
        ({"state": "active"}, {}, False),
        ({"customer": "B"}, {}, False),
        ({}, {"state": "superseded", "superseded_by": "T"}, True),
        ({}, {"state": "superseded", "superseded_by": "U"}, False),
    ],
)
async def test_it_is_renewed_while_its_new_one_waits_for_the_proof(
    alone: Alone, new: dict[str, Any], old: dict[str, Any], renewed: bool
) -> None:
    await with_one(alone)
    for column, value in old.items():
        await alone.change(f"UPDATE holdings SET {column} = :value", value=value)
    fresh = {"customer": "A", "not_after": alone.ahead(days=400), "state": "issued", "profile": "another", **new}
    await alone.ours("T", **fresh)
    assert (await one_of(alone)).renewed is renewed


@pytest.mark.parametrize("state", ["open", "bound", "coded", "checked", "submitted", "pending"])
async def test_an_order_that_goes_on_has_been_opened(alone: Alone, state: str) -> None:
    await with_one(alone)
    await alone.add("orders", id="O", customer="A", state=state)
    assert (await one_of(alone)).opened


@pytest.mark.parametrize("row", [{"state": "cancelled"}, {"customer": "B"}, {"operation": "revoke"}])
async def test_an_order_that_is_over_or_another_is_none(alone: Alone, row: dict[str, Any]) -> None:
    await with_one(alone)
    await alone.add("orders", **{"id": "O", "customer": "A", "state": "open", **row})
    assert not (await one_of(alone)).opened


DEAD = {"customer": "A", "channel": "mobile", "version": 1}


@pytest.mark.parametrize(
    ("contact", "dead", "contacts", "by"),
    [
        ({}, None, 1, None),
        ({"customer": "B"}, None, 0, None),
        ({"disputed_at": 1}, None, 0, None),
        ({}, {}, 0, "mobile"),
        ({}, {"customer": "B"}, 1, None),
        ({}, {"channel": "email"}, 1, None),
        ({}, {"version": 2}, 1, None),
        ({}, {"since": 0}, 1, None),  # it is tried again
        ({"disputed_at": 1}, {}, 0, None),
        ({"customer": "B"}, {"customer": "B"}, 0, None),
    ],
)
async def test_a_contact_is_one_that_nobody_disputes_and_that_no_gateway_calls_dead(
    alone: Alone, contact: dict[str, Any], dead: dict[str, Any] | None, contacts: int, by: str | None
) -> None:
    await with_one(alone)
    await alone.add("contacts", **{"customer": "A", "channel": "mobile", **contact})
    if dead is not None:
        await alone.add("unreachable_contacts", **{**DEAD, "since": alone.ago(days=1), **dead})
    found = await one_of(alone)
    assert (found.contacts, found.dead) == (contacts, by)
    (mail_only,) = [one for one in await endings(alone, channels=frozenset({Channel.EMAIL})) if one.id == "S"]
    assert mail_only.contacts == 0


@pytest.mark.parametrize(
    ("row", "dead", "sent"),
    [
        ({}, None, True),
        ({"state": "failed"}, None, False),
        ({"certificate": "T"}, None, False),
        ({}, {}, False),
        ({}, {"customer": "B"}, True),
        ({}, {"channel": "email"}, True),
        ({}, {"version": 2}, True),
        ({}, {"since": 0}, True),
    ],
)
async def test_a_reminder_was_sent_of_this_certificate_to_a_contact_that_lives(
    alone: Alone, row: dict[str, Any], dead: dict[str, Any] | None, sent: bool
) -> None:
    await with_one(alone)
    said = {"state": "sent", "certificate": "S", **row}
    told = said.pop("certificate")
    at = {"day": "2026-03-30", "earliest": "2026-03-30", "due_at": 0, "until": 0, "ended_at": 7}
    await alone.add("reminders", id="R", customer="A", channel="mobile", contact_version=1, **at, **said)
    await alone.add("reminded_certificates", certificate=told, step="3", reminder="R", at=0)
    if dead is not None:
        await alone.add("unreachable_contacts", **{**DEAD, "since": alone.ago(days=1), **dead})
    found = await one_of(alone)
    assert found.sent == sent
    assert (found.reminded_at is None) is (row != {})
    assert found.customer == CustomerId("A")
