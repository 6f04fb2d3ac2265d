"""Every condition of the statements of alarms: a row that says otherwise in one thing, and what becomes of it."""

from typing import Any

import pytest

from chopmark.messaging.alarms import AGAIN, ONCE, SETTLED, Alarm, AlarmKind
from chopmark.store.engine.columns import span
from chopmark.store.repositories.messaging.alarms import AT_ONCE, AlarmRepository
from tests.contract.alone import Alone

DOWN, BUDGET = AlarmKind.GATEWAY_DOWN, AlarmKind.BUDGET
MINUTE, DAY = 60_000, 86_400_000
LEASE_S = 120


@pytest.mark.parametrize(
    ("before", "due", "since"),
    [
        pytest.param({"due_at": 2 * MINUTE, "well_at": 0}, 0, -DAY, id="never said, and seemed well"),
        pytest.param({"said_at": -DAY, "over_at": -MINUTE}, 0, 0, id="over, and said long ago"),
        pytest.param({"said_at": -MINUTE, "over_at": -MINUTE}, -MINUTE + 15 * MINUTE, 0, id="over, and said just now"),
        pytest.param({"said_at": -MINUTE, "said_grade": 2, "due_at": DAY}, 0, -DAY, id="more urgent"),
        pytest.param({"said_at": -MINUTE, "said_grade": 1, "due_at": DAY}, DAY, -DAY, id="as urgent"),
        pytest.param(
            {"said_at": -MINUTE, "said_grade": 1, "due_at": MINUTE, "well_at": -1}, -MINUTE + span(AGAIN), -DAY,
            id="seemed well",
        ),
    ],
)  # fmt: skip
async def test_when_what_is_wrong_is_said_depends_on_what_was_said_of_it(
    alone: Alone, before: dict[str, int], due: int, since: int
) -> None:
    now = alone.ago()
    row: dict[str, Any] = {name: value if name == "said_grade" else now + value for name, value in before.items()}
    await alone.add("alarms", subject="a", kind=DOWN, grade=9, since=now - DAY, seen_at=0, **row)
    await AlarmRepository(alone.engine).raised(Alarm(DOWN, "a", {"reason": "timeout"}, 1), alone.now)
    (found,) = await alone.rows("SELECT due_at, since, well_at, over_at, facts, grade, seen_at FROM alarms")
    assert found.pop("due_at") - now == due
    assert found.pop("since") - now == since
    assert found == {"well_at": None, "over_at": None, "facts": '{"reason": "timeout"}', "grade": 1, "seen_at": now}


async def test_an_alarm_of_a_later_release_is_left_to_it_and_keeps_no_other_from_being_told(alone: Alone) -> None:
    store, now = AlarmRepository(alone.engine), alone.ago()
    await alone.add("alarms", subject="a", kind="of_tomorrow", grade=1, since=now, seen_at=now, due_at=now - 1)
    await store.raised(Alarm(DOWN, "b"), alone.now)
    assert [due.alarm.subject for due in await store.lasting()] == ["b"]
    assert [due.alarm.subject for due in await store.claim(alone.now, LEASE_S)] == ["b"]
    assert await alone.values("alarms", "subject", "leased_until") == {"a": 0, "b": now + LEASE_S * 1000}


async def test_what_is_said_once_only_is_not_said_again_though_it_seemed_well(alone: Alone) -> None:
    store, alarm = AlarmRepository(alone.engine), Alarm(DOWN, "a", {}, ONCE)
    await store.raised(alarm, alone.now)
    (due,) = await store.claim(alone.now, LEASE_S)
    await store.said(due, alone.now)
    assert await alone.values("alarms", "subject", "due_at") == {"a": None}
    await store.well("a", alone.now)
    await store.raised(alarm, alone.now)
    assert await alone.values("alarms", "subject", "due_at") == {"a": None}


async def test_to_be_well_is_the_subjects_and_counts_from_the_first_time(alone: Alone) -> None:
    store, now = AlarmRepository(alone.engine), alone.ago()
    for subject, kind in (("a", DOWN), ("a", BUDGET), ("b", DOWN)):
        await store.raised(Alarm(kind, subject), alone.now)
    await alone.change("UPDATE alarms SET over_at = 7, due_at = NULL WHERE kind = 'budget'")
    await store.well("a", alone.now)
    alone.clock.later(minutes=1)
    await store.well("a", alone.now)
    rows = await alone.rows("SELECT subject, kind, well_at, due_at FROM alarms ORDER BY subject, kind")
    assert [(row["well_at"], row["due_at"]) for row in rows] == [
        (None, None),  # what is over stays as it is
        (now, now + span(SETTLED)),
        (None, now),
    ]


async def test_what_is_said_is_this_alarm_of_this_subject_and_no_other(alone: Alone) -> None:
    store, now = AlarmRepository(alone.engine), alone.ago()
    every = [Alarm(kind, subject) for subject, kind in (("a", DOWN), ("a", BUDGET), ("b", DOWN))]
    for alarm in every:
        await store.raised(alarm, alone.now)
    (said,) = [due for due in await store.claim(alone.now, LEASE_S) if due.alarm == every[0]]
    await store.said(said, alone.now)
    rows = await alone.rows("SELECT subject, kind, said_at FROM alarms WHERE said_at IS NOT NULL")
    assert rows == [{"subject": "a", "kind": DOWN, "said_at": now}]
    await alone.change("UPDATE alarms SET well_at = due_at, due_at = 0, leased_until = 0")
    (over,) = [due for due in await store.claim(alone.now, LEASE_S) if due.alarm == every[0]]
    assert over.over
    await store.said(over, alone.now)
    rows = await alone.rows("SELECT subject, kind, over_at, due_at FROM alarms WHERE over_at IS NOT NULL")
    assert rows == [{"subject": "a", "kind": DOWN, "over_at": now, "due_at": None}]


