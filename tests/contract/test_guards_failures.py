"""Every condition under which a wrong answer is counted, shuts a lock, is forgiven and is released.

A day allows three and a life ten here. The lock of codes has three rows: its own, and those that the release before
wrote for each channel. Rows of another customer, and of the birth date, are always beside.
"""

from typing import Any

import pytest

from chopmark.core.types import CustomerId
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.stepup.ports import CODE
from chopmark.store.engine.script import Script
from chopmark.store.repositories.stepup.challenges import FailureRepository
from chopmark.store.repositories.stepup.failures import forgive
from tests.contract.alone import Alone
from tests.contract.test_guards_challenges import DAY, LIMITS, MINUTE

ANNA = CustomerId("anna")
HELD = {"held_at": 1, "hold": "held"}
Rows = dict[str, tuple[int, int, int]]
"""For each row of Anna's: when its day began, told from now, the failures of that day, and those ever."""


async def store(alone: Alone, rows: Rows, **held: dict[str, Any]) -> FailureRepository:
    await alone.people("anna", "ben")
    for who, factor in (("ben", "code"), ("ben", "sms"), ("ben", "birth_date"), ("anna", "birth_date")):
        if who == "ben" or factor not in rows:
            await row(alone, who, factor, (0, 9, 90))
    for factor, values in rows.items():
        await row(alone, "anna", factor, values, **held.get(factor, {}))
    return FailureRepository(alone.engine)


async def row(alone: Alone, who: str, factor: str, values: tuple[int, int, int], **held: Any) -> None:
    begun, day, ever = values
    named = {"customer": who, "factor": factor, "window_start": alone.ago() + begun}
    await alone.add("failures", **named, in_window=day, ever=ever, **held)


async def left(alone: Alone) -> tuple[Rows, set[str]]:
    """Anna's rows, and those of them that are shut; what is beside is as it was."""
    rows = await alone.rows("SELECT * FROM failures ORDER BY customer, factor")
    said = {
        (one["customer"], one["factor"]): (one["window_start"] - alone.ago(), one["in_window"], one["ever"])
        for one in rows
    }
    assert {name: said.pop(("ben", name)) for name in ("birth_date", "code", "sms")} == {
        "birth_date": (0, 9, 90),
        "code": (0, 9, 90),
        "sms": (0, 9, 90),
    }
    return (
        {name: values for (_, name), values in said.items() if (name, values) != ("birth_date", (0, 9, 90))},
        {one["factor"] for one in rows if one["held_at"] is not None and one["customer"] == "anna"},
    )


@pytest.mark.parametrize(
    ("rows", "counted"),
    [
        ({}, (0, 1, 1)),
        ({"code": (-MINUTE, 2, 5)}, (-MINUTE, 3, 6)),
        ({"code": (-MINUTE, 3, 5)}, None),
        ({"code": (1 - DAY, 2, 5)}, (1 - DAY, 3, 6)),
        ({"code": (1 - DAY, 3, 5)}, None),
        ({"code": (-DAY, 3, 5)}, (0, 1, 6)),
        ({"code": (MINUTE, 1, 5)}, (MINUTE, 2, 6)),
        ({"code": (MINUTE + 1, 1, 5)}, (0, 2, 6)),  # by a machine whose clock was wrong
        ({"code": (-MINUTE, 0, 9)}, (-MINUTE, 1, 10)),
        ({"code": (-MINUTE, 0, 10)}, None),
        ({"email": (-MINUTE, 2, 2)}, (0, 1, 1)),
        ({"email": (-MINUTE, 3, 3)}, None),
        ({"email": (-MINUTE, 2, 2), "sms": (-MINUTE, 1, 1)}, None),
        ({"email": (1 - DAY, 3, 3)}, None),
        ({"email": (-DAY, 3, 3)}, (0, 1, 1)),
        ({"email": (-DAY, 3, 9), "sms": (-DAY, 3, 9)}, (0, 1, 1)),
        ({"email": (-DAY, 3, 10)}, None),
        ({"code": (-MINUTE, 1, 1), "email": (-MINUTE, 1, 1)}, (-MINUTE, 2, 2)),
        ({"code": (-MINUTE, 1, 1), "email": (-MINUTE, 2, 2)}, None),
        ({"code": (-DAY, 3, 3), "sms": (-MINUTE, 2, 2)}, (0, 1, 4)),
        ({"code": (-DAY, 0, 3), "sms": (-MINUTE, 3, 3)}, None),
        ({"code": (-DAY, 1, 5), "sms": (-DAY, 1, 4)}, (0, 1, 6)),
        ({"code": (-DAY, 1, 5), "sms": (-DAY, 1, 5)}, None),
    ],
)
async def test_a_failure_is_counted_while_the_day_and_the_life_have_one_left(
    alone: Alone, rows: Rows, counted: tuple[int, int, int] | None
) -> None:
    failures = await store(alone, rows)
    refused = await failures.charge(ANNA, CODE, LIMITS, alone.now, (), alone.record())
    assert (refused is None) is (counted is not None)
    if counted is not None:
        assert await left(alone) == ({**rows, "code": counted}, set())
    else:
        assert await left(alone) == (
            {"code": (0, 0, 0), "email": (0, 0, 0), "sms": (0, 0, 0), **rows},
            {"code", "email", "sms"},
        )


