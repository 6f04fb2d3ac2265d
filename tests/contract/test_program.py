"""What a customer's program may do for an order: send its key, fetch its certificate, prove that it works."""

import asyncio
import hashlib

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.errors import Kind
from chopmark.ra.program import Progress
from chopmark.words import (
    CertificateState,
    KeyHome,
    Operation,
    OrderState,
    Secret,
)
from tests.contract.programs import Program, begin, holder, request_of
from tests.contract.world import ANN, BEN, World, outcome, refusal, world_fixture

world = world_fixture()

# the way --------------------------------------------------------------------------------------------------------


async def test_a_program_gets_a_certificate_only_when_the_customer_has_approved_its_key(world: World) -> None:
    program = await Program.begun(world)
    errand = program.errand
    seen = []
    for step in (program.ask, errand.send, program.ask):
        await step()
        seen.append((await program.ask()).certificate)
    await errand.answer(await errand.code())
    seen.append((await program.ask()).certificate)
    await errand.birth_date()
    seen.append((await program.ask()).certificate)
    assert seen == [None] * 5
    assert await errand.state() is OrderState.CHECKED
    await errand.confirm()
    made = (await program.ask()).certificate
    assert made is not None
    assert x509.load_der_x509_certificate(made).public_key() == errand.key._key.public_key()
    assert (await program.ask()).certificate == made
    assert await errand.state() is OrderState.ISSUED


async def test_a_new_certificate_is_active_when_the_program_has_used_it(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    await program.approve()
    assert (await program.prove()).order.state is OrderState.ACTIVE
    again = await program.prove()
    assert again.order.state is OrderState.ACTIVE
    assert again.certificate == (await world.holding(program.errand)).der
    (leaf,) = await world.leaves(Event.RA_CERTIFICATE_ACTIVATED)
    assert '"door":"est"' in leaf["facts"].replace(" ", "")
    assert await world.count("work", "kind = 'notice'") == 1


async def test_a_renewal_keeps_the_old_certificate_until_the_new_one_was_used(world: World) -> None:
    old = (await holder(world)).holding
    program = await Program.begun(world, Operation.REKEY)
    assert (await program.ask()).certificate is None
    await program.approve()
    new = (await program.ask()).certificate
    assert new is not None
    assert (await world.holding_of(old.serial)).state is CertificateState.ACTIVE
    await program.prove()
    ended = await world.holding_of(old.serial)
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


# the credential -------------------------------------------------------------------------------------------------


async def test_a_credential_exists_in_clear_nowhere(world: World) -> None:
    program = await Program.begun(world)
    assert program.given is not None
    secret = program.given.secret.reveal()
    assert len(secret) == 43, "256 bits in base64url"
    assert secret not in repr(program.given)
    for table in ("credentials", "leaves", "orders", "work"):
        assert secret not in repr(await world.rows(f"SELECT * FROM {table}")), table
    (row,) = await world.rows("SELECT token_hash FROM credentials")
    assert bytes(row["token_hash"]) == hashlib.sha256(secret.encode()).digest()


async def test_a_credential_binds_within_ten_minutes_or_never(world: World) -> None:
    program = await Program.begun(world)
    world.clock.later(seconds=600)
    found = await refusal(program.ask())
    assert (found.kind, found.code) == (Kind.UNAUTHENTICATED, "credential")
    assert (await program.errand.order()).spki_sha256 is None
    (leaf,) = await world.leaves(Event.RA_CREDENTIAL_REFUSED)
    assert "lapsed" in leaf["facts"]


async def test_a_used_credential_still_asks_for_its_own_key_an_hour_later(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    world.clock.later(hours=1)
    await program.approve()
    assert (await program.ask()).certificate is not None


async def test_a_credential_is_good_for_one_key(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    found = await refusal(program.ask(request_of(ClientKey.generate())))
    assert (found.kind, found.code) == (Kind.FORBIDDEN, "credential_used")
    assert (await program.errand.order()).spki_sha256 == program.errand.key.spki_sha256.hex()


async def test_of_two_programs_with_one_credential_one_has_bound_its_key(world: World) -> None:
    program = await Program.begun(world)
    requests = [request_of(ClientKey.generate()) for _ in range(4)]
    came = await asyncio.gather(*(outcome(program.ask(csr)) for csr in requests))
    assert sum(isinstance(one, Progress) for one in came) == 1
    assert await world.count("leaves", "event = :event", event=Event.RA_KEY_BOUND.value) == 1


async def test_a_new_credential_kills_the_one_before(world: World) -> None:
    program = await Program.begun(world)
    errand = program.errand
    newer = await world.house.program.credential(errand.caller, errand.id)
    assert (await refusal(program.ask())).kind is Kind.UNAUTHENTICATED
    program.given = newer
    assert (await program.ask()).order.state is OrderState.BOUND


async def test_a_program_that_waits_does_not_undo_another_key_of_its_order(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    await program.errand.bind(ClientKey.generate())
    found = await refusal(program.ask())
    assert (found.kind, found.code) == (Kind.CONFLICT, "other_key")
    assert (await program.errand.order()).spki_sha256 == program.errand.key.spki_sha256.hex()


async def test_a_stranger_s_guesses_are_recorded_sixty_times_a_minute_and_move_no_customer_s_counter(
    world: World,
) -> None:
    program = await Program.begun(world)
    for _ in range(62):
        guess = world.house.program.enrol(program.errand.id, Secret("x" * 43), program.csr)
        assert (await refusal(guess)).kind is Kind.UNAUTHENTICATED
    assert len(await world.leaves(Event.RA_CREDENTIAL_REFUSED)) == 60
    assert await world.count("failures") == 0
    assert (await program.ask()).order.state is OrderState.BOUND


async def test_a_credential_is_given_for_an_order_of_one_s_own_that_wants_a_program_s_key(world: World) -> None:
    program, other = world.house.program, world.caller(BEN)
    errand = await begin(world, Operation.ENROL, ANN, KeyHome.FILE)
    assert (await refusal(program.credential(errand.caller, errand.id))).code == "key_home"
    assert (await refusal(program.credential(other, errand.id))).kind is Kind.NOT_FOUND
    await world.house.enrolment.cancel(errand.caller, errand.id)
    assert (await refusal(program.credential(errand.caller, errand.id))).code == "order_cancelled"
    await holder(world, BEN)
    renewal = await begin(world, Operation.REKEY, BEN, KeyHome.HELPER)
    assert (await refusal(program.credential(other, renewal.id))).code == "by_certificate"
    assert await world.count("credentials") == 0
