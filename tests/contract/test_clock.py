"""A clock that was ahead, or leaps: what it left on record binds nobody, and what cannot be undone waits (I13, F12)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from chopmark.app.services import build
from chopmark.audit.findings import Code, Level
from chopmark.audit.headfile import read_heads
from chopmark.audit.record import AuditKeys
from chopmark.audit.verify import verify
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber, CustomerId, OrderState
from chopmark.identity.entries import Entry, Way, signin_limits
from chopmark.jobs.clock import ClockNote, note_of
from chopmark.messaging.ports import OutboxJobKind
from chopmark.pki import tsp
from chopmark.pki.tsp import FailInfo
from chopmark.store.engine.columns import ms
from chopmark.store.repositories.leases import take
from chopmark.store.repositories.rate_limits import RateLimitRepository
from tests.contract.world import ANN, PASSWORD_LOGIN, START, World, refusal, world_fixture

world = world_fixture()

DAY_AHEAD = timedelta(days=1)
MONTH_AHEAD = timedelta(days=30)
ASK = tsp.build_request(b"h" * 32, 7)
"""A time-stamp request."""


@dataclass
class Machine:
    """A machine whose counter since its start runs beside the clock that a test moves."""

    up: timedelta = timedelta(hours=5)
    kept: bool | None = True

    def since_boot(self) -> timedelta:
        return self.up

    def synchronised(self) -> bool | None:
        return self.kept


async def watched(world: World, machine: Machine) -> World:
    """The same installation in a process that has a machine's word besides the clock."""
    services = await build(world.services.foundation.settings, world.clock, world.dice, machine=machine)
    made = world.with_services(services)
    world.nodes.append(services)
    return made


# what is on record of a future that was none --------------------------------------------------------------------------


async def test_a_lease_that_is_further_ahead_than_its_own_length_is_void(world: World) -> None:
    engine = world.services.foundation.engine

    async def taken(holder: str, at: datetime) -> bool:
        until = ms(at + timedelta(seconds=10))
        return await engine.run(take, "places", holder, ms(at), until) is not None

    assert await taken("fast", START + DAY_AHEAD)
    assert await taken("right", START)
    assert not await taken("fast", START + timedelta(seconds=9))
    # another machine's clock that is a little ahead takes nothing away
    assert not await taken("early", START - timedelta(seconds=59))


async def test_ten_seconds_a_day_ahead_leave_sequence_anchor_and_codes_going_on_at_once(world: World) -> None:
    await world.to_sent()
    world.clock.at = START + DAY_AHEAD
    await world.once("sequence")
    await world.once("anchor")
    (before,) = await world.rows("SELECT COUNT(*) AS n FROM heads")
    claimed = await world.services.messaging.outbox.claim(
        (OutboxJobKind.CODE, OutboxJobKind.NOTICE), 10, "dead", world.clock.now(), 30
    )
    world.clock.at = START + timedelta(seconds=10)
    await world.to_sent("C2")
    await world.once("sequence")
    (after,) = await world.rows("SELECT COUNT(*) AS n FROM heads")
    assert after["n"] == before["n"] + 1
    assert await world.count("leaves", "entry NOT IN (SELECT entry FROM places)") == 0
    again = await world.services.messaging.outbox.claim(
        (OutboxJobKind.CODE, OutboxJobKind.NOTICE), 10, "alive", world.clock.now(), 30
    )
    assert {work.id for work in claimed} <= {work.id for work in again}


async def test_work_that_was_put_off_by_a_clock_ahead_is_due_now(world: World) -> None:
    await world.to_sent()
    await world.change("UPDATE work SET not_before = :at", at=ms(START + MONTH_AHEAD))
    again = await world.services.messaging.outbox.claim(
        (OutboxJobKind.CODE, OutboxJobKind.NOTICE), 10, "alive", world.clock.now(), 30
    )
    assert len(again) == await world.count("work")
    await world.change("UPDATE work SET leased_until = 0, not_before = :at", at=ms(START + timedelta(minutes=5)))
    assert (
        await world.services.messaging.outbox.claim(
            (OutboxJobKind.CODE, OutboxJobKind.NOTICE), 10, "alive", world.clock.now(), 30
        )
        == []
    )