@pytest.mark.parametrize("shut", ["code", "email", "sms"])
async def test_nothing_is_counted_while_a_row_of_the_lock_is_shut(alone: Alone, shut: str) -> None:
    failures = await store(alone, {shut: (-MINUTE, 1, 1)}, **{shut: HELD})
    assert await failures.charge(ANNA, CODE, LIMITS, alone.now, (), alone.record()) is not None
    assert await left(alone) == ({shut: (-MINUTE, 1, 1)}, {shut})


async def test_the_lock_of_codes_is_no_lock_of_the_birth_date_nor_the_other_way_round(alone: Alone) -> None:
    failures = await store(alone, {"code": (-MINUTE, 3, 10), "birth_date": (-MINUTE, 1, 1)}, code=HELD)
    assert await failures.charge(ANNA, "birth_date", LIMITS, alone.now, (), alone.record()) is None
    assert await left(alone) == ({"code": (-MINUTE, 3, 10), "birth_date": (-MINUTE, 2, 2)}, {"code"})
    await alone.change("UPDATE failures SET held_at = 1 - COALESCE(held_at, 0), in_window = 1, ever = 1")
    await alone.change("UPDATE failures SET held_at = NULL WHERE factor <> 'birth_date'")
    assert await failures.charge(ANNA, CODE, LIMITS, alone.now, (), alone.record()) is None


@pytest.mark.parametrize(
    ("rows", "hold"),
    [
        ({"code": (-MINUTE, 2, 9)}, None),
        ({"code": (-MINUTE, 3, 9)}, "held"),
        ({"code": (1 - DAY, 3, 9)}, "held"),
        ({"code": (-DAY, 3, 9)}, None),
        ({"code": (-MINUTE, 2, 2), "email": (-MINUTE, 1, 1)}, "held"),
        ({"email": (-MINUTE, 2, 2), "sms": (-MINUTE, 1, 1)}, "held"),
        ({"code": (-MINUTE, 0, 10)}, "disabled"),
        ({"code": (-MINUTE, 3, 10)}, "disabled"),
        ({"email": (-MINUTE, 0, 10)}, "disabled"),
        ({"code": (-MINUTE, 0, 6), "email": (-MINUTE, 0, 4)}, "disabled"),
        ({"code": (-MINUTE, 0, 6), "email": (-MINUTE, 0, 3), "sms": (-MINUTE, 0, 3)}, None),
        ({"code": (-MINUTE, 0, 1), "email": (-MINUTE, 0, 6)}, None),
    ],
)
async def test_a_wrong_code_shuts_all_rows_of_the_lock_when_it_was_the_last_one(
    alone: Alone, rows: Rows, hold: str | None
) -> None:
    failures, before = await store(alone, rows), alone.ago()
    notice = OutboxJob("N", OutboxJobKind.NOTICE, ANNA, None, None, None, None, {}, 0, alone.now, None)
    shut = await failures.wrong(ANNA, CODE, LIMITS, alone.now, (notice,), alone.record())
    assert (shut, await alone.count("work")) == (hold is not None, hold is not None)
    blank = {} if hold is None else dict.fromkeys(("code", "email", "sms"), (0, 0, 0))
    assert await left(alone) == ({**blank, **rows}, set(blank))
    said = await alone.rows("SELECT DISTINCT held_at, hold FROM failures WHERE held_at IS NOT NULL")
    assert said == ([] if hold is None else [{"held_at": before, "hold": hold}])
    assert await failures.held(ANNA) == ({} if hold is None else {"code": hold})
    alone.clock.later(minutes=1)  # it is told once, and its moment stands
    again = OutboxJob("M", OutboxJobKind.NOTICE, ANNA, None, None, None, None, {}, 0, alone.now, None)
    assert await failures.wrong(ANNA, CODE, LIMITS, alone.now, (again,), alone.record()) is False
    assert await alone.rows("SELECT DISTINCT held_at, hold FROM failures WHERE held_at IS NOT NULL") == said
    assert await alone.count("work") == len(said)


