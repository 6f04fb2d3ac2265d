"""Door x rule: what the portal's verbs refuse, a program is refused as well (incidents 18, 19, 22, 24)."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind
from chopmark.core.types import (
    Channel,
    KeyHome,
    Operation,
    OrderState,
)
from chopmark.ra.key_proof import PresentedCertificate
from tests.contract.programs import Program, begin, holder, request_of, sha256_of_key, weak_request
from tests.contract.world import ANN, BEN, World, refusal, world_fixture

world = world_fixture(engines=("sqlite",))

# door x rule ----------------------------------------------------------------------------------------------------


async def cancelled(program: Program) -> None:
    await program.world.services.ra.enrolment.cancel(program.errand.caller, program.errand.id)


async def too_old(program: Program) -> None:
    program.world.clock.later(hours=24)


async def disputed(program: Program) -> None:
    services = program.world.services
    await services.ra.enrolment.dispute(program.errand.caller, program.errand.id, Channel.MOBILE)


async def weak_key(program: Program) -> None:
    program.csr = weak_request()


async def damaged(program: Program) -> None:
    program.csr = program.csr[:-1]


async def not_its_own_signature(program: Program) -> None:
    program.csr = program.csr[:-1] + bytes([program.csr[-1] ^ 1])


async def somebody_else_s_key(program: Program) -> None:
    other = await begin(program.world, Operation.ENROL, BEN, KeyHome.FILE)
    await other.bind()
    program.csr = request_of(other.key, program.shown.certificate if program.shown else None)


async def blocked_key(program: Program) -> None:
    await program.errand.bind()
    await program.world.change("UPDATE keys SET blocked = 'compromised'")
    await program.world.change("UPDATE orders SET spki_sha256 = NULL")


async def key_of_the_old_certificate(program: Program) -> None:
    old = program.world.held[ANN]
    program.csr = request_of(old.key, old.certificate.der)


async def revoked_meanwhile(program: Program) -> None:
    await program.world.change("UPDATE holdings SET state = 'revoked'")


async def held_meanwhile(program: Program) -> None:
    await program.world.change("UPDATE holdings SET state = 'held'")


async def superseded_meanwhile(program: Program) -> None:
    await program.world.change("UPDATE holdings SET state = 'superseded'")


async def expired_one_second_ago(program: Program) -> None:
    world = program.world
    world.clock.at = world.held[ANN].certificate.not_after + timedelta(seconds=1)
    await world.change("UPDATE orders SET expires_at = expires_at + 4000000000")


BOTH_DOORS: dict[str, tuple[Operation, Callable[[Program], Awaitable[None]]]] = {
    "a cancelled order": (Operation.ENROL, cancelled),
    "an order of yesterday": (Operation.ENROL, too_old),
    "a held order": (Operation.ENROL, disputed),
    "a weak key": (Operation.ENROL, weak_key),
    "a damaged request": (Operation.ENROL, damaged),
    "a request that its key did not sign": (Operation.ENROL, not_its_own_signature),
    "another customer's key": (Operation.ENROL, somebody_else_s_key),
    "a blocked key": (Operation.ENROL, blocked_key),
    "a weak key for a renewal": (Operation.REKEY, weak_key),
    "another customer's key for a renewal": (Operation.REKEY, somebody_else_s_key),
    "the old key for a renewal": (Operation.REKEY, key_of_the_old_certificate),
    "a revoked certificate": (Operation.REKEY, revoked_meanwhile),
    "a suspended certificate": (Operation.REKEY, held_meanwhile),
    "a superseded certificate": (Operation.REKEY, superseded_meanwhile),
    "a certificate that expired one second ago": (Operation.REKEY, expired_one_second_ago),
}


@pytest.mark.parametrize("rule", BOTH_DOORS)
async def test_a_rule_stands_before_a_program_as_before_the_portal(world: World, rule: str) -> None:
    operation, break_it = BOTH_DOORS[rule]
    if operation is Operation.REKEY:
        await holder(world)
    program = await Program.begun(world, operation)
    await break_it(program)
    before = await world.count("leaves", "event = 'ra:key:bound'")
    by_program = await refusal(program.ask())
    errand = program.errand
    proof = None
    if operation is Operation.REKEY:
        proof = errand.proof(await errand.nonce(), new_spki_sha256=sha256_of_key(program.csr))
    by_portal = await refusal(world.services.ra.rekey.bind_key(errand.caller, errand.id, program.csr, proof))
    assert by_program.kind is by_portal.kind
    assert by_program.code in {by_portal.code, "old"}
    assert await world.count("leaves", "event = 'ra:key:bound'") == before
    assert await world.count("certificates", "state = 'issued'") == (1 if operation is Operation.REKEY else 0)


async def test_too_many_wrong_codes_hold_the_customer_and_the_program_gets_nothing(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    await world.change(
        "INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold)"
        " VALUES (:customer, 'sms', 0, 20, 20, 1, 'too_many')",
        customer=ANN,
    )
    await program.name_key()
    assert (await refusal(program.errand.send())).kind is Kind.LOCKED
    assert (await program.ask()).certificate is None


# the renewal's own rules ----------------------------------------------------------------------------------------


async def no_order(program: Program) -> None:
    await cancelled(program)


async def order_for_the_browser(program: Program) -> None:
    await cancelled(program)
    await begin(program.world, Operation.REKEY, ANN, KeyHome.BROWSER)


async def another_subject(program: Program) -> None:
    program.csr = request_of(program.errand.key, cn="somebody else")


async def an_alternative_name(program: Program) -> None:
    assert program.shown is not None
    program.csr = request_of(program.errand.key, program.shown.certificate, dns="login.example.com")


async def the_ca_s_certificate(program: Program) -> None:
    program.shown = PresentedCertificate(program.world.services.ca.authority.view.certificate_der)


async def no_certificate(program: Program) -> None:
    program.shown = PresentedCertificate(b"0")


async def one_flipped_bit(program: Program) -> None:
    der = bytearray(program.world.held[ANN].certificate.der)
    der[-1] ^= 1
    program.shown = PresentedCertificate(bytes(der))


async def another_customer_s_certificate(program: Program) -> None:
    await program.world.to_active(BEN)
    program.shown = PresentedCertificate(program.world.held[BEN].certificate.der)


async def a_second_key(program: Program) -> None:
    await program.ask()
    program.csr = request_of(ClientKey.generate(), program.world.held[ANN].certificate.der)


RENEWAL_RULES: dict[str, tuple[Callable[[Program], Awaitable[None]], Kind, str]] = {
    "no renewal was begun at the portal": (no_order, Kind.FORBIDDEN, "begin_at_portal"),
    "the renewal makes its key in the browser": (order_for_the_browser, Kind.FORBIDDEN, "begin_at_portal"),
    "the request has another subject": (another_subject, Kind.BAD_KEY, "names"),
    "the request has an alternative name": (an_alternative_name, Kind.BAD_KEY, "names"),
    "the certificate is a CA's": (the_ca_s_certificate, Kind.FORBIDDEN, "not_ours"),
    "the certificate is none": (no_certificate, Kind.FORBIDDEN, "not_ours"),
    "the certificate differs in a bit": (one_flipped_bit, Kind.FORBIDDEN, "not_ours"),
    "the certificate is another customer's": (another_customer_s_certificate, Kind.FORBIDDEN, "begin_at_portal"),
    "the order has a key already": (a_second_key, Kind.CONFLICT, "other_key"),
}


@pytest.mark.parametrize("rule", RENEWAL_RULES)
async def test_a_renewal_by_a_program_is_refused_when(world: World, rule: str) -> None:
    break_it, kind, code = RENEWAL_RULES[rule]
    await holder(world)
    program = await Program.begun(world, Operation.REKEY)
    await break_it(program)
    found = await refusal(program.ask())
    assert (found.kind, found.code) == (kind, code)


async def test_a_renewal_needs_the_code_of_the_portal_whatever_the_program_sends(world: World) -> None:
    await holder(world)
    program = await Program.begun(world, Operation.REKEY)
    for _ in range(3):
        progress = await program.ask()
        assert (progress.certificate, progress.order.state) == (None, OrderState.BOUND)
    assert (await refusal(program.errand.confirm())).kind is Kind.STEP_REQUIRED


async def test_a_certificate_that_has_not_proved_itself_renews_nothing(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    await program.approve()
    made = (await program.ask()).certificate
    assert made is not None
    asked = world.services.ra.program.reenrol(PresentedCertificate(made), request_of(ClientKey.generate(), made))
    assert (await refusal(asked)).code == "unproven"
    assert await program.errand.state() is OrderState.ISSUED
