"""Which certificates live, told by every condition of the one statement that says it; and what is planned for them."""

from datetime import date, timedelta
from typing import Any

import pytest

from chopmark.core.types import CustomerId
from chopmark.ra.reminders.policy import LAST, OPENING, Step
from chopmark.ra.reminders.ports import LivingCertificate, Placed, ReminderState
from chopmark.store.engine.columns import moment
from chopmark.store.repositories.reminders.own import OwnReminderRepository
from chopmark.store.repositories.reminders.plans import ReminderPlanRepository, restored_at
from tests.contract.alone import Alone

A, B = CustomerId("A"), CustomerId("B")
TODAY = date(2026, 3, 31)
DAY_MS = 86_400_000


async def living(alone: Alone) -> list[str]:
    known = await ReminderPlanRepository(alone.engine).known([A], TODAY, alone.now)
    return sorted(one.id for one in known.living.get(A, ()))


@pytest.mark.parametrize(
    ("row", "lives"),
    [
        ({}, True),
        ({"state": "held"}, False),
        ({"state": "superseded"}, False),
        ({"not_after": 0}, False),
        ({"customer": "B"}, False),
    ],
)
async def test_one_of_ours_lives_while_it_is_active_and_has_not_ended(
    alone: Alone, row: dict[str, Any], lives: bool
) -> None:
    await alone.people("A", "B")
    await alone.ours("S", **{"customer": "A", "not_after": alone.ahead(days=9), **row})
    assert await living(alone) == ["S"] * lives


@pytest.mark.parametrize(
    ("row", "lives"),
    [
        ({}, True),
        ({"state": "superseded"}, False),
        ({"not_after": 0}, False),
        ({"customer": "B"}, False),
        ({"run": "staging"}, False),
    ],
)
async def test_an_imported_one_lives_once_its_run_is_finished(alone: Alone, row: dict[str, Any], lives: bool) -> None:
    await alone.people("A", "B")
    await alone.runs(live="live", staging="staging")
    await alone.theirs("F", **{"customer": "A", "not_after": alone.ahead(days=9), **row})
    assert await living(alone) == ["F"] * lives


@pytest.mark.parametrize(
    ("ours", "lives"),
    [
        ({}, False),
        ({"customer": "B"}, True),
        ({"profile": "another"}, True),
        ({"state": "held"}, True),
        ({"state": "issued"}, True),
    ],
)
async def test_an_imported_one_is_replaced_by_an_active_one_of_ours_with_its_profile(
    alone: Alone, ours: dict[str, Any], lives: bool
) -> None:
    await alone.people("A", "B")
    await alone.runs(live="live")
    await alone.theirs("F", "A", alone.ahead(days=9))
    await alone.ours("S", **{"customer": "A", "not_after": alone.ahead(days=99), **ours})
    assert ("F" in await living(alone)) is lives


@pytest.mark.parametrize(
    ("other", "lives"),
    [
        ({}, False),
        ({"account": None}, False),
        ({"account": "2"}, True),
        ({"customer": "B"}, True),
        ({"profile": "another"}, True),
        ({"state": "revoked"}, True),
        ({"run": "staging"}, True),
        ({"not_after": 0}, True),
        ({"not_after": 9 * DAY_MS}, False),  # of two with one end the greater fingerprint is told
        ({"not_after": 9 * DAY_MS, "fingerprint": "E"}, True),
    ],
)
async def test_an_imported_one_is_replaced_by_one_that_ends_later_for_its_account(
    alone: Alone, other: dict[str, Any], lives: bool
) -> None:
    await alone.people("A", "B")
    await alone.runs(live="live", staging="staging")
    await alone.theirs("F", "A", alone.ahead(days=9), account="1")
    row = {"fingerprint": "G", "customer": "A", "account": "1", "not_after": 30 * DAY_MS, **other}
    await alone.theirs(**{**row, "not_after": alone.ago() + row["not_after"]})
    assert ("F" in await living(alone)) is lives


async def test_one_for_no_account_is_replaced_by_a_later_one_for_any(alone: Alone) -> None:
    await alone.people("A")
    await alone.runs(live="live")
    await alone.theirs("F", "A", alone.ahead(days=9))
    await alone.theirs("G", "A", alone.ahead(days=30), account="1")
    assert await living(alone) == ["G"]