async def test_a_row_that_a_process_of_the_release_before_has_shut_keeps_its_moment(alone: Alone) -> None:
    failures = await store(alone, {"code": (-MINUTE, 3, 3), "sms": (-MINUTE, 0, 0)}, sms=HELD)
    assert await failures.wrong(ANNA, CODE, LIMITS, alone.now, (), alone.record()) is True
    held = await alone.rows("SELECT factor, held_at FROM failures WHERE held_at IS NOT NULL ORDER BY factor")
    assert [(one["factor"], one["held_at"]) for one in held] == [
        ("code", alone.ago()),
        ("email", alone.ago()),
        ("sms", 1),
    ]


async def test_the_lock_of_the_birth_date_has_one_row(alone: Alone) -> None:
    failures = await store(alone, {"birth_date": (-MINUTE, 3, 3), "code": (-MINUTE, 1, 1)})
    assert await failures.wrong(ANNA, "birth_date", LIMITS, alone.now, (), alone.record()) is True
    assert await left(alone) == ({"birth_date": (-MINUTE, 3, 3), "code": (-MINUTE, 1, 1)}, {"birth_date"})


@pytest.mark.parametrize(
    ("day", "ever", "held", "after"),
    [
        (2, 5, {}, (1, 4)),
        (1, 1, {}, (0, 0)),
        (0, 3, {}, (0, 2)),
        (2, 0, {}, (1, 0)),
        (0, 0, {}, (0, 0)),
        (2, 5, HELD, (2, 5)),
    ],
)
async def test_a_right_code_takes_one_failure_back_and_opens_no_lock(
    alone: Alone, day: int, ever: int, held: dict[str, Any], after: tuple[int, int]
) -> None:
    await store(alone, {"code": (-MINUTE, day, ever), "sms": (-MINUTE, 2, 5)}, code=held)

    def script() -> Script[None]:
        yield forgive(ANNA, CODE)

    await alone.engine.run(script)
    assert await left(alone) == (
        {"code": (-MINUTE, *after), "sms": (-MINUTE, 2, 5)},
        {"code"} if held else set(),
    )


SOME, NONE = (-MINUTE, 2, 5), (-MINUTE, 0, 0)


@pytest.mark.parametrize(
    ("shut", "lifted", "emptied"),
    [
        ((), 0, ()),
        (("code",), 1, ("code", "email", "sms")),
        (("sms",), 1, ("code", "email", "sms")),
        (("email", "sms"), 1, ("code", "email", "sms")),
        (("birth_date",), 1, ("birth_date",)),
        (("birth_date", "code"), 2, ("birth_date", "code", "email", "sms")),
    ],
)
async def test_a_release_opens_what_is_shut_and_empties_all_rows_of_that_lock(
    alone: Alone, shut: tuple[str, ...], lifted: int, emptied: tuple[str, ...]
) -> None:
    rows = dict.fromkeys(("birth_date", "code", "email", "sms"), SOME)
    failures = await store(alone, rows, **dict.fromkeys(shut, HELD))
    for factor in ("code", "birth_date"):
        await alone.change(
            "UPDATE failures SET held_at = 1, hold = 'held' WHERE customer = 'ben' AND factor = :f", f=factor
        )
    assert await failures.release(ANNA, alone.now, alone.record(), ()) == lifted
    assert await left(alone) == ({**rows, **dict.fromkeys(emptied, NONE)}, set())
    assert await failures.held(ANNA) == {}
    assert await alone.rows("SELECT factor FROM failures WHERE customer = 'anna' AND hold IS NOT NULL") == []
    assert list(await failures.held(CustomerId("ben"))) == ["birth_date", "code"]


async def test_a_lock_is_disabled_where_one_of_its_rows_is(alone: Alone) -> None:
    rows = dict.fromkeys(("code", "email", "sms"), SOME)
    disabled = {"held_at": 1, "hold": "disabled"}
    failures = await store(alone, rows, code=HELD, email=disabled, sms=HELD)
    assert await failures.held(ANNA) == {"code": "disabled"}
