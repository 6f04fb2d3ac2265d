"""The one-time credential of a customer's program: hashed, short-lived, good for one key."""

import hashlib

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind
from chopmark.core.types import (
    KeyHome,
    Operation,
    OrderState,
    Secret,
)
from tests.contract.programs import Program, begin, holder, request_of
from tests.contract.world import ANN, BEN, World, refusal, world_fixture

world = world_fixture(engines=("sqlite",))


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
    (record,) = await world.records(Event.RA_CREDENTIAL_REFUSED)
    assert "lapsed" in record["facts"]


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


async def test_a_new_credential_kills_the_one_before(world: World) -> None:
    program = await Program.begun(world)
    errand = program.errand
    newer = await world.services.ra.program.credential(errand.caller, errand.id)
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
        guess = world.services.ra.program.enrol(program.errand.id, Secret("x" * 43), program.csr)
        assert (await refusal(guess)).kind is Kind.UNAUTHENTICATED
    assert len(await world.records(Event.RA_CREDENTIAL_REFUSED)) == 60
    assert await world.count("failures") == 0
    assert (await program.ask()).order.state is OrderState.BOUND


async def test_a_credential_is_given_for_an_order_of_one_s_own_that_wants_a_program_s_key(world: World) -> None:
    program, other = world.services.ra.program, world.caller(BEN)
    errand = await begin(world, Operation.ENROL, ANN, KeyHome.FILE)
    assert (await refusal(program.credential(errand.caller, errand.id))).code == "key_home"
    assert (await refusal(program.credential(other, errand.id))).kind is Kind.NOT_FOUND
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    assert (await refusal(program.credential(errand.caller, errand.id))).code == "order_cancelled"
    await holder(world, BEN)
    renewal = await begin(world, Operation.REKEY, BEN, KeyHome.HELPER)
    assert (await refusal(program.credential(other, renewal.id))).code == "by_certificate"
    assert await world.count("credentials") == 0
