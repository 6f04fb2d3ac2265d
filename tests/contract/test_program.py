"""What a customer's program may do for an order: send its key, fetch its certificate, prove that it works."""

import asyncio

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.types import (
    CertificateState,
    Operation,
    OrderState,
)
from chopmark.ra.program import Progress
from tests.contract.programs import Program, holder, request_of
from tests.contract.world import World, outcome, world_fixture

world = world_fixture()

# the way --------------------------------------------------------------------------------------------------------


async def test_a_program_gets_a_certificate_only_when_the_customer_has_approved_its_key(world: World) -> None:
    program = await Program.begun(world)
    errand = program.errand
    seen = []
    for step in (program.ask, program.name_key, errand.send):
        await step()
        seen.append((await program.ask()).certificate)
    await errand.answer(await errand.code())
    seen.append((await program.ask()).certificate)
    await errand.birth_date()
    seen.append((await program.ask()).certificate)
    assert seen == [None] * 5
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED
    await errand.confirm()
    made = (await program.ask()).certificate
    assert made is not None
    assert x509.load_der_x509_certificate(made).public_key() == errand.key.private_key.public_key()
    assert (await program.ask()).certificate == made
    assert await errand.state() is OrderState.ISSUED


async def test_a_new_certificate_is_active_when_the_program_has_used_it(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    await program.approve()
    assert (await program.prove()).order.state is OrderState.ACTIVE
    again = await program.prove()
    assert again.order.state is OrderState.ACTIVE
    assert again.certificate == (await world.certificate(program.errand)).der
    (record,) = await world.records(Event.RA_CERTIFICATE_ACTIVATED)
    assert '"door":"est"' in record["facts"].replace(" ", "")
    assert len(await world.notices("activated")) == 1


async def test_a_renewal_keeps_the_old_certificate_until_the_new_one_was_used(world: World) -> None:
    old = (await holder(world)).certificate
    program = await Program.begun(world, Operation.REKEY)
    assert (await program.ask()).certificate is None
    await program.approve()
    new = (await program.ask()).certificate
    assert new is not None
    assert (await world.stored_certificate(old.serial)).state is CertificateState.ACTIVE
    await program.prove()
    ended = await world.stored_certificate(old.serial)
    assert ended.state is CertificateState.SUPERSEDED
    await world.work()
    assert await world.ca_state(old.serial) == ("revoked", "superseded")
    assert (await world.audit()).sound


async def test_another_certificate_for_a_new_device_takes_a_credential(world: World) -> None:
    await holder(world, later=30)
    program = await Program.begun(world, Operation.REPLACE)
    await program.ask()
    await program.approve()
    assert (await program.prove()).order.state is OrderState.ACTIVE


async def test_nothing_of_a_request_but_its_key_comes_into_the_certificate(world: World) -> None:
    program = await Program.begun(world)
    program.csr = request_of(program.errand.key, cn="Director of the Exchange", dns="login.example.com")
    await program.ask()
    await program.approve()
    certificate = (await program.ask()).certificate
    assert certificate is not None
    assert b"Director" not in certificate
    assert b"example.com" not in certificate


async def test_of_two_programs_with_one_credential_one_has_bound_its_key(world: World) -> None:
    program = await Program.begun(world)
    requests = [request_of(ClientKey.generate()) for _ in range(4)]
    came = await asyncio.gather(*(outcome(program.ask(csr)) for csr in requests))
    assert sum(isinstance(one, Progress) for one in came) == 1
    assert await world.count("leaves", "event = :event", event=Event.RA_KEY_BOUND.value) == 1
