"""Every condition of rate limits and of the counters of wrong passwords: what one attempt moves, and what it leaves."""

from datetime import timedelta
from typing import Any

import pytest

from chopmark.core.types import CustomerId
from chopmark.identity.entries import CLOSES_AT, Entry, Way
from chopmark.limits.rate_limits import RateLimit, Spent
from chopmark.store.repositories.rate_limits import RateLimitRepository
from tests.contract.alone import Alone

MINUTE = 60_000
FEW, MANY = RateLimit("b:few", 2, timedelta(minutes=5)), RateLimit("a:many", 9, timedelta(hours=1))
ANNA = Way("anna", Entry.STRANGER)
OTHERS = (Way("anna", Entry.KNOWN), Way("ben", Entry.STRANGER))


async def used(alone: Alone) -> dict[str, int]:
    return await alone.values("counters", "name", "used")


async def entry(alone: Alone, way: Way, failed: int, closed_at: int | None = None) -> None:
    named = {"subject": way.subject, "entry": way.entry.value}
    await alone.add("entries", **named, failed=failed, closed_at=closed_at, at=0)


async def entries(alone: Alone) -> dict[str, tuple[int, bool]]:
    """How often each entry has failed, and whether it is closed."""
    rows = await alone.rows("SELECT subject, entry, failed, closed_at FROM entries")
    return {f"{row['subject']} {row['entry']}": (row["failed"], row["closed_at"] is not None) for row in rows}


async def test_a_limit_is_taken_so_often_and_no_more_and_what_is_given_back_can_be_taken_again(alone: Alone) -> None:
    store = RateLimitRepository(alone.engine)
    await store.give_back((FEW, MANY))  # of what nobody took
    for _ in range(FEW.limit):
        assert await store.take((FEW, MANY), alone.now) is None
    assert await store.take((FEW, MANY), alone.now) == Spent(FEW.name, 300)
    assert await used(alone) == {FEW.name: 2, MANY.name: 2}  # of several none is taken where one is used up
    await store.give_back((FEW,))
    assert await used(alone) == {FEW.name: 1, MANY.name: 2}
    assert await store.take((FEW,), alone.now) is None
    for _ in range(3):
        await store.give_back((FEW, MANY))
    assert await used(alone) == {FEW.name: 0, MANY.name: 0}


async def test_of_two_limits_that_are_used_up_the_first_by_name_is_told(alone: Alone) -> None:
    store, one = RateLimitRepository(alone.engine), RateLimit("a:one", 1, timedelta(minutes=1))
    both = (RateLimit("b:one", 1, timedelta(minutes=5)), one)
    assert [await store.take(both, alone.now) for _ in range(2)] == [None, Spent("a:one", 60)]


@pytest.mark.parametrize(
    ("begun", "anew"),
    [
        pytest.param(-5 * MINUTE + 1, False, id="not over"),
        pytest.param(-5 * MINUTE, True, id="just over"),
        pytest.param(MINUTE, False, id="by a clock that is a minute ahead"),
        pytest.param(MINUTE + 1, True, id="by a clock that was wrong"),
    ],
)
async def test_a_window_begins_with_its_first_use_and_ends_as_a_whole(alone: Alone, begun: int, anew: bool) -> None:
    store, began = RateLimitRepository(alone.engine), alone.ago() + begun
    await alone.add("counters", name=FEW.name, window_start=began, used=1)
    assert await store.take((FEW,), alone.now) is None
    assert await used(alone) == {FEW.name: 1 if anew else 2}
    starts = await alone.values("counters", "name", "window_start")
    assert starts == {FEW.name: alone.ago() if anew else began}


@pytest.mark.parametrize(("left_ms", "wait_s"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (299_999, 300)])
async def test_who_is_refused_is_told_in_how_many_whole_seconds_it_works_again(
    alone: Alone, left_ms: int, wait_s: int
) -> None:
    store = RateLimitRepository(alone.engine)
    for name, begun in (("a", 0), (FEW.name, left_ms - 5 * MINUTE), ("z", 0)):
        await alone.add("counters", name=name, window_start=alone.ago() + begun, used=2)
    assert await store.take((FEW,), alone.now) == Spent(FEW.name, wait_s)
    alone.clock.later(seconds=wait_s)
    assert await store.take((FEW,), alone.now) is None


