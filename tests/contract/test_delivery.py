"""Codes and notices on their way: retried with the same code, void when their object is gone, one worker a row."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from chopmark.app.worker import tasks
from chopmark.audit.events import Event
from chopmark.core.types import Channel
from chopmark.jobs.deliver import LOOK_EVERY_S, Carrier, Delivery, lanes
from chopmark.messaging.failover import Router
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, OutboxJobKind, Receipt, Verdict
from chopmark.messaging.templates import Sender
from chopmark.pki.key_words import key_name
from chopmark.store.repositories.messaging.dispatch import DispatchRepository
from tests.contract.world import ANN, BEN, FAY, ROWS, Errand, World, world_fixture

world = world_fixture()


@dataclass
class Gateway:
    """A gateway that fails as told before it takes messages."""

    faults: list[GatewayFault] = field(default_factory=list)
    channel: Channel = Channel.MOBILE
    name: str = "stub"
    repeats: bool = True
    tried: list[Message] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, message: Message) -> Receipt:
        self.tried.append(message)
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(message)
        return Receipt(self.name, f"n{len(self.taken)}")


def delivery(world: World, gateway: Gateway, holder: str = "one", more: tuple[Gateway, ...] = ()) -> Delivery:
    services = world.services
    carrier = Carrier(Router([gateway, *more]), Sender("示範證券", "Demo Securities", "02-1234-5678"))
    return Delivery(
        services.messaging.outbox,
        DispatchRepository(services.foundation.engine),
        services.ra.verifier,
        services.identity.people,
        carrier,
        services.foundation.audit_log,
        world.clock,
        holder,
    )


class Hanging(Gateway):
    """A gateway that takes a message and says nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def send(self, message: Message) -> Receipt:
        self.asked.set()
        await self.answer.wait()
        return await super().send(message)


async def row(world: World, errand: Errand) -> dict[str, object]:
    (found,) = await world.rows("SELECT * FROM work WHERE order_id = :id AND kind = 'code'", id=errand.id)
    return found


