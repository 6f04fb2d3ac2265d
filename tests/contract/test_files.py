"""What a step gives back is what it has left on record, and what is read at the door is that too."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.types import AccountNumber, Channel, KeyHome, Operation, OrderId, Reason
from chopmark.identity.sessions import ABSOLUTE, IDLE, digest
from chopmark.ra.ports import Answer
from chopmark.ra.snapshots import CustomerSnapshot, OrderSnapshot, Repeat, SessionSnapshot
from chopmark.store.repositories.records import RECORDS, record_of
from tests.contract.world import ANN, BEN, PASSWORD_LOGIN, Errand, World, world_fixture

world = world_fixture()
ACCOUNT = AccountNumber("F014000-0000001")
BIRTH = date(1961, 7, 15)
REPEAT = Repeat("key-1", "POST:/api/v1/orders", b"x" * 32)


async def assert_recorded(errand: Errand, given: OrderSnapshot) -> None:
    found = await errand.services.ra.context.reread(errand.caller, errand.id)
    assert replace(given, tips=()) == replace(found, tips=())


async def bind(errand: Errand) -> OrderSnapshot:
    renewal = (await errand.order()).operation is Operation.REKEY
    proof = errand.proof(await errand.nonce()) if renewal else None
    return await errand.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), proof)


@pytest.mark.parametrize("operation", [Operation.ENROL, Operation.REKEY, Operation.REPLACE], ids=str)
async def test_each_step_gives_back_the_file_that_is_on_record(world: World, operation: Operation) -> None:
    if operation is not Operation.ENROL:
        await world.to_active(ANN)
        world.clock.later(days=340)
    errand = await world.open(ANN, operation, Reason.LOST if operation is Operation.REPLACE else None)
    rekey, mine = errand.services.ra.rekey, (errand.caller, errand.id)
    await assert_recorded(errand, await bind(errand))
    await assert_recorded(errand, await bind(errand))
    await assert_recorded(errand, await rekey.challenge(*mine, Channel.MOBILE))
    errand.key = ClientKey.generate()
    await assert_recorded(errand, await bind(errand))
    for channel in (Channel.EMAIL, Channel.MOBILE):
        world.clock.later(seconds=61)
        await assert_recorded(errand, await rekey.challenge(*mine, channel))
    await assert_recorded(errand, await rekey.answer(*mine, await errand.code()))
    await assert_recorded(errand, await rekey.birth_date(*mine, BIRTH))
    for _ in range(2):
        await assert_recorded(errand, await rekey.confirm(*mine, await errand.terms()))
    proof = await errand.install_proof()
    for _ in range(2):
        await assert_recorded(errand, await rekey.prove(*mine, proof))


async def test_a_key_a_code_and_a_birth_date_open_no_contact_because_its_row_says_what_they_ask(world: World) -> None:
    errand = await world.to_sent(ANN)
    code = await errand.code()
    await world.change("UPDATE contacts SET value_sealed = :nothing", nothing=b"nobody can open this")
    await errand.services.ra.rekey.answer(errand.caller, errand.id, code)
    await errand.services.ra.rekey.birth_date(errand.caller, errand.id, BIRTH)
    errand.key = ClientKey.generate()
    await bind(errand)


async def test_what_submits_an_order_knows_all_its_records_and_the_one_that_it_writes(world: World) -> None:
    errand = await world.to_review(ANN)
    context = errand.services.ra.context
    acting = context.acting(errand.caller, await errand.order())
    snapshot = await context.snapshot(errand.caller, errand.id)
    sent = await errand.services.ra.rekey.issuing.submit(snapshot, await errand.terms(), acting)
    assert sent is not None
    stored = [record_of(row) for row in await world.rows(RECORDS, chain=errand.id)]
    assert [replace(one, index=None) for one in sent[1]] == [replace(one, index=None) for one in stored]
    assert [one.event for one in sent[1]][-1] == Event.RA_ORDER_SUBMITTED


async def test_an_order_comes_with_the_file_that_is_on_record_when_it_is_new_and_when_it_was_open(world: World) -> None:
    caller = world.caller(ANN)
    for _ in range(2):
        given = await world.services.ra.enrolment.start(caller, Operation.ENROL, ACCOUNT, KeyHome.FILE)
        found = await world.services.ra.context.reread(caller, given.order.id)
        assert replace(given, tips=()) == replace(found, tips=())


async def session(world: World, customer: str) -> bytes:
    opened = await world.services.identity.sessions.open(
        world.caller(customer).customer, PASSWORD_LOGIN, None, "launch", None
    )
    return digest(opened.token.reveal())


async def enter(
    world: World, who: bytes, order: OrderId | None, repeat: Repeat | None = None
) -> SessionSnapshot | None:
    now = world.clock.now()
    return await world.services.ra.context.snapshots.enter(who, order, repeat, now, now - IDLE)


@pytest.mark.parametrize("repeat", [None, REPEAT], ids=["read", "change"])
async def test_whoever_enters_has_the_file_of_their_order(world: World, repeat: Repeat | None) -> None:
    errand = await world.to_sent(ANN)
    found = await enter(world, await session(world, ANN), errand.id, repeat)
    assert found is not None
    assert (found.session.customer, found.begun) == (ANN, repeat is not None)
    assert found.snapshot == await world.services.ra.context.snapshots.order(errand.caller.customer, errand.id)


@pytest.mark.parametrize("repeat", [None, REPEAT], ids=["read", "change"])
async def test_whoever_enters_without_an_order_has_their_own_file(world: World, repeat: Repeat | None) -> None:
    await world.to_active(ANN)
    found = await enter(world, await session(world, ANN), None, repeat)
    assert found is not None
    assert isinstance(found.snapshot, CustomerSnapshot)
    assert found.snapshot == await world.services.ra.context.snapshots.customer(world.caller(ANN).customer)


async def test_nobody_enters_with_the_file_of_another_customers_order(world: World) -> None:
    errand = await world.to_key(ANN)
    found = await enter(world, await session(world, BEN), errand.id)
    assert found is not None
    assert (found.session.customer, found.snapshot) == (BEN, None)


@pytest.mark.parametrize("later", [IDLE, ABSOLUTE, IDLE + timedelta(seconds=1)], ids=["idle", "over", "a second"])
async def test_nobody_enters_with_a_session_that_has_ended_and_no_idempotency_key_is_taken(
    world: World, later: timedelta
) -> None:
    who = await session(world, ANN)
    world.clock.at += later
    assert await enter(world, who, None, REPEAT) is None
    assert await enter(world, b"\0" * 32, None, REPEAT) is None
    assert await world.count("idempotency") == 0


async def test_i42_an_idempotency_key_is_taken_once_at_the_door(world: World) -> None:
    errand = await world.to_key(ANN)
    who = await session(world, ANN)
    first, second = await enter(world, who, errand.id, REPEAT), await enter(world, who, errand.id, REPEAT)
    assert first is not None
    assert second is not None
    assert (first.begun, second.begun, second.snapshot) == (True, False, None)
    assert await world.count("idempotency", "scope = 'C1:POST:/api/v1/orders'") == 1


async def test_answers_are_stored_together_and_found_by_the_next_node(world: World) -> None:
    ledger, now = world.services.ra.idempotency, world.clock.now()
    for number in range(50):
        assert await ledger.begin("scope", f"key-{number}", b"x", now) is None
        ledger.finish("scope", f"key-{number}", Answer(200, f'"{number}"'))
    await ledger.stored()
    second = (await world.node(2)).services.ra.idempotency
    for number in range(50):
        assert await second.begin("scope", f"key-{number}", b"x", now) == Answer(200, f'"{number}"')
