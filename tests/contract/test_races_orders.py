"""Double clicks, two tabs, two nodes: many at once, and exactly one comes of it."""

import asyncio
from collections.abc import Awaitable, Callable

from chopmark.app.services import Services
from chopmark.audit.events import Event
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, CertificateState, KeyHome, Operation, OrderState
from chopmark.ra.model import Order
from chopmark.ra.snapshots import OrderSnapshot
from tests.contract.world import ANN, World, outcome, world_fixture

world = world_fixture()


async def nodes(world: World, count: int) -> list[Services]:
    return [world.services, *[(await world.node(number)).services for number in range(2, count + 1)]]


async def at_once(houses: list[Services], times: int, doing: Callable[[Services], Awaitable[object]]) -> list[object]:
    """Do it this often, all at once, by turns at each node; a node that is too busy is asked again."""

    async def one(services: Services) -> object:
        while True:
            made = await outcome(doing(services))
            if not (isinstance(made, Refusal) and made.code == "busy"):
                return made

    return await asyncio.gather(*(one(houses[number % len(houses)]) for number in range(times)))


async def test_i2_fifty_confirmations_at_once_make_one_certificate(world: World) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    houses = await nodes(world, 3)
    outcomes = await at_once(houses, 50, lambda services: services.ra.rekey.confirm(errand.caller, errand.id, terms))
    waits = {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED}
    assert all(isinstance(made, OrderSnapshot) and made.order.state in waits for made in outcomes)
    assert await errand.state() is OrderState.ISSUED
    assert await world.count("certificates") == 1
    assert await world.count("holdings") == 1
    assert len(await world.records(Event.RA_ORDER_SUBMITTED)) == 1
    assert len(await world.records(Event.CA_CERTIFICATE_ISSUED)) == 1
    assert len(await world.records(Event.RA_ORDER_ISSUED)) == 1
    assert (await world.audit()).findings == ()


async def test_i2_twenty_proofs_at_once_activate_once(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    world.clock.later(days=340)
    errand = await world.to_issued(ANN, Operation.REKEY)
    proof = await errand.install_proof()
    houses = await nodes(world, 3)
    outcomes = await at_once(houses, 20, lambda services: services.ra.rekey.prove(errand.caller, errand.id, proof))
    assert all(isinstance(made, OrderSnapshot) and made.order.state is OrderState.ACTIVE for made in outcomes)
    assert len(await world.records(Event.RA_CERTIFICATE_ACTIVATED)) == 2  # the old one's and this one
    assert await world.count("work", "kind = 'revoke'") == 1
    assert await world.count("holdings", "state = 'active'") == 1
    assert (await world.stored_certificate(old.serial)).state is CertificateState.SUPERSEDED


async def test_i2_an_order_opened_from_many_tabs_at_once_is_one(world: World) -> None:
    houses = await nodes(world, 3)
    account = AccountNumber("F014000-0000001")
    outcomes = await at_once(
        houses, 20, lambda services: services.ra.enrolment.start(world.caller(), Operation.ENROL, account, KeyHome.FILE)
    )
    assert len({made.order.id for made in outcomes if isinstance(made, OrderSnapshot)}) == 1
    assert all(isinstance(made, OrderSnapshot) for made in outcomes)
    assert await world.count("orders") == 1
    assert len(await world.records(Event.RA_ORDER_OPENED)) == 1


async def test_a_key_bound_from_two_nodes_with_one_proof_uses_its_nonce_once(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    proof, request = errand.proof(await errand.nonce()), errand.key.request()
    houses = await nodes(world, 3)
    outcomes = await at_once(
        houses, 12, lambda services: services.ra.rekey.bind_key(errand.caller, errand.id, request, proof)
    )
    assert any(isinstance(made, OrderSnapshot) for made in outcomes)
    assert len(await world.records(Event.RA_KEY_BOUND)) == 2  # the first certificate's and this one
    assert await errand.state() is OrderState.BOUND


async def test_revoked_from_many_tabs_at_once_is_revoked_once(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    terms = await errand.terms()
    houses = await nodes(world, 3)
    outcomes = await at_once(
        houses, 12, lambda services: services.ra.revocation.confirm(errand.caller, errand.id, terms)
    )
    assert any(isinstance(made, Order) and made.state is OrderState.DONE for made in outcomes)
    assert len(await world.records(Event.RA_ORDER_DONE)) == 1
    assert len(await world.records(Event.CA_CERTIFICATE_REVOKED)) == 1
    assert await world.count("work", "kind = 'revoke'") == 1


async def test_a_confirmation_and_a_cancellation_at_once_leave_no_certificate_without_its_order(world: World) -> None:
    """Whoever comes first: afterwards order, holding and CA tell the same story."""
    errand = await world.to_review()
    terms = await errand.terms()
    first, second = await nodes(world, 2)
    await asyncio.gather(
        outcome(first.ra.rekey.confirm(errand.caller, errand.id, terms)),
        *(outcome(second.ra.enrolment.cancel(errand.caller, errand.id)) for _ in range(8)),
    )
    await world.work()
    state = await errand.state()
    held = [h.state for h in await world.services.ra.customer_queries.certificates(errand.caller)]
    at_ca = [row["state"] for row in await world.rows("SELECT state FROM certificates")]
    if state is OrderState.ISSUED:
        assert (held, at_ca) == ([CertificateState.ISSUED], ["issued"])
    else:
        assert state is OrderState.CANCELLED
        assert set(held) <= {CertificateState.REVOKED}
        assert set(at_ca) <= {"revoked"}


async def test_f22_a_revocation_during_a_renewal_ends_with_no_good_certificate_unasked_for(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    world.clock.later(days=340)
    renewal = await world.to_review(ANN, Operation.REKEY)
    terms = await renewal.terms()
    world.clock.later(seconds=60)
    revocation = await world.to_revoke()
    await revocation.send()
    await revocation.answer(await revocation.code())
    first, second = await nodes(world, 2)
    await asyncio.gather(
        outcome(first.ra.rekey.confirm(renewal.caller, renewal.id, terms)),
        outcome(second.ra.revocation.confirm(revocation.caller, revocation.id, await revocation.terms())),
    )
    await world.work()
    assert (await world.stored_certificate(old.serial)).state is CertificateState.REVOKED
    assert (await world.ca_state(old.serial))[0] == "revoked"
    assert await world.count("holdings", "state = 'active'") == 0