async def test_what_came_back_while_it_was_told_to_be_over_is_not_over(alone: Alone) -> None:
    store, alarm = AlarmRepository(alone.engine), Alarm(DOWN, "a")
    await alone.add("alarms", subject="a", kind=DOWN, grade=0, since=0, seen_at=0, said_at=0, well_at=0, due_at=0)
    (over,) = await store.claim(alone.now, LEASE_S)
    await store.raised(alarm, alone.now)
    await store.said(over, alone.now)
    assert await alone.values("alarms", "subject", "over_at") == {"a": None}
    assert [due.alarm for due in await store.lasting()] == [alarm]


@pytest.mark.parametrize(
    ("meanwhile", "due"),
    [({}, span(AGAIN)), ({"grade": 0}, 0), ({"well_at": 5}, span(SETTLED))],
    ids=["nothing", "more urgent", "well"],
)
async def test_when_it_is_said_next_depends_on_what_happened_while_it_was_told(
    alone: Alone, meanwhile: dict[str, int], due: int
) -> None:
    store, now = AlarmRepository(alone.engine), alone.ago()
    await store.raised(Alarm(DOWN, "a", {}, 1), alone.now)
    (told,) = await store.claim(alone.now, LEASE_S)
    for name, value in meanwhile.items():
        await alone.change(f"UPDATE alarms SET {name} = :value", value=value)
    await store.said(told, alone.now)
    (row,) = await alone.rows("SELECT due_at, said_grade, leased_until FROM alarms")
    assert row == {"due_at": now + due, "said_grade": 1, "leased_until": 0}


@pytest.mark.parametrize(
    ("row", "claimed"),
    [
        ({"due_at": 0}, True),
        ({"due_at": MINUTE}, False),
        ({"due_at": DAY}, False),
        ({"due_at": 3 * DAY}, True),  # no alarm waits so long: a clock was wrong
        ({"due_at": 0, "leased_until": MINUTE}, False),
        ({"due_at": 0, "leased_until": 0}, True),
        ({"due_at": 0, "leased_until": DAY}, True),
    ],
)
async def test_an_alarm_is_claimed_when_it_is_due_and_nobody_tells_it(
    alone: Alone, row: dict[str, int], claimed: bool
) -> None:
    said = {name: alone.ago() + value for name, value in row.items()}
    await alone.add("alarms", subject="a", kind=DOWN, grade=0, since=0, seen_at=0, **said)
    await alone.add("alarms", subject="said", kind=DOWN, grade=0, since=0, seen_at=0)  # it does not repeat
    store = AlarmRepository(alone.engine)
    assert [due.alarm.subject for due in await store.claim(alone.now, LEASE_S)] == ["a"] * claimed
    assert await store.claim(alone.now, LEASE_S) == []


async def test_of_many_alarms_those_that_wait_longest_are_claimed_first(alone: Alone) -> None:
    for number in range(AT_ONCE + 2):
        await alone.add("alarms", subject=f"{number}", kind=DOWN, grade=0, since=0, seen_at=0, due_at=number)
    claimed = await AlarmRepository(alone.engine).claim(alone.now, LEASE_S)
    assert {due.alarm.subject for due in claimed} == {f"{number}" for number in range(AT_ONCE)}


async def test_what_lasts_is_neither_over_nor_well_and_stands_in_the_order_of_its_beginning(alone: Alone) -> None:
    row = {"kind": DOWN, "grade": 0, "seen_at": 0}
    for subject, since in (("c", 1), ("a", 2), ("b", 2)):
        await alone.add("alarms", subject=subject, since=since, **row)
    await alone.add("alarms", subject="over", since=0, over_at=1, **row)
    await alone.add("alarms", subject="well", since=0, well_at=1, **row)
    assert [due.alarm.subject for due in await AlarmRepository(alone.engine).lasting()] == ["c", "a", "b"]


async def test_a_lease_begins_anew_as_long_as_nobody_else_has_the_alarm_or_has_told_it(alone: Alone) -> None:
    store, now = AlarmRepository(alone.engine), alone.ago()
    for subject, kind in (("a", DOWN), ("a", BUDGET), ("b", DOWN)):
        await store.raised(Alarm(kind, subject), alone.now)
    every = await store.claim(alone.now, LEASE_S)
    mine = next(due for due in every if (due.alarm.subject, due.alarm.kind) == ("a", DOWN))
    alone.clock.later(seconds=LEASE_S + 1)
    renewed = await store.renew(mine, alone.now, LEASE_S)
    rows = await alone.rows("SELECT leased_until FROM alarms ORDER BY subject, kind")
    ends, new = now + LEASE_S * 1000, now + (2 * LEASE_S + 1) * 1000
    assert [row["leased_until"] for row in rows] == [ends, new, ends]
    assert renewed is not None
    assert await store.renew(mine, alone.now, LEASE_S) is None, "by its former end"
    alone.clock.later(seconds=LEASE_S)
    assert len(await store.claim(alone.now, LEASE_S)) == len(every)
    assert await store.renew(renewed, alone.now, LEASE_S) is None
    assert len(await store.claim(alone.now, LEASE_S)) == 0
    (again,) = [await store.renew(due, alone.now, LEASE_S) for due in await store.lasting() if due.alarm == mine.alarm]
    assert again is None, "what was not claimed has no lease"
    await store.said(renewed, alone.now)
    assert await store.renew(renewed, alone.now, LEASE_S) is None