async def test_an_attempt_counts_on_its_own_way_until_that_is_full_or_closed(alone: Alone) -> None:
    store = RateLimitRepository(alone.engine)
    assert await store.charge(ANNA, (MANY,), alone.now) == 1
    assert await store.charge(ANNA, (MANY,), alone.now) == 2
    await alone.change("UPDATE entries SET failed = :most", most=CLOSES_AT - 1)
    for way in OTHERS:
        await entry(alone, way, 7)
    assert await store.charge(ANNA, (MANY,), alone.now) == CLOSES_AT == 100
    assert await store.charge(ANNA, (MANY,), alone.now) is None
    await alone.change("UPDATE entries SET failed = 3, closed_at = 1 WHERE subject = 'ben'")
    assert await store.charge(OTHERS[1], (MANY,), alone.now) is None
    assert await entries(alone) == {"anna stranger": (100, False), "anna known": (7, False), "ben stranger": (3, True)}
    assert await used(alone) == {MANY.name: 5}  # an attempt at a closed way uses up its limits as well
    at = await alone.rows("SELECT at FROM entries WHERE subject = 'anna' AND entry = 'stranger'")
    assert at == [{"at": alone.ago()}]


async def test_an_attempt_that_a_limit_refuses_is_not_counted_and_takes_no_other_limit(alone: Alone) -> None:
    store, none = RateLimitRepository(alone.engine), RateLimit("z", 0, timedelta(minutes=1))
    await alone.add("counters", name="z", window_start=alone.ago(), used=0)
    assert await store.charge(ANNA, (none, MANY), alone.now) == Spent("z", 60)
    assert (await used(alone), await entries(alone)) == ({"z": 0}, {})


@pytest.mark.parametrize("settle", ["uncharge", "right"])
@pytest.mark.parametrize(
    ("failed", "closed_at", "uncharged", "right"), [(5, None, 4, 0), (0, None, 0, 0), (5, 1, 5, 5)]
)
async def test_what_was_not_compared_is_taken_back_and_a_right_one_forgets_the_wrong_ones_before(
    alone: Alone, settle: str, failed: int, closed_at: int | None, uncharged: int, right: int
) -> None:
    store = RateLimitRepository(alone.engine)
    await entry(alone, ANNA, failed, closed_at)
    for way in OTHERS:
        await entry(alone, way, 7)
    for limit in (FEW, MANY):
        await alone.add("counters", name=limit.name, window_start=alone.ago(), used=2)
    await getattr(store, settle)(ANNA, (MANY,))
    left = uncharged if settle == "uncharge" else right
    assert await entries(alone) == {
        "anna stranger": (left, closed_at is not None),
        "anna known": (7, False),
        "ben stranger": (7, False),
    }
    assert await used(alone) == {FEW.name: 2, MANY.name: 1}


async def test_a_way_is_closed_once_and_only_when_it_has_failed_so_often(alone: Alone) -> None:
    store = RateLimitRepository(alone.engine)
    await entry(alone, ANNA, CLOSES_AT - 1)
    for way in OTHERS:
        await entry(alone, way, CLOSES_AT)

    async def closed() -> list[Any]:
        done = await store.close(ANNA, alone.now, alone.record())
        return [done, *(await entries(alone)).values()]

    assert sorted(await closed(), key=str) == [(100, False), (100, False), (99, False), False]
    await alone.change("UPDATE entries SET failed = :most", most=CLOSES_AT)
    before = len(await alone.rows("SELECT entry FROM leaves"))
    assert sorted(await closed(), key=str) == [(100, False), (100, False), (100, True), True]
    alone.clock.later(hours=1)
    assert (await closed())[0] is False  # it is on record once, with the moment when it happened
    assert len(await alone.rows("SELECT entry FROM leaves")) == before + 1
    moments = await alone.rows("SELECT closed_at FROM entries WHERE closed_at IS NOT NULL")
    assert moments == [{"closed_at": alone.ago(hours=1)}]


async def test_reopening_is_about_one_customers_closed_ways(alone: Alone) -> None:
    store, (known, ben) = RateLimitRepository(alone.engine), OTHERS
    await entry(alone, ANNA, 5)
    await entry(alone, ben, 100, 1)
    assert await store.reopen(CustomerId("anna"), alone.record()) is False  # none is closed
    await entry(alone, known, 100, 1)
    assert await store.reopen(CustomerId("anna"), alone.record()) is True
    assert await entries(alone) == {"anna stranger": (5, False), "anna known": (0, False), "ben stranger": (100, True)}