async def test_sign_in_counters_of_a_clock_ahead_lock_nobody_out_for_a_month(world: World) -> None:
    rate_limits, way = RateLimitRepository(world.services.foundation.engine), Way(ANN, Entry.STRANGER)
    limits = signin_limits(way, "192.0.2.0/24")
    for _ in range(3):
        assert await rate_limits.take(limits, START + MONTH_AHEAD) is None
    assert await rate_limits.take(limits, START + MONTH_AHEAD) is not None
    for _ in range(3):
        assert await rate_limits.take(limits, START) is None
    assert (spent := await rate_limits.take(limits, START)) is not None
    assert spent.retry_after_s <= 30


async def test_failures_of_a_clock_ahead_count_from_now_and_the_audit_agrees(world: World) -> None:
    errand = await world.to_sent()
    world.clock.at = START + timedelta(minutes=4)
    await refusal(errand.answer(await errand.wrong_code()))
    world.clock.at = START + timedelta(minutes=2)
    await refusal(errand.answer(await errand.wrong_code(2)))
    (row,) = await world.rows("SELECT window_start, in_window, ever FROM failures")
    assert (row["window_start"], row["in_window"], row["ever"]) == (ms(world.clock.now()), 2, 2)
    assert (await world.audit()).sound


async def test_a_session_of_a_clock_ahead_is_over(world: World) -> None:
    door = world.services.identity.sessions
    world.clock.at = START + MONTH_AHEAD
    opened = await door.open(CustomerId(ANN), PASSWORD_LOGIN, None, "portal", None)
    assert await door.seen(opened.token.reveal()) is not None
    world.clock.at = START
    assert await door.seen(opened.token.reveal()) is None


async def test_a_launch_ticket_of_a_clock_ahead_is_worth_nothing(world: World) -> None:
    context = world.services.identity.launches
    await context.put_client("trading", "trading program", "alice")
    client = (await context.clients())[0]
    number = AccountNumber("F014000-0000001")
    for ahead, right in ((timedelta(seconds=50), True), (MONTH_AHEAD, False)):
        world.clock.at = START + ahead
        ticket = await context.create(client, CustomerId(ANN), number, PASSWORD_LOGIN, None)
        world.clock.at = START
        taken = context.take(ticket, "visitor")
        if right:
            await taken
        else:
            assert (await refusal(taken)).kind is Kind.FORBIDDEN


async def test_a_code_of_a_clock_ahead_is_worth_nothing_and_another_one_may_be_sent_at_once(world: World) -> None:
    errand = await world.to_key()
    world.clock.at = START + timedelta(hours=2)
    await errand.send()
    code = await errand.code()
    world.clock.at = START + timedelta(seconds=1)
    await refusal(errand.answer(code))
    assert await errand.state() is OrderState.BOUND
    await errand.send()
    await errand.answer(await errand.code())
    assert await errand.state() is OrderState.CODE_VERIFIED


async def test_a_request_that_began_by_a_clock_ahead_may_be_made_again_now(world: World) -> None:
    kept = world.services.ra.idempotency
    assert await kept.begin("C1", "name", b"body", START + DAY_AHEAD) is None  # and its process died
    assert await kept.begin("C1", "name", b"body", START) is None
    assert isinstance(await kept.begin("C1", "name", b"body", START + timedelta(seconds=1)), Refusal)


# a clock that leaps ---------------------------------------------------------------------------------------------------


async def test_a_leap_of_a_month_destroys_no_order_and_no_unproven_certificate(world: World) -> None:
    machine = Machine()
    here = await watched(world, machine)
    issued = await here.to_issued()
    other = await here.to_key("C2")
    here.clock.at += MONTH_AHEAD  # the machine has run for no second meanwhile
    assert await here.once("overdue") == 0
    assert await here.once("clean-up") == 0
    assert [(await one.stored()).state for one in (issued, other)] == [OrderState.ISSUED, OrderState.BOUND]
    assert "forward" in (here.services.audit.clockwatch.trouble() or "")
    here.clock.at = START
    assert here.services.audit.clockwatch.trouble() is None
    machine.up += MONTH_AHEAD  # and now the month has passed
    here.clock.at += MONTH_AHEAD
    assert await here.once("overdue") == 2
    assert (await issued.stored()).state is not OrderState.ISSUED


