"""A certificate that has arrived, and one of which the customer only says so: what becomes of the old one."""

import json
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Installed, Operation, OrderState, Serial
from chopmark.ra.policy import TW_BROKER
from tests.contract.world import ANN, Errand, Held, World, refusal, world_fixture

world = world_fixture()

ISSUED, REVOKED = ("issued", None), ("revoked", "superseded")
KEPT = TW_BROKER.kept_when_said


async def renewal(world: World) -> tuple[Serial, Errand]:
    """Return the serial of the old certificate, and the renewal that is issued and not proved."""
    old = (await world.certificate(await world.to_active(ANN))).serial
    world.clock.later(days=340)
    return old, await world.to_issued(ANN, Operation.REKEY)


async def test_what_was_opened_again_ends_the_old_certificate_at_once(world: World) -> None:
    old, errand = await renewal(world)
    assert (await errand.prove()).installed is Installed.OPENED
    assert (await errand.order()).installed is Installed.OPENED
    await world.work()
    assert await world.ca_state(old) == REVOKED


async def test_what_is_only_said_keeps_the_old_certificate_for_the_policys_days_and_no_longer(world: World) -> None:
    old, errand = await renewal(world)
    proof = await errand.install_proof()
    snapshot = await world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.SAID)
    assert (snapshot.order.state, snapshot.order.installed) == (OrderState.ACTIVE, Installed.SAID)
    assert (await errand.order()).installed is Installed.SAID
    assert (await world.certificate(errand)).state is CertificateState.ACTIVE
    await world.work()
    assert await world.ca_state(old) == ISSUED
    world.clock.later(seconds=(KEPT - timedelta(seconds=1)).total_seconds())
    await world.work()
    assert await world.ca_state(old) == ISSUED
    world.clock.later(seconds=1)
    await world.work()
    assert await world.ca_state(old) == REVOKED
    assert (await world.audit()).findings == ()


async def test_nothing_of_the_old_certificate_changes_before_the_proof(world: World) -> None:
    old, errand = await renewal(world)
    await world.work()
    assert await world.ca_state(old) == ISSUED
    assert (await world.stored_certificate(old)).state is CertificateState.ACTIVE
    assert await errand.state() is OrderState.ISSUED


async def test_what_was_only_said_and_is_opened_later_ends_the_old_certificate_at_once(world: World) -> None:
    old, errand = await renewal(world)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof(), Installed.SAID)
    world.clock.later(days=2)
    await world.work()
    assert await world.ca_state(old) == ISSUED
    proof = await errand.install_proof()
    file = await world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.OPENED)
    assert file.order.installed is Installed.OPENED
    assert (await errand.order()).installed is Installed.OPENED
    await world.work()
    assert await world.ca_state(old) == REVOKED
    (leaf,) = await world.records(Event.RA_CERTIFICATE_OPENED)
    assert json.loads(leaf["facts"])["old_serial"] == old
    world.clock.later(days=6)
    await world.work()  # the row that waited finds it revoked
    assert await world.ca_state(old) == REVOKED
    assert await world.ca_state((await world.certificate(errand)).serial) == ISSUED
    assert (await world.audit()).findings == ()


async def test_a_proof_brings_the_end_forward_once_and_saying_it_again_does_not(world: World) -> None:
    old, errand = await renewal(world)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof(), Installed.SAID)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof(), Installed.SAID)
    await world.work()
    assert await world.ca_state(old) == ISSUED
    proof = await errand.install_proof()
    for _ in range(2):
        await world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.OPENED)
    assert len(await world.records(Event.RA_CERTIFICATE_OPENED)) == 1


async def test_a_signature_over_something_else_brings_nothing_forward(world: World) -> None:
    old, errand = await renewal(world)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof(), Installed.SAID)
    await errand.nonce()
    proof = await errand.install_proof(nonce=b"n" * 32)
    refused = await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.OPENED))
    assert refused.kind is Kind.BAD_PROOF
    await world.work()
    assert (await errand.order()).installed is Installed.SAID
    assert await world.ca_state(old) == ISSUED


async def test_a_new_certificate_that_was_revoked_meanwhile_takes_no_old_one_with_it(world: World) -> None:
    old, errand = await renewal(world)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof(), Installed.SAID)
    world.held[ANN] = Held(errand.key, await world.certificate(errand))
    await world.revoked(ANN)
    proof = await errand.install_proof()
    refused = await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.OPENED))
    assert refused.kind is Kind.CONFLICT
    await world.work()
    assert await world.ca_state(old) == ISSUED