async def test_untold_are_living_certificates_of_a_span_without_this_step_in_their_order(alone: Alone) -> None:
    await alone.people("A")
    await alone.runs(live="live")
    for number, (serial, days) in enumerate((("early", 1), ("c", 3), ("b", 2), ("told", 2), ("other", 4), ("late", 9))):
        await alone.ours(serial, "A", alone.ahead(days=days), profile=f"p{number}")
    for letter, days in (("d", 3), ("a", 2)):
        await alone.theirs(letter, "A", alone.ahead(days=days), profile=letter)
    await alone.add("reminders", id="R", customer="A", day="2026-03-30", earliest="2026-03-30", due_at=0, until=0)
    for certificate, step in (("told", "3"), ("other", "7"), ("b", "7")):
        await alone.add("reminded_certificates", certificate=certificate, step=step, reminder="R", at=0)
    plans = ReminderPlanRepository(alone.engine)
    span = alone.now + timedelta(days=1), alone.now + timedelta(days=4)

    async def untold(after: LivingCertificate | None, most: int) -> list[LivingCertificate]:
        return await plans.untold(Step(3), (span[0] + timedelta(seconds=1), span[1]), after, most)

    assert [one.id for one in await untold(None, 9)] == ["a", "b", "c", "d", "other"]
    first = await untold(None, 2)
    assert [one.id for one in first] == ["a", "b"]
    second = await untold(first[-1], 2)
    assert [one.id for one in second] == ["c", "d"]
    assert [one.id for one in await untold(second[-1], 2)] == ["other"]
    # Looked at one, two and four at a time, past those that have the step.
    one_by_one: list[LivingCertificate] = []
    while found := await untold(one_by_one[-1] if one_by_one else None, 1):
        one_by_one += found
    assert [one.id for one in one_by_one] == ["a", "b", "c", "d", "other"]


def placed(alone: Alone, **said: Any) -> Placed:
    values = {
        "id": "R", "customer": A, "certificate": "S", "step": Step(7), "day": TODAY, "earliest": date(2026, 3, 30),
        "due_at": alone.now, "until": alone.now + timedelta(days=1),
    }  # fmt: skip
    return Placed(**{**values, **said})


async def row(alone: Alone, name: str) -> dict[str, Any]:
    (found,) = await alone.rows("SELECT step, urgency, until, earliest FROM reminders WHERE id = :id", id=name)
    return found


async def test_a_step_that_joins_a_day_makes_its_row_as_urgent_and_as_wide_as_it_needs(alone: Alone) -> None:
    await alone.people("A", "B")
    plans, day = ReminderPlanRepository(alone.engine), timedelta(days=1)
    assert await plans.place([placed(alone)], "one", alone.now)
    less = placed(alone, id="x", certificate="T", step=Step(14), earliest=date(2026, 3, 31), until=alone.now + day / 2)
    assert await plans.place([less], "one", alone.now)
    assert await row(alone, "R") == {
        "step": "7", "urgency": Step(7).urgency, "until": alone.ahead(days=1), "earliest": "2026-03-30",
    }  # fmt: skip
    more = placed(alone, id="y", certificate="U", step=LAST, earliest=date(2026, 3, 29), until=alone.now + 2 * day)
    assert await plans.place([more], "one", alone.now)
    assert await row(alone, "R") == {
        "step": "last", "urgency": LAST.urgency, "until": alone.ahead(days=2), "earliest": "2026-03-29",
    }  # fmt: skip
    others = [placed(alone, id="B", customer=B, certificate="V"), placed(alone, id="T", day=date(2026, 4, 1))]
    assert await plans.place([replaced_certificate(one, name) for one, name in zip(others, "VW", strict=True)], "one",
                             alone.now)  # fmt: skip
    told = await alone.values("reminded_certificates", "certificate", "reminder")
    assert told == {"S": "R", "T": "R", "U": "R", "V": "B", "W": "T"}


def replaced_certificate(one: Placed, certificate: str) -> Placed:
    return Placed(one.id, one.customer, certificate, one.step, one.day, one.earliest, one.due_at, one.until)


async def test_a_day_that_was_sent_takes_no_more_steps_and_no_step_is_told_twice(alone: Alone) -> None:
    await alone.people("A")
    plans = ReminderPlanRepository(alone.engine)
    await plans.place([placed(alone)], "one", alone.now)
    await plans.place([placed(alone, id="x", day=date(2026, 4, 1))], "one", alone.now)
    assert await alone.values("reminded_certificates", "certificate", "reminder") == {"S": "R"}
    await alone.change("UPDATE reminders SET state = 'sent' WHERE id = 'R'")
    before = await row(alone, "R")
    await plans.place([placed(alone, id="y", certificate="T", step=LAST)], "one", alone.now)
    assert await row(alone, "R") == before
    assert await alone.values("reminded_certificates", "certificate", "reminder") == {"S": "R"}
    assert not await plans.place([placed(alone, id="z", certificate="T", day=date(2026, 4, 2))], "two", alone.now)
    assert await alone.values("reminders", "id", "state") == {"R": "sent", "x": "planned"}