async def test_the_code_that_is_sent_is_the_one_that_is_right(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    gateway = Gateway()
    assert await delivery(world, gateway).once() == 1
    (message,) = gateway.taken
    assert message.destination.reveal() == "+886912555001"
    assert message.code is not None
    assert message.code.reveal() in message.text.reveal()
    assert (await errand.challenge()).reference in message.text.reveal()
    assert (await row(world, errand))["outcome"] == "sent"
    (challenge,) = await world.rows("SELECT sent_at FROM challenges")
    assert challenge["sent_at"] == int(world.clock.at.timestamp() * 1000)
    assert len(await world.records(Event.POST_MESSAGE_SENT)) == 1
    await errand.answer(message.code.reveal())


async def test_f5_a_retry_after_a_fault_sends_the_same_code_under_the_same_id(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    gateway = Gateway([GatewayFault(FaultReason.TIMEOUT, Verdict.LATER), GatewayFault(FaultReason.BUSY, Verdict.LATER)])
    working = delivery(world, gateway)
    assert await working.once() == 1
    assert await working.once() == 0  # it waits
    (challenge,) = await world.rows("SELECT sent_at FROM challenges")
    assert challenge["sent_at"] is None
    for _ in range(2):
        world.clock.later(seconds=60)
        assert await working.once() == 1
    assert len(gateway.tried) == 3
    assert len({(m.message_id, m.text.reveal()) for m in gateway.tried}) == 1
    code = gateway.taken[0].code
    assert code is not None
    await errand.answer(code.reveal())
    assert await world.count("challenges") == 1
    assert await world.count("counters", "used > 1") == 0  # one send was charged


async def test_f6_a_message_whose_code_has_expired_is_not_sent(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    world.clock.later(seconds=300)
    gateway = Gateway()
    assert await delivery(world, gateway).once() == 1
    assert gateway.tried == []
    assert (await row(world, errand))["outcome"] == "expired"
    assert len(await world.records(Event.POST_MESSAGE_FAILED)) == 1


async def tried_at(world: World, gateway: Gateway, errand: Errand, *, until_s: int = 320) -> list[float]:
    """Work by the second; return how long after the code was asked for each attempt was made."""
    began, seen = world.clock.at, []
    working = delivery(world, gateway)
    for _ in range(until_s):
        before = len(gateway.tried)
        await working.once()
        seen += [(world.clock.at - began).total_seconds()] * (len(gateway.tried) - before)
        world.clock.later(seconds=1)
    return seen


async def test_f6_retries_fit_the_codes_life_and_a_server_that_greylists_takes_it(world: World) -> None:
    """Greylisting takes a mail after one to five minutes (RFC 6647 s.4.1); a code lives for five."""
    errand = await world.to_sent()
    await world.told()
    greylisted = [GatewayFault(FaultReason.DEFERRED, Verdict.LATER) for _ in range(99)]
    gateway = Gateway(greylisted)
    tried = await tried_at(world, gateway, errand)
    assert tried == [0, 2, 6, 14, 30, 62, 122, 182, 242, 270]
    assert (await row(world, errand))["outcome"] == "failed:deferred"
    (record,) = await world.records(Event.POST_MESSAGE_FAILED)
    assert json.loads(record["facts"])["code"] == "failed:deferred"


@pytest.mark.parametrize("reason", [FaultReason.TLS, FaultReason.TIMEOUT, FaultReason.AUTHENTICATION, FaultReason.BUSY])
async def test_what_kept_a_code_from_being_sent_stands_in_the_audit_by_name(world: World, reason: FaultReason) -> None:
    errand = await world.to_sent()
    await world.told()
    gateway = Gateway([GatewayFault(reason, Verdict.LATER) for _ in range(99)])
    await tried_at(world, gateway, errand)
    (record,) = await world.records(Event.POST_MESSAGE_FAILED)
    assert json.loads(record["facts"])["code"] == f"failed:{reason.value}"


async def test_i15_a_contact_changed_meanwhile_gets_nothing_and_neither_does_the_old_one(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    await world.services.ra.customer_import.add([{**ROWS[ANN], "mobile": "0912555999"}], "alice")
    gateway = Gateway()
    await delivery(world, gateway).once()
    assert [m for m in gateway.tried if m.code is not None] == []
    assert (await row(world, errand))["outcome"] == "void"


async def test_i14_a_replaced_code_is_not_sent_any_more(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    world.clock.later(seconds=60)
    await errand.send()
    gateway = Gateway()
    await delivery(world, gateway).once()
    assert len(gateway.taken) == 1
    code = gateway.taken[0].code
    assert code is not None
    assert code.reveal() == await errand.code()
    outcomes = await world.rows("SELECT outcome FROM work WHERE kind = 'code' ORDER BY not_before")
    assert [found["outcome"] for found in outcomes] == ["void", "sent"]


async def test_a_final_fault_ends_the_message_and_is_recorded(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    gateway = Gateway([GatewayFault(FaultReason.DESTINATION, Verdict.FINAL)])
    await delivery(world, gateway).once()
    world.clock.later(minutes=1)
    assert await delivery(world, gateway).once() == 0
    assert (await row(world, errand))["outcome"] == "failed:destination"
    assert gateway.taken == []
    assert len(await world.records(Event.POST_MESSAGE_FAILED)) == 1


async def test_two_workers_share_no_row(world: World) -> None:
    for customer in (ANN, BEN, "C6", "C7"):
        await world.to_sent(customer)
        await world.told()
    gateway = Gateway()
    taken = await asyncio.gather(*(delivery(world, gateway, f"worker-{n}").once() for n in range(4)))
    assert sum(taken) == 4
    assert len({m.message_id for m in gateway.taken}) == len(gateway.taken) == 4
    assert len(await world.records(Event.POST_MESSAGE_SENT)) == 4


class Broken(Gateway):
    """A gateway with a mistake in it, which shows with one customer."""

    async def send(self, message: Message) -> Receipt:
        await asyncio.sleep(0)
        if message.customer == ANN:
            raise ZeroDivisionError
        return await super().send(message)


async def test_a_message_that_fails_in_an_unexpected_way_leaves_its_neighbours_sent_and_marked(world: World) -> None:
    for customer in (ANN, BEN, FAY):
        await world.to_sent(customer)
        await world.told()
    gateway = Broken()
    working = delivery(world, gateway)
    with pytest.raises(ZeroDivisionError):
        await working.once()
    assert await world.count("work", "kind = 'code' AND outcome = 'sent'") == len(gateway.taken) == 2
    world.clock.later(seconds=60)
    with pytest.raises(ZeroDivisionError):
        await working.once()
    assert len(gateway.taken) == 2


async def test_while_a_gateway_hangs_the_next_lane_delivers_and_otherwise_it_looks_for_nothing(world: World) -> None:
    await world.to_sent(ANN)
    await world.told()
    hanging, gateway = Hanging(), Gateway()
    first, second, third = delivery(world, hanging, "1"), delivery(world, gateway, "2"), delivery(world, gateway, "3")
    assert await second.assist([first]) == 0
    at_work = asyncio.create_task(first.once())
    await hanging.asked.wait()
    await world.to_sent(BEN)
    await world.told()
    assert await third.assist([first, second]) == 0
    assert await second.assist([first]) == 1
    assert len(gateway.taken) == 1
    hanging.answer.set()
    assert await at_work == 1
    await world.to_sent(FAY)
    await world.told()
    assert await second.assist([first]) == 0  # it is free again
    assert await first.once() == 1


async def test_the_worker_has_a_lane_that_is_woken_and_others_that_help_out(world: World) -> None:
    names = [task.name for task in tasks(world.services) if task.name.startswith("deliver-")]
    assert names == ["deliver-0", "deliver-1", "deliver-2"]
    await world.to_sent()
    await world.told()
    assert await world.once("deliver-1") == 0
    assert await world.once("deliver-0") == 1


async def test_a_message_that_was_put_back_is_looked_for_when_it_is_due_and_else_nobody_looks_so_soon(
    world: World,
) -> None:
    waits: list[float] = []

    async def wake(timeout_s: float) -> bool:
        waits.append(timeout_s)
        return False

    await world.to_sent()
    await world.told()
    first = delivery(world, Gateway([GatewayFault(FaultReason.BUSY, Verdict.LATER)]), "1")
    rest = lanes([first, delivery(world, Gateway(), "2")], wake)[0].wake
    assert rest is not None
    await rest(LOOK_EVERY_S)
    assert await first.once() == 1
    await rest(LOOK_EVERY_S)
    world.clock.later(seconds=2)
    await rest(LOOK_EVERY_S)
    assert await first.once() == 1
    await rest(LOOK_EVERY_S)
    assert waits == [LOOK_EVERY_S, 2.0, 0.0, LOOK_EVERY_S]


async def test_a_worker_that_lost_its_lease_writes_nothing(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    works, kinds = world.services.messaging.outbox, (OutboxJobKind.CODE,)
    (mine,) = await works.claim(kinds, 10, "slow", world.clock.now(), 60)
    assert await works.claim(kinds, 10, "quick", world.clock.now(), 60) == []
    world.clock.later(seconds=60)
    (theirs,) = await works.claim(kinds, 10, "quick", world.clock.now(), 60)
    assert theirs.id == mine.id
    assert not await works.done(mine, "slow", world.clock.now(), "sent", None)
    assert not await works.retry(mine, "slow", world.clock.now() + timedelta(minutes=1), "timeout")
    assert (await row(world, errand))["holder"] == "quick"
    assert await works.done(theirs, "quick", world.clock.now(), "sent", None)
    assert not await works.done(theirs, "quick", world.clock.now(), "sent", None)


async def test_a_crashed_workers_message_is_sent_by_the_next_one_with_the_same_code(world: World) -> None:
    errand = await world.to_sent()
    await world.told()
    await world.services.messaging.outbox.claim((OutboxJobKind.CODE,), 10, "crashed", world.clock.now(), 60)
    gateway = Gateway()
    assert await delivery(world, gateway).once() == 0
    world.clock.later(seconds=60)
    assert await delivery(world, gateway).once() == 1
    code = gateway.taken[0].code
    assert code is not None
    assert code.reveal() == await errand.code()


async def test_a_code_names_the_key_that_it_approves_and_one_to_revoke_names_none(world: World) -> None:
    errand = await world.to_active(ANN)
    revoking = await world.to_revoke(ANN)
    world.clock.later(minutes=5)
    await revoking.send()
    await world.change("UPDATE work SET done_at = 0 WHERE kind <> 'code' OR order_id <> :id", id=revoking.id)
    gateway = Gateway()
    assert await delivery(world, gateway).once() == 1
    other = await world.to_sent(BEN)
    await world.told()
    assert await delivery(world, gateway).once() == 1
    first, second = (message.text.reveal() for message in gateway.taken)
    assert key_name(errand.key.spki_sha256.hex()) not in first
    assert key_name(other.key.spki_sha256.hex()) in second


@pytest.mark.parametrize(("reason", "instead"), [(FaultReason.DESTINATION, 1), (FaultReason.TOO_LATE, 0)])
async def test_a_notice_that_one_contact_does_not_take_goes_to_the_other_unless_its_time_is_over(
    world: World, reason: FaultReason, instead: int
) -> None:
    await world.open(ANN)
    other = '{"other_version": 1, "template": "order_opened", "language": "en", "account_last3": "001"}'
    await world.change("UPDATE work SET facts = :facts", facts=other)
    await world.change("UPDATE work SET channel = 'mobile'")
    gateway = Gateway([GatewayFault(reason, Verdict.FINAL)])
    assert await delivery(world, gateway).once() == 1
    assert await world.count("work", "done_at IS NULL") == instead
