"""Messages and the gateways that must not get one twice: lost answers, crashes in mid-send, workers side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import pytest

from chopmark.core.types import Channel, Secret
from chopmark.jobs.deliver import Carrier, Delivery
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.reports import DeliveryReports, Report, ReportState
from chopmark.messaging.templates import Sender
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.dispatch import DispatchRepository
from tests.contract.world import ANN, World, world_fixture

world = world_fixture()

Answer = GatewayFault | type[BaseException] | None


@dataclass
class Counting:
    """A gateway that may have the message whatever it answers: it counts every message that it was handed."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    channel: Channel = Channel.MOBILE
    repeats: bool = False
    got: list[Message] = field(default_factory=list)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, message: Message) -> Receipt:
        self.got.append(message)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, GatewayFault):
            raise answer
        if answer is not None:
            raise answer
        return Receipt(self.name, f"{self.name}-{len(self.got)}")


class Killed(BaseException):
    """The process ends in the middle of a call: nothing after it runs."""


LOST = GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN)


def delivery(world: World, *gateways: Counting, holder: str = "one") -> Delivery:
    services = world.services
    router = Router(gateways, DeliveryRepository(services.foundation.engine), breaker=Breaker(threshold=99))
    return Delivery(
        services.messaging.outbox,
        DispatchRepository(services.foundation.engine),
        services.ra.verifier,
        services.identity.people,
        Carrier(router, Sender("示範證券", "Demo Securities", "02-1234-5678")),
        services.foundation.audit_log,
        world.clock,
        holder,
    )


async def outcome(world: World) -> object:
    (row,) = await world.rows("SELECT outcome FROM work WHERE kind = 'code'")
    return row["outcome"]


async def test_a_lost_answer_sends_the_same_code_over_the_next_gateway_and_never_again_over_the_first(
    world: World,
) -> None:
    errand = await world.to_sent()
    await world.told()
    busy = GatewayFault(FaultReason.BUSY, Verdict.LATER)
    first, second = Counting("a", [LOST]), Counting("b", [busy, busy])
    working = delivery(world, first, second)
    for _ in range(3):
        assert await working.once() == 1
        world.clock.later(seconds=60)
    assert (len(first.got), len(second.got)) == (1, 3)
    texts = {(message.message_id, message.text.reveal()) for message in (*first.got, *second.got)}
    assert len(texts) == 1
    code = first.got[0].code
    assert code is not None
    assert await outcome(world) == "sent"
    await errand.answer(code.reveal())  # whichever of the two messages the customer reads
    rows = await world.rows("SELECT gateway, fate, tries, provider_id FROM deliveries ORDER BY gateway")
    assert [tuple(dict(row).values()) for row in rows] == [("a", "unknown", 1, None), ("b", "taken", 3, "b-3")]