@pytest.mark.parametrize(
    ("moved", "passed", "kept", "trouble"),
    [
        (61, 0, True, "forward"),
        (60, 0, True, None),
        (-61, 0, True, "back"),
        (86_400, 86_400, True, None),
        (0, 61, True, "back"),
        (0, 0, False, "keeps"),
        (0, 0, None, None),
    ],
)
async def test_time_stamps_are_refused_with_the_reason_while_the_clock_is_in_doubt(
    world: World, moved: int, passed: int, *, kept: bool | None, trouble: str | None
) -> None:
    machine = Machine()
    here = await watched(world, machine)
    await here.once("timestamp-key")
    machine.kept = kept
    machine.up += timedelta(seconds=passed)
    here.clock.later(seconds=moved)
    said = here.services.audit.clockwatch.trouble()
    assert (said is None) == (trouble is None)
    assert trouble is None or (said is not None and trouble in said)
    answer = await here.timestamps.answer(ASK)
    refused = answer == tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)
    assert refused == (trouble is not None)


async def test_a_process_that_begins_before_the_newest_head_is_in_doubt_until_it_has_passed(world: World) -> None:
    await world.to_key()
    world.clock.later(days=1)
    await world.once("sequence")
    world.clock.at = START
    machine = Machine()
    here = await watched(world, machine)
    assert "newest head" in (here.services.audit.clockwatch.trouble() or "")
    assert await here.once("overdue") == 0
    machine.up += DAY_AHEAD
    here.clock.at += DAY_AHEAD
    assert here.services.audit.clockwatch.trouble() is None


async def test_the_worker_notes_a_clock_in_doubt_for_the_operators_check_and_notes_its_end(world: World) -> None:
    machine = Machine()
    here = await watched(world, machine)
    note = ClockNote(
        here.services.audit.clockwatch.trouble,
        here.services.foundation.installation,
        here.services.foundation.settings.node,
    )
    name = note_of(here.services.foundation.settings.node)
    await note.once()
    assert await here.services.foundation.installation.get(name) is None
    here.clock.later(days=1)
    await note.once()
    assert "forward by 1 day" in (await here.services.foundation.installation.get(name) or "")
    machine.up += DAY_AHEAD
    again = ClockNote(
        here.services.audit.clockwatch.trouble,
        here.services.foundation.installation,
        here.services.foundation.settings.node,
    )
    await again.once()  # another process, after this one was killed
    assert await here.services.foundation.installation.get(name) == ""


async def test_a_record_that_was_placed_long_after_its_time_is_an_error_of_the_audit(world: World) -> None:
    async def found() -> list[tuple[Code, Level]]:
        services, lines = world.services, read_heads(world.services.foundation.settings.data / "heads.jsonl")
        async with services.foundation.audit_repository.snapshot() as source:
            public, keys = [services.audit.head_signer.public_key], AuditKeys([services.foundation.audit_key])
            report = await verify(source, keys, public, lines, world.clock.now())
        return [(finding.code, finding.level) for finding in report.findings]

    world.clock.later(days=1)  # what founded the installation waits for its first worker
    await world.once("sequence")
    assert await found() == []
    await world.to_key()
    world.clock.later(seconds=60)
    await world.once("sequence")
    assert await found() == []
    await world.to_key("C2")
    world.clock.later(seconds=61)
    await world.once("sequence")
    assert await found() == [(Code.PLACED_LATE, Level.ERROR)]
    await world.to_key("C6")
    world.clock.later(seconds=-61)
    await world.once("sequence")
    assert (Code.PLACED_EARLY, Level.ERROR) in await found()