async def test_the_least_urgent_of_a_day_yield_and_what_was_begun_never(alone: Alone) -> None:
    day = {"day": "2026-03-31", "earliest": "2026-03-31", "due_at": 0, "until": 0}
    rows: dict[str, dict[str, Any]] = {
        "b": {"urgency": 1},
        "a": {"urgency": 1},
        "c": {"urgency": 2},
        "d": {"urgency": 3},
        "urgent": {"urgency": Step(7).urgency},
        "sent": {"urgency": 1, "state": "sent"},
        "held": {"urgency": 1, "holder": "one"},
        "begun": {"urgency": 1, "attempts": 1},
        "tomorrow": {"urgency": 1, "day": "2026-04-01"},
    }
    await alone.people(*rows)
    for name, said in rows.items():
        await alone.add("reminders", id=name, customer=name, **{**day, **said})
        await alone.add("reminded_certificates", certificate=name, step="14", reminder=name, at=0)
    plans = ReminderPlanRepository(alone.engine)
    assert await plans.release(TODAY, Step(7), 3, "one", alone.now) == [1, 1, 2]
    left = rows.keys() - {"a", "b", "c"}
    assert (await alone.values("reminders", "id", "id")).keys() == left
    assert (await alone.values("reminded_certificates", "certificate", "reminder")).keys() == left
    assert await plans.release(TODAY, Step(7), 3, "two", alone.now) is None
    assert await plans.release(TODAY, Step(7), 9, "one", alone.now) == [3]


async def test_known_is_what_stands_of_these_customers_from_a_week_ago_on(alone: Alone) -> None:
    await alone.people("A", "B")
    await alone.ours("S", "A", alone.ahead(days=9))
    await alone.ours("T", "B", alone.ahead(days=9))
    days = (("A", "2026-03-23", "sent"), ("A", "2026-03-24", "sent"), ("A", "2026-04-02", "planned"),
            ("B", "2026-04-01", "planned"))  # fmt: skip
    for customer, day, state in days:
        name = f"{customer}{day}"
        await alone.add("reminders", id=name, customer=customer, day=day, earliest=day, due_at=0, until=0, state=state)
    for certificate, step, reminder in (
        ("S", "14", "A2026-03-23"),
        ("S", "7", "A2026-04-02"),
        ("T", "7", "B2026-04-01"),
    ):
        await alone.add("reminded_certificates", certificate=certificate, step=step, reminder=reminder, at=0)
    known = await ReminderPlanRepository(alone.engine).known([A], TODAY, alone.now)
    assert known.days == {A: {date(2026, 3, 24): False, date(2026, 4, 2): True}}
    assert sorted((one.certificate, one.step.word, one.waiting) for one in known.told) == [
        ("S", "14", False),
        ("S", "7", True),
    ]


async def test_a_days_load_is_what_will_be_or_may_have_been_sent_from_today_on(alone: Alone) -> None:
    states = ("planned", "sent", "unknown", "failed", "unreachable", "stopped", "skipped")
    for state in states:
        await alone.people(state, f"{state}-y")
        for name, day in ((state, "2026-03-31"), (f"{state}-y", "2026-03-30")):
            said = {"id": name, "customer": name, "day": day, "earliest": day, "due_at": 0, "until": 0}
            await alone.add("reminders", **said, state=state, urgency=5)
    assert await ReminderPlanRepository(alone.engine).loads(TODAY) == {TODAY: {5: 3}}


async def test_a_restore_closes_what_could_have_been_sent_by_then_and_nothing_else(alone: Alone) -> None:
    rows = {"open": ("planned", "2026-03-31"), "later": ("planned", "2026-04-01"), "sent": ("sent", "2026-03-31")}
    await alone.people(*rows)
    for name, (state, earliest) in rows.items():
        said = {"id": name, "customer": name, "day": "2026-04-02", "due_at": 0, "until": 0}
        await alone.add("reminders", **said, state=state, earliest=earliest)
    await alone.engine.run(restored_at, alone.now, TODAY)
    assert await alone.values("reminders", "id", "state") == {"open": "unknown", "later": "planned", "sent": "sent"}
    assert await ReminderPlanRepository(alone.engine).restored() == TODAY


async def test_a_customer_sees_the_reminders_of_their_own_certificate_and_their_own_dead_contacts(alone: Alone) -> None:
    await alone.people("A", "B")
    for name, customer, day, due in (
        ("2", "A", "2026-03-31", 5),
        ("1", "A", "2026-03-30", 3),
        ("3", "B", "2026-03-31", 4),
    ):
        said = {"day": day, "earliest": day, "due_at": due, "until": 9}
        await alone.add("reminders", id=name, customer=customer, step=name, **said)
    for certificate, step, reminder in (("S", "1", "2"), ("S", "2", "1"), ("S", "3", "3"), ("T", "1", "1")):
        await alone.add("reminded_certificates", certificate=certificate, step=step, reminder=reminder, at=0)
    for customer, channel, since in (("A", "mobile", 11), ("A", "email", 10), ("B", "email", 11)):
        await alone.add("unreachable_contacts", customer=customer, channel=channel, since=since)
    found = await OwnReminderRepository(alone.engine).of(A, "S", moment(10))
    assert [one.step for one in found.told] == [Step(2), Step(1)]
    assert {channel.value for channel, _ in found.dead} == {"mobile"}
    assert OPENING not in {one.step for one in found.told}
    assert ReminderState.PLANNED in {one.state for one in found.told}
