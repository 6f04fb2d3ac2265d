"""Messages and the gateways that must not get one twice: lost answers, crashes in mid-send, workers side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle

import pytest

from chopmark.core.types import Channel, Secret
from chopmark.jobs.deliver import Carrier, Delivery
from chopmark.messaging.configuration import SendLimits
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.reports import DeliveryReports, Report, ReportState
from chopmark.messaging.templates import Sender
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.dispatch import DispatchRepository
from chopmark.store.repositories.messaging.spending import SpendingRepository
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


def delivery(
    world: World, *gateways: Counting, holder: str = "one", limits: Mapping[str, SendLimits] | None = None
) -> Delivery:
    services = world.services
    engine = services.foundation.engine
    spending = SpendingRepository(engine, limits or {})
    router = Router(gateways, DeliveryRepository(engine), breaker=Breaker(threshold=99), spending=spending)
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


class Quick(Listed):
    """A gateway that reports before its answer to the sending has come."""

    def __init__(self, world: World, *states: str) -> None:
        super().__init__()
        self.reports = DeliveryReports([self], DeliveryRepository(world.services.foundation.engine), world.clock)
        self.states = states

    async def send(self, message: Message) -> Receipt:
        receipt = await super().send(message)
        for state in self.states:
            assert await self.reports.came("listed", "s" * 32, {"id": receipt.provider_id or "", "state": state})
        return receipt


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("failed", "failed"), "failed:reported"),
        (("delivered", "failed"), "sent"),
        (("failed", "delivered"), "sent"),
    ],
)
async def test_a_report_that_comes_before_its_message_is_known_to_be_taken_ends_on_it_all_the_same(
    world: World, states: tuple[str, ...], expected: str
) -> None:
    await world.to_sent()
    await world.told()
    gateway = Quick(world, *states)
    await delivery(world, gateway).once()
    assert await outcome(world) == "sent"
    assert await gateway.reports.settle() == 1
    assert await outcome(world) == expected
    assert await gateway.reports.settle() == 0
    assert await world.count("early_reports") == 0
    (row,) = await world.rows("SELECT report FROM deliveries")
    assert row["report"] == ("failed" if expected.startswith("failed") else "delivered")


async def test_a_report_between_the_gateways_answer_and_the_end_of_its_row_is_not_lost(world: World) -> None:
    await world.to_sent()
    await world.told()
    gateway = Quick(world)
    attempts = DeliveryRepository(world.services.foundation.engine)
    (challenge,) = await world.rows("SELECT id FROM challenges")
    message, now = str(challenge["id"]), world.clock.now()
    assert await attempts.begin(message, "listed", now) is None
    await attempts.end(message, "listed", Receipt("listed", "listed-1"), now)
    assert await gateway.reports.came("listed", "s" * 32, {"id": "listed-1", "state": "failed"})
    await delivery(world, gateway).once()
    assert await outcome(world) == "sent"
    await gateway.reports.settle()
    assert await outcome(world) == "failed:reported"
    assert gateway.got == []


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


@pytest.mark.parametrize(
    "limits", [SendLimits(per_day=2), SendLimits(spend_per_day=179, price=80)], ids=["messages", "money"]
)
async def test_a_gateway_whose_day_is_used_up_sends_nothing_and_the_next_one_does(
    world: World, limits: SendLimits
) -> None:
    for customer in (ANN, "C2", "C6", "C7"):
        await world.to_sent(customer)
        await world.told()
    busy = GatewayFault(FaultReason.BUSY, Verdict.LATER)
    first, second = Counting("a", [busy, LOST]), Counting("b")
    workers = [delivery(world, first, second, holder=f"worker-{n}", limits={"a": limits}) for n in range(2)]
    for _ in range(3):
        await asyncio.gather(*(worker.once() for worker in workers))
        world.clock.later(seconds=31)
    paid = await world.rows("SELECT fate FROM deliveries WHERE gateway = 'a' AND fate IN ('taken', 'unknown')")
    assert 1 <= len(paid) <= 2  # what was certainly not taken costs nothing
    used = await world.rows("SELECT used FROM counters WHERE name LIKE 'gateway%'")
    assert [row["used"] for row in used] == [len(paid)]
    ends = await world.rows("SELECT outcome FROM work WHERE kind = 'code'")
    assert [row["outcome"] for row in ends] == ["sent"] * 4


async def test_when_every_day_is_used_up_the_message_ends_and_the_page_offers_the_other_way(world: World) -> None:
    await world.to_sent()
    await world.told()
    gateway = Counting("a")
    await delivery(world, gateway, limits={"a": SendLimits(per_day=0)}).once()
    assert gateway.got == []
    assert await outcome(world) == "failed:budget"


COPY = """
INSERT INTO challenges (id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, digits,
  reference, attempts, max_attempts, created_at, expires_at, resend_at, state, sent_at)
SELECT :id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, digits, reference,
  attempts, max_attempts, CAST(:at AS BIGINT), expires_at, resend_at, CAST(:state AS TEXT), CAST(:at AS BIGINT)
FROM challenges LIMIT 1
"""


async def test_codes_that_are_asked_for_and_never_answered_stop_going_out_by_sms_for_an_hour(world: World) -> None:
    await world.to_sent()
    await world.told()
    ago = int((world.clock.at - timedelta(minutes=10)).timestamp() * 1000)

    def pumping(state: str, count: int, first: int) -> Script[None]:
        for number in range(first, first + count):
            yield query(COPY, id=f"P{number:025}", at=ago, state=state)

    engine = world.services.foundation.engine
    await engine.run(pumping, "consumed", 40, 0)
    await engine.run(pumping, "expired", 160, 40)
    spending = SpendingRepository(engine, {})
    assert not await spending.pumped(world.clock.at)  # many, and a fifth of them was answered
    await engine.run(pumping, "expired", 10, 200)
    assert not await spending.pumped(world.clock.at)  # what was found holds for half a minute
    world.clock.later(seconds=30)
    assert await spending.pumped(world.clock.at)
    gateway = Counting("a")
    await delivery(world, gateway).once()
    assert gateway.got == []
    assert await outcome(world) == "failed:budget"
    assert not await spending.pumped(world.clock.at + timedelta(hours=1))