async def test_when_every_answer_was_lost_the_message_ends_and_the_page_says_so(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    first, second = Counting("a", [LOST]), Counting("b", [LOST])
    await delivery(world, first, second).once()
    world.clock.later(seconds=60)
    assert await delivery(world, first, second).once() == 0
    assert (len(first.got), len(second.got)) == (1, 1)
    assert await outcome(world) == "failed:timeout"
    code = first.got[0].code
    assert code is not None
    await errand.answer(code.reveal())  # it may have arrived all the same


async def test_a_worker_killed_in_mid_send_leaves_the_message_to_the_next_gateway(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    first, second = Counting("a", [Killed]), Counting("b")
    with pytest.raises(Killed):
        await delivery(world, first, second, holder="killed").once()
    (row,) = await world.rows("SELECT fate FROM deliveries")
    assert row["fate"] == "begun"
    world.clock.later(seconds=60)
    assert await delivery(world, first, second, holder="next").once() == 1
    assert (len(first.got), len(second.got)) == (1, 1)
    assert first.got[0].text.reveal() == second.got[0].text.reveal()
    code = second.got[0].code
    assert code is not None
    await errand.answer(code.reveal())


async def test_a_worker_killed_after_the_gateway_took_the_message_leaves_nothing_to_be_sent(world: World) -> None:
    await world.to_sent()
    await world.told()
    first, second = Counting("a", [GatewayFault(FaultReason.BUSY, Verdict.LATER)]), Counting("b")
    attempts = DeliveryRepository(world.services.foundation.engine)
    (challenge,) = await world.rows("SELECT id FROM challenges")
    message, now = str(challenge["id"]), world.clock.now()
    assert await attempts.begin(message, "a", now) is None
    await attempts.end(message, "a", GatewayFault(FaultReason.BUSY, Verdict.LATER), now)
    assert await attempts.begin(message, "b", now) is None
    await attempts.end(message, "b", Receipt("b", "b-7"), now)  # and then the process died
    assert await delivery(world, first, second).once() == 1
    assert first.got == second.got == []
    assert await outcome(world) == "sent"


async def test_two_workers_with_gateways_that_misbehave_in_turn_send_no_code_twice_and_lose_none(world: World) -> None:
    people = (ANN, "C2", "C6", "C7")
    for customer in people:
        await world.to_sent(customer)
        await world.told()
    faults: list[Answer] = [
        LOST,
        None,
        GatewayFault(FaultReason.BUSY, Verdict.LATER),
        GatewayFault(FaultReason.CREDIT, Verdict.ALARM),
        GatewayFault(FaultReason.CONTENT, Verdict.OTHER),
    ]
    turns = cycle(faults)
    first, second = (Counting(name, [next(turns) for _ in range(7)]) for name in "ab")
    workers = [delivery(world, first, second, holder=f"worker-{n}") for n in range(2)]
    for _ in range(9):
        await asyncio.gather(*(worker.once() for worker in workers))
        world.clock.later(seconds=31)
    for gateway in (first, second):
        fates = await world.rows("SELECT message, tries, fate FROM deliveries WHERE gateway = :name", name=gateway.name)
        handed = sum(int(str(row["tries"])) for row in fates)
        assert handed == len(gateway.got)
        for row in fates:  # only what was certainly not taken was handed over again
            assert row["fate"] != "begun"
    taken = await world.rows("SELECT message FROM deliveries WHERE fate = 'taken'")
    assert len({row["message"] for row in taken}) == len(taken)
    ends = await world.rows("SELECT outcome, done_at FROM work WHERE kind = 'code'")
    assert len(ends) == len(people)
    assert all(row["done_at"] is not None for row in ends)
    assert all(row["outcome"] == "sent" or str(row["outcome"]).startswith("failed:") for row in ends)


class Listed(Counting):
    """A gateway that reports."""

    def __init__(self) -> None:
        super().__init__("listed")
        self.report_secret: Secret | None = Secret("s" * 32)
        self.asked: list[list[str]] = []
        self.says: dict[str, ReportState] = {}

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        return Report(fields["id"], ReportState(fields["state"]), "x") if "id" in fields else None

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        self.asked.append(list(provider_ids))
        return [Report(one, self.says[one]) for one in provider_ids if one in self.says]


async def test_a_report_ends_on_its_message_and_late_ones_duplicates_and_strangers_do_no_harm(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    gateway = Listed()
    reports = DeliveryReports([gateway], DeliveryRepository(world.services.foundation.engine), world.clock)
    failed = {"id": "listed-1", "state": "failed"}
    assert await reports.came("listed", "s" * 32, failed)  # before we know that it was taken: nothing to put it on
    await delivery(world, gateway).once()
    assert await outcome(world) == "sent"
    for fields in ({"id": "listed-1", "state": "waiting"}, {"id": "other", "state": "failed"}, {}):
        assert await reports.came("listed", "s" * 32, fields)
    assert await outcome(world) == "sent"
    assert not await reports.came("listed", "s" * 31 + "t", failed)
    assert not await reports.came("nobody", "s" * 32, failed)
    assert await outcome(world) == "sent"
    for _ in range(2):
        assert await reports.came("listed", "s" * 32, failed)
        assert await outcome(world) == "failed:reported"  # the page offers the other channel
    for state in ("delivered", "failed", "delivered"):  # it came on after all, and that is the last word
        assert await reports.came("listed", "s" * 32, {"id": "listed-1", "state": state})
        assert await outcome(world) == "sent"
    code = gateway.got[0].code
    assert code is not None
    await errand.answer(code.reveal())


async def test_what_is_not_reported_is_asked_for_again_whenever_its_age_has_doubled(world: World) -> None:
    await world.to_sent()
    await world.told()
    gateway = Listed()
    repository = DeliveryRepository(world.services.foundation.engine)
    reports = DeliveryReports([gateway], repository, world.clock)
    await delivery(world, gateway).once()
    began, asked = world.clock.at, []
    for _ in range(100):
        if await reports.ask():
            asked.append((world.clock.at - began).total_seconds())
        world.clock.later(seconds=30)
    assert asked == [30, 60, 120, 240, 480, 960, 1920]
    gateway.says["listed-1"] = ReportState.FAILED
    world.clock.later(minutes=30)
    one_each = await asyncio.gather(reports.ask(), reports.ask())
    assert sum(one_each) == 1  # two workers do not ask twice
    assert await outcome(world) == "failed:reported"
    world.clock.later(hours=1)
    assert await reports.ask() == 0


async def test_a_gateway_without_a_long_secret_takes_no_reports_by_itself(world: World) -> None:
    gateway = Listed()
    reports = DeliveryReports([gateway], DeliveryRepository(world.services.foundation.engine), world.clock)
    for short in (None, Secret(""), Secret("s" * 31)):
        gateway.report_secret = short
        assert not await reports.came("listed", "" if short is None else short.reveal(), {"id": "1", "state": "failed"})
