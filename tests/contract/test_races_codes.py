"""Codes under attack from all sides at once; each assertion has a broken twin that it catches.

A node is a process of its own: it shares nothing with the others but the database.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, Channel, OrderState, Secret
from chopmark.messaging.ports import OutboxJob
from chopmark.stepup.challenge import Challenge
from chopmark.stepup.ports import Challenges, Charged, FailureLimits, Sequel
from chopmark.stepup.verifier import Verifier
from chopmark.store.repositories.stepup.challenges import ChallengeRepository
from tests.contract.world import ANN, BEN, Errand, World, outcome, world_fixture

world = world_fixture()
NODES = 4


@dataclass
class Count:
    """How many answers were compared with a code."""

    compared: int = 0


class Counting(Verifier):
    """A verifier that counts its comparisons: each derives the code once."""

    count: Count

    def code_of(self, challenge: Challenge) -> Secret | None:
        self.count.compared += 1
        return super().code_of(challenge)


@dataclass
class Naive(ChallengeRepository):
    """The broken twin: it reads, decides in the program, and writes what it has decided."""

    world: World
    barrier: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(NODES))

    def __post_init__(self) -> None:
        super().__init__(self.world.services.foundation.engine)

    async def charge(
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        record: AuditRecord,
        no: AuditRecord,
        notices: tuple[OutboxJob, ...] = (),
    ) -> Charged | Refusal:
        found = await self.get(challenge.id)
        assert found is not None
        refused, charged = found.refusal(now), found.attempts + 1
        await self.barrier.wait()
        if refused is not None:
            return refused
        await self.world.change("UPDATE challenges SET attempts = :n WHERE id = :id", n=charged, id=challenge.id)
        return Charged(replace(found, attempts=charged))

    async def right(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        now: datetime,
        sequel: Sequel,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        found = await self.get(challenge.id)
        assert found is not None
        refused = found.refusal(now)
        await self.barrier.wait()
        if refused is not None and refused.code != "code_blocked":  # the right answer may be the last one
            return refused
        await self.world.change("UPDATE challenges SET state = 'consumed' WHERE id = :id", id=challenge.id)
        return None

    async def wrong(
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> bool:
        return False


def verifiers(world: World, challenges: Challenges, nodes: int = NODES) -> tuple[list[Counting], Count]:
    """Return one verifier for each node over these challenges, and the count that they share."""
    services, count = world.services, Count()
    keys = services.ra.verifier.keys
    made = []
    for _ in range(nodes):
        audit_log = AuditLog(services.foundation.audit_repository, services.foundation.audit_key, world.clock)
        verifier = Counting(challenges, keys, services.foundation.portal, audit_log, world.clock, world.dice)
        verifier.count = count
        made.append(verifier)
    return made, count


async def at_once(nodes: Sequence[Counting], errand: Errand, codes: Sequence[str]) -> list[object]:
    """Send the answers all at once, by turns to each node; a node that is too busy is asked again."""
    rules = errand.services.ra.rekey.rules
    acting = errand.services.ra.context.acting(errand.caller, await errand.order())
    start, sent = asyncio.Event(), await errand.challenge()

    async def one(verifier: Counting, code: str) -> object:
        await start.wait()
        while True:
            made = await outcome(verifier.answer(sent, code, acting, rules))
            if not (isinstance(made, Refusal) and made.code == "busy"):
                return made

    doing: list[Awaitable[object]] = [
        asyncio.ensure_future(one(nodes[number % len(nodes)], code)) for number, code in enumerate(codes)
    ]
    start.set()
    return await asyncio.gather(*doing)


async def wrong_codes(errand: Errand, count: int) -> list[str]:
    return [await errand.wrong_code(step) for step in range(1, count + 1)]


def assert_at_most_five_were_compared(count: Count) -> None:
    assert count.compared <= 5


def assert_one_success(outcomes: list[object]) -> None:
    assert sum(isinstance(made, Challenge) for made in outcomes) == 1


async def test_i10_of_200_parallel_guesses_five_are_compared_and_then_the_right_code_is_refused(world: World) -> None:
    errand = await world.to_sent()
    nodes, count = verifiers(world, world.services.ra.challenges)
    outcomes = await at_once(nodes, errand, await wrong_codes(errand, 200))
    assert_at_most_five_were_compared(count)
    assert count.compared == 5
    kinds = [made.kind for made in outcomes if isinstance(made, Refusal)]
    assert len(kinds) == 200
    assert kinds.count(Kind.WRONG_CODE) <= 4  # a node that was too busy to record it asked again, and was told "dead"
    assert set(kinds) == {Kind.WRONG_CODE, Kind.CODE_DEAD}
    (refused,) = await at_once(nodes, errand, [await errand.code()])
    assert isinstance(refused, Refusal)
    assert refused.kind is Kind.CODE_DEAD
    assert count.compared == 5
    assert await errand.state() is OrderState.BOUND
    assert len(await world.records(Event.RA_CODE_CHARGED)) == 5
    assert len(await world.records(Event.RA_CODE_WRONG)) <= 5
    (row,) = await world.rows("SELECT in_window, ever FROM failures")
    assert (row["in_window"], row["ever"]) == (5, 5)
    assert (await world.audit()).findings == ()


async def test_i10_the_twin_that_reads_and_then_writes_is_caught(world: World) -> None:
    errand = await world.to_sent()
    nodes, count = verifiers(world, Naive(world))
    await at_once(nodes, errand, await wrong_codes(errand, 40))
    with pytest.raises(AssertionError):
        assert_at_most_five_were_compared(count)


async def test_i12_the_right_code_20_times_at_once_on_four_nodes_never_succeeds_twice(world: World) -> None:
    errand = await world.to_sent()
    nodes, count = verifiers(world, world.services.ra.challenges)
    outcomes = await at_once(nodes, errand, [await errand.code()] * 20)
    assert sum(isinstance(made, Challenge) for made in outcomes) <= 1
    assert count.compared <= 5
    assert len(await world.records(Event.RA_CODE_RIGHT)) <= 1
    assert (await world.audit()).findings == ()


async def test_i12_the_right_code_20_times_at_once_succeeds_once(world: World) -> None:
    errand = await world.to_sent()
    nodes, count = verifiers(world, world.services.ra.challenges, 1)
    outcomes = await at_once(nodes, errand, [await errand.code()] * 20)
    assert_one_success(outcomes)
    assert count.compared <= 5
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert len(await world.records(Event.RA_CODE_RIGHT)) == 1


async def test_i12_the_twin_that_reads_and_then_writes_succeeds_often_and_is_caught(world: World) -> None:
    errand = await world.to_sent()
    nodes, _ = verifiers(world, Naive(world))
    outcomes = await at_once(nodes, errand, [await errand.code()] * NODES)
    with pytest.raises(AssertionError):
        assert_one_success(outcomes)


async def test_i11_guesses_at_two_customers_at_once_count_for_each_alone(world: World) -> None:
    anns, bens = await world.to_sent(ANN), await world.to_sent(BEN)
    nodes, count = verifiers(world, world.services.ra.challenges)
    await asyncio.gather(
        at_once(nodes[:2], anns, await wrong_codes(anns, 30)), at_once(nodes[2:], bens, await wrong_codes(bens, 30))
    )
    assert count.compared == 10
    rows = await world.rows("SELECT customer, in_window FROM failures ORDER BY customer")
    assert [(row["customer"], row["in_window"]) for row in rows] == [(ANN, 5), (BEN, 5)]


async def test_i11_the_last_failures_of_a_day_are_not_given_out_twice(world: World) -> None:
    """Eighteen failures are on record: of 40 guesses at once at most two are compared, and then there is a hold."""
    errand = await world.to_sent()
    await world.change(
        "INSERT INTO failures (customer, factor, window_start, in_window, ever) VALUES (:c, 'sms', :now, 18, 18)",
        c=ANN,
        now=int(world.clock.at.timestamp() * 1000),
    )
    nodes, count = verifiers(world, world.services.ra.challenges)
    await at_once(nodes, errand, await wrong_codes(errand, 40))
    assert count.compared == 2
    assert await world.services.ra.locks.held(errand.caller.customer) == {"code": "held"}
    assert len(await world.notices()) == 0  # `answer` of the verifier alone was given no notice to queue


async def test_i16_of_many_requests_for_a_code_at_once_one_is_sent(world: World) -> None:
    errand = await world.to_key()
    nodes = [world.services, *[(await world.node(number)).services for number in range(2, 4)]]
    outcomes = await asyncio.gather(
        *(
            outcome(nodes[number % len(nodes)].ra.rekey.challenge(errand.caller, errand.id, Channel.MOBILE))
            for number in range(12)
        )
    )
    assert sum(not isinstance(made, Refusal) for made in outcomes) == 1
    assert await world.count("challenges") == 1
    assert await world.count("work", "kind = 'code'") == 1


async def test_i11_birth_dates_at_once_are_compared_three_times(world: World) -> None:
    errand = await world.to_code()
    nodes = [world.services, (await world.node(2)).services]
    wrong = errand.world.clock.at.date()
    outcomes = await asyncio.gather(
        *(outcome(nodes[number % 2].ra.rekey.birth_date(errand.caller, errand.id, wrong)) for number in range(30))
    )
    assert all(isinstance(made, Refusal) for made in outcomes)
    assert len(await world.records(Event.RA_BIRTH_DATE_WRONG)) <= 3
    assert await world.services.ra.locks.held(errand.caller.customer) == {"birth_date": "held"}
