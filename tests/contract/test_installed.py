"""A certificate that has arrived, and one of which the customer only says so: what becomes of the old one."""

from datetime import timedelta

from chopmark.core.types import CertificateState, Installed, Operation, OrderState, Serial
from chopmark.ra.policy import TW_BROKER
from tests.contract.world import ANN, Errand, World, world_fixture

world = world_fixture()

ISSUED, REVOKED = ("issued", None), ("revoked", "superseded")
KEPT = TW_BROKER.kept_when_said


async def renewal(world: World) -> tuple[Serial, Errand]:
    """Return the serial of the old certificate, and the renewal that is issued and not proved."""
    old = (await world.holding(await world.to_active(ANN))).serial
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
    snapshot = await world.house.rekey.prove(errand.caller, errand.id, proof, Installed.SAID)
    assert (snapshot.order.state, snapshot.order.installed) == (OrderState.ACTIVE, Installed.SAID)
    assert (await errand.order()).installed is Installed.SAID
    assert (await world.holding(errand)).state is CertificateState.ACTIVE
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
    assert (await world.holding_of(old)).state is CertificateState.ACTIVE
    assert await errand.state() is OrderState.ISSUED
