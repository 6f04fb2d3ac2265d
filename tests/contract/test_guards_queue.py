"""Every condition under which a due reminder is claimed, closed and counted: the row says otherwise in one thing."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from chopmark.core.types import Channel, CustomerId
from chopmark.messaging.ports import FaultReason
from chopmark.ra.reminders.policy import Step
from chopmark.ra.reminders.ports import Outcome, Reminder, ReminderState
from chopmark.store.repositories.reminders.queue import ReminderQueueRepository
from tests.contract.alone import Alone

A = CustomerId("A")
TODAY, URGENT = date(2026, 3, 31), Step(3)
SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
FOR_EVER = datetime(2099, 1, 1, tzinfo=UTC)
EARLY = {"step": "7", "urgency": Step(7).urgency}


async def reminder(alone: Alone, name: str = "R", customer: str = "A", /, **said: Any) -> None:
    """Write a reminder that is due, of a certificate that lives. Moments are told from now."""
    times = {"due_at": -HOUR, "until": DAY, **{key: said.pop(key) for key in tuple(said) if key in _MOMENTS}}
    row = {"day": "2026-03-31", "earliest": "2026-03-31", "urgency": URGENT.urgency, "step": "3", **said}
    if not await alone.rows("SELECT id FROM customers WHERE id = :id", id=customer):
        await alone.people(customer)
    await alone.add("reminders", id=name, customer=customer, **row, **{k: alone.ago() + v for k, v in times.items()})
    await alone.ours(f"S-{name}", customer, alone.ahead(days=9), profile=name)
    await alone.add("reminded_certificates", certificate=f"S-{name}", step=row["step"], reminder=name, at=0)


_MOMENTS = {"due_at", "until", "retry_at", "leased_until", "begun_at"}


async def claimed(alone: Alone, most: int = 9, per_minute: int = 99, holder: str = "one") -> list[str]:
    queue = ReminderQueueRepository(alone.engine)
    found = await queue.claim(holder, alone.now, TODAY, URGENT, most=most, per_minute=per_minute)
    return [one.id for one in found]


async def swept(alone: Alone, most: int = 9) -> dict[str, Any]:
    """Sweep, and return what each row says now."""
    await ReminderQueueRepository(alone.engine).sweep(alone.now, TODAY, URGENT, most)
    rows = await alone.rows("SELECT id, state, why FROM reminders")
    return {row["id"]: row["state"] if row["why"] is None else f"{row['state']} {row['why']}" for row in rows}


DUE = [
    ({}, True),
    ({"state": "sent"}, False),
    ({"due_at": SECOND}, False),
    ({"retry_at": 60 * SECOND}, False),
    ({"retry_at": 2 * HOUR}, True),  # by a machine whose clock was wrong
    ({"leased_until": 30 * SECOND}, False),
    ({"leased_until": HOUR}, True),  # no lease is that long
]


@pytest.mark.parametrize(("row", "taken"), DUE)
async def test_a_reminder_is_claimed_when_it_is_due_and_nobody_has_it(
    alone: Alone, row: dict[str, Any], taken: bool
) -> None:
    await reminder(alone, **row)
    assert await claimed(alone) == ["R"] * taken
    (left,) = await alone.rows("SELECT attempts, holder FROM reminders")
    assert left == {"attempts": int(taken), "holder": "one" if taken else None}


@pytest.mark.parametrize(("row", "closed"), DUE)
async def test_only_what_is_due_and_nobody_has_is_swept(alone: Alone, row: dict[str, Any], closed: bool) -> None:
    await reminder(alone, **row)
    await alone.change("UPDATE holdings SET state = 'revoked'")
    assert await swept(alone) == {"R": "stopped" if closed else row.get("state", "planned")}


async def test_one_that_somebody_held_who_is_gone_may_have_been_sent(alone: Alone) -> None:
    await reminder(alone, "held", "A", holder="gone")
    await reminder(alone, "free", "B")
    await alone.change("UPDATE holdings SET state = 'revoked'")
    assert await swept(alone) == {"held": "unknown crashed", "free": "stopped"}
    ended = await alone.values("reminders", "id", "ended_at")
    assert set(ended.values()) == {alone.ago()}


async def test_each_reminder_stands_or_falls_with_its_own_certificates(alone: Alone) -> None:
    await reminder(alone, "dead", "A", day="2026-04-01")
    await reminder(alone, "other", "A")
    await reminder(alone, "ended", "B")
    await alone.change("UPDATE holdings SET state = 'superseded' WHERE serial = 'S-dead'")
    await alone.change("UPDATE holdings SET not_after = :now WHERE serial = 'S-ended'", now=alone.ago())
    assert await claimed(alone) == ["other"]
    assert await swept(alone) == {"dead": "stopped", "other": "planned", "ended": "stopped"}


@pytest.mark.parametrize(
    ("other", "late"),
    [
        ({"day": "2026-03-31"}, True),
        ({"day": "2026-04-01"}, False),  # not before tomorrow
        ({"day": "2026-03-29"}, False),  # an older one
        ({"day": "2026-03-31", "customer": "B"}, False),
    ],
)
async def test_a_newer_reminder_of_the_customer_takes_the_place_of_one_that_is_late(
    alone: Alone, other: dict[str, Any], late: bool
) -> None:
    await reminder(alone, day="2026-03-30")
    row = {"customer": "A", "state": "sent", **other}
    await reminder(alone, "other", row.pop("customer"), **row)
    assert await claimed(alone) == ["R"] * (not late)
    await alone.change("UPDATE reminders SET leased_until = 0, holder = NULL")
    assert (await swept(alone))["R"] == ("skipped late" if late else "planned")


async def test_one_whose_time_is_over_is_late(alone: Alone) -> None:
    await reminder(alone, until=0)
    assert await claimed(alone) == []
    assert await swept(alone) == {"R": "skipped late"}


@pytest.mark.parametrize(
    ("row", "wish", "paused"),
    [
        (EARLY, {}, True),
        ({}, {}, False),  # an urgent one
        (EARLY, {"paused_until": 0}, False),
        (EARLY, {"customer": "B"}, False),
    ],
)
async def test_a_pause_holds_back_the_early_steps_of_its_customer_while_it_lasts(
    alone: Alone, row: dict[str, Any], wish: dict[str, Any], paused: bool
) -> None:
    await reminder(alone, **row)
    await alone.people("B")
    said = {"customer": "A", "paused_until": DAY, **wish}
    until = alone.ago() + said.pop("paused_until")
    await alone.add("reminder_preferences", **said, paused_until=until, changed_at=0)
    assert await claimed(alone) == ["R"] * (not paused)
    await alone.change("UPDATE reminders SET leased_until = 0, holder = NULL")
    assert await swept(alone) == {"R": "skipped paused" if paused else "planned"}


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        ({}, True),
        ({"kind": "notice"}, False),
        ({"done_at": 1}, False),
        ({"not_before": SECOND}, False),
        ({"leased_until": SECOND}, False),  # it is on its way
        ({"leased_until": 2 * HOUR}, True),
    ],
)
async def test_reminders_wait_while_a_code_waits_that_is_due_and_not_on_its_way(
    alone: Alone, work: dict[str, Any], waits: bool
) -> None:
    await reminder(alone)
    said = {"kind": "code", "not_before": -SECOND, "leased_until": -SECOND, **work}
    moments = {key: alone.ago() + said.pop(key) for key in ("not_before", "leased_until")}
    await alone.add("work", id="W", **said, **moments)
    assert await claimed(alone) == ([] if waits else ["R"])
    assert await alone.values("counters", "name", "used") == ({} if waits else {"reminders:1m": 1})


async def test_urgent_ones_come_first_and_of_equal_ones_those_that_wait_longest(alone: Alone) -> None:
    rows: dict[str, dict[str, Any]] = {
        "early": {**EARLY, "due_at": -9 * HOUR},
        "later": {"due_at": -HOUR},
        "longer": {"due_at": -2 * HOUR},
        "younger": {**EARLY, "due_at": -8 * HOUR},
    }
    for name, row in rows.items():
        await reminder(alone, name, name, **row)
    assert await claimed(alone, most=1) == ["longer"]
    assert await claimed(alone, most=2) == ["later", "early"]
    assert await claimed(alone, most=2) == ["younger"]


async def test_a_sweep_closes_so_many_at_most_the_oldest_first(alone: Alone) -> None:
    for number in range(3):
        await reminder(alone, f"{number}", f"P{number}", due_at=-HOUR - number)
    await alone.change("UPDATE holdings SET state = 'revoked'")
    assert await swept(alone, most=2) == {"0": "planned", "1": "stopped", "2": "stopped"}


@pytest.mark.parametrize(
    ("counter", "taken", "used"),
    [
        (None, 3, 3),
        ({"window_start": -30 * SECOND, "used": 1}, 3, 4),  # the minute has four
        ({"window_start": -30 * SECOND, "used": 2}, 0, 2),
        ({"window_start": -60 * SECOND, "used": 4}, 3, 3),  # a new minute
        ({"window_start": HOUR, "used": 4}, 3, 3),  # a clock was wrong
        ({"window_start": 30 * SECOND, "used": 4}, 0, 4),  # within what clocks may differ
    ],
)
async def test_a_minute_has_so_many_claims_and_no_more(
    alone: Alone, counter: dict[str, int] | None, taken: int, used: int
) -> None:
    for number in range(3):
        await reminder(alone, f"{number}", f"P{number}")
    if counter is not None:
        start = alone.ago() + counter["window_start"]
        await alone.add("counters", name="reminders:1m", window_start=start, used=counter["used"])
    assert len(await claimed(alone, most=3, per_minute=4)) == taken
    assert await alone.values("counters", "name", "used") == {"reminders:1m": used}
    began = (await alone.values("counters", "name", "window_start"))["reminders:1m"] - alone.ago()
    assert began == (0 if taken == used else (counter or {})["window_start"])


async def test_what_was_counted_and_not_claimed_is_given_back_and_to_no_other_counter(alone: Alone) -> None:
    await alone.add("counters", name="another", window_start=0, used=5)
    await reminder(alone, "R", "A")
    await reminder(alone, "gone", "B")
    await alone.change("UPDATE holdings SET state = 'revoked' WHERE serial = 'S-gone'")
    assert await claimed(alone) == ["R"]
    assert await alone.values("counters", "name", "used") == {"reminders:1m": 1, "another": 5}


async def test_no_more_are_found_than_asked_for_nor_than_a_minute_has(alone: Alone) -> None:
    for number in range(4):
        await reminder(alone, f"{number}", f"P{number}")
    assert len(await claimed(alone, most=2)) == 2
    alone.clock.later(minutes=2)
    assert len(await claimed(alone, most=9, per_minute=3)) == 3
    assert await alone.values("counters", "name", "used") == {"reminders:1m": 3}


@pytest.mark.parametrize(
    ("begun", "kept"), [({}, 0), ({"begun_at": -HOUR}, -HOUR), ({"begun_at": HOUR}, 0)], ids=["first", "again", "odd"]
)
async def test_when_it_was_begun_is_the_first_time_and_never_ahead(
    alone: Alone, begun: dict[str, int], kept: int
) -> None:
    await reminder(alone, **begun)
    assert await claimed(alone) == ["R"]
    assert await alone.values("reminders", "id", "begun_at") == {"R": alone.ago() + kept}


def leased(name: str = "R") -> Reminder:
    return Reminder(name, A, TODAY, URGENT, FOR_EVER, 1, FOR_EVER)


SENT = Outcome(ReminderState.SENT, channel=Channel.MOBILE, contact_version=2, gateway="sms", certificates=1)
FAILED = Outcome(ReminderState.FAILED, channel=Channel.MOBILE, contact_version=2)


@pytest.mark.parametrize(
    ("row", "outcome", "taken"),
    [
        ({}, SENT, True),
        ({"holder": "two"}, SENT, False),
        ({"leased_until": 0}, SENT, False),
        ({"state": "stopped"}, SENT, False),
        ({"state": "unknown", "holder": "two", "leased_until": 0}, SENT, True),  # what is certain stands above it
        ({"state": "unknown", "holder": "two", "leased_until": 0}, FAILED, False),
    ],
)
async def test_a_reminder_is_ended_by_whoever_holds_it_and_what_was_sent_is_never_unknown(
    alone: Alone, row: dict[str, Any], outcome: Outcome, taken: bool
) -> None:
    for name, customer in (("R", "A"), ("other", "B")):
        await reminder(alone, name, customer, holder="one")
        await alone.change("UPDATE reminders SET leased_until = 5 WHERE id = :id", id=name)
    for column, value in row.items():
        await alone.change(f"UPDATE reminders SET {column} = :value WHERE id = 'R'", value=value)
    queue = ReminderQueueRepository(alone.engine)
    assert await queue.end(leased(), "one", outcome, alone.now) is taken
    states = await alone.values("reminders", "id", "state")
    assert states == {"R": outcome.state if taken else row.get("state", "planned"), "other": "planned"}


@pytest.mark.parametrize("row", [{}, {"holder": "two"}, {"leased_until": 0}, {"state": "sent"}])
async def test_a_reminder_is_put_off_by_whoever_holds_it(alone: Alone, row: dict[str, Any]) -> None:
    for name, customer in (("R", "A"), ("other", "B")):
        await reminder(alone, name, customer, holder="one")
        await alone.change("UPDATE reminders SET leased_until = 5 WHERE id = :id", id=name)
    for column, value in row.items():
        await alone.change(f"UPDATE reminders SET {column} = :value WHERE id = 'R'", value=value)
    at = alone.now + timedelta(minutes=1)
    assert await ReminderQueueRepository(alone.engine).retry(leased(), "one", at) is (row == {})
    retried = await alone.values("reminders", "id", "retry_at")
    assert retried == {"R": alone.ahead(minutes=1) if row == {} else 0, "other": 0}
    if row == {}:
        assert await alone.values("reminders", "id", "holder") == {"R": None, "other": "one"}


@pytest.mark.parametrize(
    ("delivery", "known", "dead"),
    [
        ({"report": "failed"}, None, 2),
        ({"report": "failed"}, 2, 2),
        ({"report": "failed"}, 3, 3),  # a newer contact is the dead one
        ({"report": "delivered"}, None, None),
        ({"report": "failed", "message": "another"}, None, None),
        ({"report": "undelivered"}, None, 2),
        ({"report": "undelivered", "message": "another"}, 2, None),  # it was dead long ago, and has taken this one
        ({"report": "undelivered", "message": "another"}, 3, 3),
    ],
)
async def test_a_report_that_came_first_marks_the_contact_when_the_reminder_ends(
    alone: Alone, delivery: dict[str, Any], known: int | None, dead: int | None
) -> None:
    await reminder(alone)
    assert await claimed(alone) == ["R"]
    await alone.add("deliveries", **{"message": "R", "gateway": "sms", "fate": "taken", **delivery})
    if known is not None:
        await alone.add("unreachable_contacts", customer="A", channel="mobile", version=known, since=0)
    assert await ReminderQueueRepository(alone.engine).end(leased(), "one", SENT, alone.now)
    assert await alone.values("unreachable_contacts", "customer", "version") == ({} if dead is None else {"A": dead})
    since = await alone.values("unreachable_contacts", "customer", "since")
    assert since == ({} if dead is None else {"A": 0 if known == 3 else alone.ago()})


@pytest.mark.parametrize(
    ("row", "state", "left"),
    [
        ({"why": "returned"}, ReminderState.SENT, False),
        ({"why": "returned", "version": 3}, ReminderState.SENT, True),
        ({"why": "returned", "channel": "email"}, ReminderState.SENT, True),
        ({"why": "returned", "customer": "B"}, ReminderState.SENT, True),
        ({"why": "returned"}, ReminderState.UNKNOWN, True),
        ({"why": "reported"}, ReminderState.SENT, True),
        ({"why": "reported", "days": 59}, ReminderState.SENT, True),
        ({"why": "reported", "days": 60}, ReminderState.SENT, False),
    ],
)
async def test_what_is_taken_for_a_contact_takes_away_that_an_earlier_message_came_back(
    alone: Alone, row: dict[str, Any], state: ReminderState, left: bool
) -> None:
    await reminder(alone)
    await alone.people("B")
    assert await claimed(alone) == ["R"]
    told = {name: value for name, value in row.items() if name != "days"}
    marked = {"customer": "A", "channel": "mobile", "version": 2, "since": alone.ago(days=row.get("days", 1)), **told}
    await alone.add("unreachable_contacts", **marked)
    outcome = Outcome(state, channel=Channel.MOBILE, contact_version=2)
    assert await ReminderQueueRepository(alone.engine).end(leased(), "one", outcome, alone.now)
    assert await alone.count("unreachable_contacts") == left


async def test_without_a_contact_no_report_marks_any(alone: Alone) -> None:
    await reminder(alone)
    assert await claimed(alone) == ["R"]
    await alone.add("deliveries", message="R", gateway="sms", fate="taken", report="failed")
    stopped = Outcome(ReminderState.STOPPED, channel=Channel.MOBILE)
    assert await ReminderQueueRepository(alone.engine).end(leased(), "one", stopped, alone.now)
    assert await alone.count("unreachable_contacts") == 0


@pytest.mark.parametrize(("known", "marked"), [(1, 2), (2, 2), (3, 3)])
async def test_an_older_contact_that_is_dead_does_not_take_the_place_of_a_newer_one(
    alone: Alone, known: int, marked: int
) -> None:
    await alone.people("A")
    await alone.add("unreachable_contacts", customer="A", channel="mobile", version=known, why="reported", since=0)
    queue = ReminderQueueRepository(alone.engine)
    await queue.dead(A, Channel.MOBILE, 2, FaultReason.DESTINATION, alone.now)
    (row,) = await alone.rows("SELECT version, why FROM unreachable_contacts")
    assert row == {"version": marked, "why": "reported" if known > 2 else "destination"}


async def test_what_a_message_is_made_of_is_its_own_customers_and_attempts(alone: Alone) -> None:
    await reminder(alone, "R", "A")
    await reminder(alone, "other", "B")
    await alone.ours("ended", "A", alone.ago())
    for customer in "AB":
        await alone.add("contacts", customer=customer, channel="mobile")
        await alone.add("unreachable_contacts", customer=customer, channel="email", since=0)
        await alone.add("reminder_preferences", customer=customer, channel="email", changed_at=0)
    for message in ("R", "other"):
        await alone.add("deliveries", message=message, gateway="sms", fate="later")
    papers = await ReminderQueueRepository(alone.engine).papers([leased()], alone.now)
    assert [one.customer for one in papers.contacts] == ["A"]
    assert [one.customer for one in papers.dead] == ["A"]
    assert list(papers.wishes) == ["A"]
    assert {customer: [one.id for one in some] for customer, some in papers.living.items()} == {"A": ["S-R"]}
    assert list(papers.attempts) == ["R"]
