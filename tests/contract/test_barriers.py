"""Guards that matter only when something commits between a verb's read and its write: each is shown at a barrier.

The verb has read an order that may go on. Then the order is cancelled, or runs out, or its approval does, or somebody
is put on hold; and the verb's statement has to see it.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, Channel, CustomerId, FactorClass, Operation, OrderState, Reason
from chopmark.ra.context import Caller
from tests.contract.barrier import LeapingClock, at_barrier, stoppable, that_leaps
from tests.contract.world import ANN, START, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
PEOPLE = ("alice", "bob")


async def lock_codes(world: World) -> None:
    """Twenty wrong codes of today are on record, and with them the lock."""
    await world.change(
        "INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold) "
        "VALUES (:c, 'code', :now, 20, 20, :now, 'held') ON CONFLICT (customer, factor) "
        "DO UPDATE SET held_at = :now, hold = 'held'",
        c=ANN,
        now=int(START.timestamp() * 1000),
    )


async def cancel(errand: Errand) -> None:
    await errand.world.services.ra.enrolment.cancel(errand.caller, errand.id)


async def bind(errand: Errand) -> object:
    return await outcome(errand.bind(ClientKey.generate()))


async def send(errand: Errand) -> object:
    return await outcome(errand.services.ra.rekey.challenge(errand.caller, errand.id, Channel.MOBILE))


async def answer(errand: Errand) -> object:
    code = errand.services.ra.verifier.code_of(await errand.challenge())
    assert code is not None
    return await outcome(errand.services.ra.rekey.answer(errand.caller, errand.id, code.reveal()))


async def confirm(errand: Errand) -> object:
    return await outcome(errand.confirm())


class Way:
    """How far an order is, and the verb that is next."""

    def __init__(self, to: str, verb: Callable[[Errand], Awaitable[object]], event: Event) -> None:
        self.to, self.verb, self.event = to, verb, event

    async def begun(self, world: World, wait: timedelta = timedelta(0)) -> Errand:
        """The order, `wait` after it was opened, and then just so far."""
        errand = await world.open()
        world.clock.at += wait
        steps = ("key", "sent", "code", "review")
        for step in steps[: 0 if self.to == "open" else steps.index(self.to) + 1]:
            if step == "key":
                await errand.bind()
            elif step == "sent":
                await errand.send()
            elif step == "code":
                await errand.answer(await errand.code())
            else:
                await errand.birth_date()
        return errand


WAYS = {
    "bind": Way("open", bind, Event.RA_KEY_BOUND),
    "send": Way("key", send, Event.RA_CHALLENGE_OPENED),
    "compare": Way("sent", answer, Event.RA_CODE_CHARGED),
    "accept": Way("sent", answer, Event.RA_CODE_RIGHT),
    "confirm": Way("review", confirm, Event.RA_ORDER_SUBMITTED),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


async def left(errand: Errand) -> tuple[object, ...]:
    """What a verb that was too late must not have changed."""
    world = errand.world
    stored = await errand.stored()
    return (
        stored.state,
        stored.spki_sha256,
        stored.coded_at,
        stored.submitted_at,
        await world.count("challenges", "state = 'live'"),
        await world.count("challenges", "state = 'consumed'"),
        await world.count("work", "kind = 'code'"),
        await world.count("certificates"),
    )


@ways
async def test_a_verb_whose_order_was_cancelled_meanwhile_changes_nothing(world: World, way: Way) -> None:
    errand = await way.begun(world)
    stopped, turnstile = await at_barrier(errand)
    after: list[tuple[object, ...]] = []

    async def meanwhile() -> None:
        await cancel(errand)
        after.append(await left(errand))

    turnstile.before(way.event, meanwhile)
    await way.verb(stopped)
    assert turnstile.passed == [way.event]
    assert [await left(errand)] == after
    assert (await errand.stored()).state is OrderState.CANCELLED
    assert (await world.audit()).findings == ()


async def late(errand: Errand, verb: str) -> Callable[[], Awaitable[object]]:
    """Return one verb with everything that it needs at hand: its first look at the clock is its view of the order."""
    services, caller, order = errand.services, errand.caller, errand.id
    if verb == "bind":
        return lambda: services.ra.rekey.bind_key(caller, order, ClientKey.generate().request(), None)
    if verb == "send":
        return lambda: services.ra.rekey.challenge(caller, order, Channel.MOBILE)
    if verb == "compare":
        code = await errand.code()
        return lambda: services.ra.rekey.answer(caller, order, code)
    terms = await errand.terms()
    return lambda: services.ra.rekey.confirm(caller, order, terms)


async def leaping(
    clock: LeapingClock,
    to: datetime,
    take: Callable[[], Awaitable[object]],
    taken: Callable[[], Awaitable[datetime | None]],
) -> datetime:
    """Take a verb again and again from the same moment, and let the clock leap one look later each time.

    Return by which look it was taken: each leap before that one has kept it from being taken.
    """
    began = clock.clock.at
    for number in range(1, 30):
        clock.clock.at = began
        clock.after_look(number, to)
        await outcome(take())
        assert clock.leapt
        moment = await taken()
        if moment is not None:
            assert number > 1
            return moment
    raise AssertionError("the verb was never taken")


@pytest.mark.parametrize("verb", ["bind", "send", "compare", "confirm"])
async def test_no_verb_is_taken_by_a_look_at_the_clock_after_its_order_ran_out(world: World, verb: str) -> None:
    """All that comes before lies within the order's last two minutes, so that nothing else is too old."""
    errand = await WAYS[verb].begun(world, timedelta(hours=23, minutes=58))
    stopped, clock = await that_leaps(errand)
    until = (await errand.stored()).expires_at
    take = await late(stopped, verb)

    async def taken() -> datetime | None:
        stored = await errand.stored()
        if verb == "send":
            sent = await world.services.ra.verifier.latest(errand.id)
            return None if sent is None else sent[0].created_at
        if verb == "compare" and stored.coded_at is None:  # the code is as if it had not been typed
            await world.change("UPDATE challenges SET state = 'live', attempts = 0")
        return {"bind": stored.bound_at, "compare": stored.coded_at, "confirm": stored.submitted_at}[verb]

    assert await leaping(clock, until, take, taken) < until


async def test_no_approval_is_submitted_by_a_look_at_the_clock_after_it_grew_too_old(world: World) -> None:
    errand = await world.to_review()
    stopped, clock = await that_leaps(errand)
    until = world.clock.at + timedelta(minutes=10)
    take = await late(stopped, "confirm")

    async def taken() -> datetime | None:
        return (await errand.stored()).submitted_at

    assert await leaping(clock, until, take, taken) < until


async def test_a_proof_of_another_login_between_reading_and_submitting_voids_the_approval(world: World) -> None:
    errand = await world.to_review()
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()

    async def meanwhile() -> None:
        await errand.within("LATER0000000000000000TESTS").possess()

    turnstile.before(Event.RA_ORDER_SUBMITTED, meanwhile)
    await outcome(stopped.services.ra.rekey.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_SUBMITTED]
    assert await errand.state() is OrderState.BOUND
    assert await world.count("certificates") == 0


async def test_another_key_bound_between_reading_and_submitting_is_not_certified(world: World) -> None:
    errand = await world.to_review()
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()
    second = ClientKey.generate()

    async def meanwhile() -> None:
        await errand.bind(second)

    turnstile.before(Event.RA_ORDER_SUBMITTED, meanwhile)
    await outcome(stopped.services.ra.rekey.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_SUBMITTED]
    stored = await errand.stored()
    assert (stored.state, stored.spki_sha256) == (OrderState.BOUND, second.spki_sha256.hex())
    assert await world.count("certificates") == 0


async def test_a_customer_put_on_hold_between_reading_and_sending_gets_no_code(world: World) -> None:
    errand = await world.to_key()
    stopped, turnstile = await at_barrier(errand)
    turnstile.before(Event.RA_CHALLENGE_OPENED, lambda: lock_codes(world))
    made = await send(stopped)
    assert turnstile.passed == [Event.RA_CHALLENGE_OPENED]
    assert isinstance(made, Refusal)
    assert made.kind is Kind.LOCKED
    assert await world.count("challenges") == 0
    assert await world.count("work", "kind = 'code'") == 0


async def test_a_customer_put_on_hold_between_reading_and_comparing_is_not_compared(world: World) -> None:
    errand = await world.to_sent()
    stopped, turnstile = await at_barrier(errand)
    turnstile.before(Event.RA_CODE_CHARGED, lambda: lock_codes(world))
    made = await answer(stopped)
    assert turnstile.passed == [Event.RA_CODE_CHARGED]
    assert isinstance(made, Refusal)
    assert made.kind is Kind.LOCKED
    assert await errand.state() is OrderState.BOUND
    assert await world.count("challenges", "state = 'consumed'") == 0
    assert await world.records(Event.RA_CODE_CHARGED) == []


async def test_a_login_that_uses_a_channel_meanwhile_keeps_a_code_from_being_sent_there(world: World) -> None:
    errand = await world.to_key()
    stopped, turnstile = await at_barrier(errand)
    by_phone = errand.within("LATER0000000000000000TESTS", frozenset({FactorClass.PASSWORD, FactorClass.SMS}))

    async def meanwhile() -> None:
        await by_phone.possess()

    turnstile.before(Event.RA_CHALLENGE_OPENED, meanwhile)
    made = await send(stopped)
    assert turnstile.passed == [Event.RA_CHALLENGE_OPENED]
    assert isinstance(made, Refusal)
    assert await world.count("challenges") == 0
    assert await world.count("work", "kind = 'code'") == 0


async def test_another_key_of_another_login_meanwhile_keeps_a_code_for_the_first_from_being_sent(world: World) -> None:
    errand = await world.to_key()
    stopped, turnstile = await at_barrier(errand)
    later = errand.within("LATER0000000000000000TESTS")
    await later.possess()

    async def meanwhile() -> None:
        await later.bind(ClientKey.generate())

    turnstile.before(Event.RA_CHALLENGE_OPENED, meanwhile)
    made = await send(stopped)
    assert turnstile.passed == [Event.RA_CHALLENGE_OPENED]
    assert isinstance(made, Refusal)
    assert made.kind is Kind.STEP_REQUIRED
    assert await world.count("challenges") == 0
    assert await world.count("work", "kind = 'code'") == 0


async def renewal(world: World) -> Errand:
    """A renewal that was submitted and not yet with its CA."""
    await world.to_active()
    world.clock.later(days=340)
    return await world.to_review(ANN, Operation.REKEY)


async def test_a_certificate_put_on_hold_while_its_renewal_is_signed_gets_no_successor(world: World) -> None:
    errand = await renewal(world)
    old = world.held[ANN].certificate.serial
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()

    async def meanwhile() -> None:
        await world.services.ra.suspension.hold(old, *PEOPLE)

    turnstile.before(Event.RA_ORDER_ISSUED, meanwhile)
    await outcome(stopped.services.ra.rekey.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_ISSUED]
    await world.work()
    assert (await errand.stored()).state is OrderState.REFUSED
    assert (await world.certificate(errand)).state is CertificateState.REVOKED
    assert (await world.ca_state((await world.certificate(errand)).serial))[0] == "revoked"
    assert (await world.stored_certificate(old)).state is CertificateState.HELD
    assert await world.count("holdings", "state IN ('issued', 'active')") == 0


async def test_a_certificate_put_on_hold_before_its_successor_is_proved_keeps_it_from_being_active(
    world: World,
) -> None:
    errand = await renewal(world)
    await errand.confirm()
    old = world.held[ANN].certificate.serial
    proof = await errand.install_proof()
    stopped, turnstile = await at_barrier(errand)

    async def meanwhile() -> None:
        await world.services.ra.suspension.hold(old, *PEOPLE)

    turnstile.before(Event.RA_CERTIFICATE_ACTIVATED, meanwhile)
    refused = await refusal(stopped.services.ra.rekey.prove(stopped.caller, stopped.id, proof))
    assert turnstile.passed == [Event.RA_CERTIFICATE_ACTIVATED]
    assert refused.kind is Kind.CONFLICT
    assert await errand.state() is OrderState.ISSUED
    assert (await world.stored_certificate(old)).state is CertificateState.HELD
    assert await world.count("holdings", "state = 'active'") == 0


async def test_a_proof_that_another_process_was_faster_with_is_answered_like_the_first(world: World) -> None:
    errand = await world.to_issued()
    stopped, turnstile = await at_barrier(errand)

    async def meanwhile() -> None:
        await errand.prove()

    turnstile.before(Event.RA_CERTIFICATE_ACTIVATED, meanwhile)
    assert (await stopped.prove()).state is OrderState.ACTIVE
    assert turnstile.passed == [Event.RA_CERTIFICATE_ACTIVATED]
    assert len(await world.records(Event.RA_CERTIFICATE_ACTIVATED)) == 1
    assert await world.count("holdings", "state = 'active'") == 1


async def test_a_certificate_that_is_revoked_between_reading_and_proving_never_becomes_active(world: World) -> None:
    """Its holder cancels it in another tab; the proof was on its way."""
    errand = await world.to_issued()
    proof = await errand.install_proof()
    stopped, turnstile = await at_barrier(errand)
    turnstile.before(Event.RA_CERTIFICATE_ACTIVATED, lambda: cancel(errand))
    made = await outcome(stopped.services.ra.rekey.prove(stopped.caller, stopped.id, proof))
    assert turnstile.passed == [Event.RA_CERTIFICATE_ACTIVATED]
    assert isinstance(made, Refusal)
    await world.work()
    assert (await errand.stored()).state is OrderState.CANCELLED
    certificate = await world.certificate(errand)
    assert certificate.state is CertificateState.REVOKED
    assert (await world.ca_state(certificate.serial))[0] == "revoked"


async def coded_revocation(world: World) -> Errand:
    await world.to_active()
    errand = await world.to_revoke(ANN, Reason.NO_LONGER_NEEDED)
    await errand.send()
    await errand.answer(await errand.code())
    return errand


async def test_no_certificate_is_revoked_by_a_look_at_the_clock_after_its_approval_grew_too_old(world: World) -> None:
    errand = await coded_revocation(world)
    stopped, clock = await that_leaps(errand)
    until, terms = world.clock.at + timedelta(minutes=10), await errand.terms()

    async def taken() -> datetime | None:
        return (await world.stored_certificate(world.held[ANN].certificate.serial)).ended_at

    def take() -> Awaitable[object]:
        return stopped.services.ra.revocation.confirm(stopped.caller, stopped.id, terms)

    assert await leaping(clock, until, take, taken) < until


async def test_a_revocation_that_was_cancelled_meanwhile_revokes_nothing(world: World) -> None:
    errand = await coded_revocation(world)
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()
    turnstile.before_any(lambda: cancel(errand))
    refused = await refusal(stopped.services.ra.revocation.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [None]
    assert refused.kind is Kind.CONFLICT
    assert await world.count("holdings", "state = 'active'") == 1
    assert await world.count("certificates", "state = 'issued'") == 1


async def test_a_revocation_that_another_login_has_approved_meanwhile_is_not_confirmed_by_this_one(
    world: World,
) -> None:
    errand = await coded_revocation(world)
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()
    world.clock.later(minutes=1)

    async def meanwhile() -> None:
        other = errand.within("LATER0000000000000000TESTS")
        await other.send(Channel.EMAIL)
        await other.answer(await other.code())

    turnstile.before_any(meanwhile)
    refused = await refusal(stopped.services.ra.revocation.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [None]
    assert refused.kind is Kind.CONFLICT
    assert await world.count("holdings", "state = 'active'") == 1


async def test_a_login_that_uses_the_codes_channel_meanwhile_keeps_a_revocation_from_being_confirmed(
    world: World,
) -> None:
    errand = await coded_revocation(world)
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()
    by_phone = errand.within("LATER0000000000000000TESTS", frozenset({FactorClass.PASSWORD, FactorClass.SMS}))
    world.clock.later(minutes=1)

    async def meanwhile() -> None:
        await by_phone.send(Channel.EMAIL)

    turnstile.before_any(meanwhile)
    refused = await refusal(stopped.services.ra.revocation.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [None]
    assert refused.kind is Kind.CONFLICT
    assert await world.count("holdings", "state = 'active'") == 1


async def test_a_login_that_uses_the_codes_channel_meanwhile_keeps_a_renewal_from_being_submitted(
    world: World,
) -> None:
    """The code went to the phone; then a login that used the phone has touched the order (TW-01)."""
    errand = await renewal(world)
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()
    by_phone = errand.within("LATER0000000000000000TESTS", frozenset({FactorClass.PASSWORD, FactorClass.SMS}))
    world.clock.later(minutes=1)

    async def meanwhile() -> None:
        await by_phone.send(Channel.EMAIL)

    turnstile.before(Event.RA_ORDER_SUBMITTED, meanwhile)
    await outcome(stopped.services.ra.rekey.confirm(stopped.caller, stopped.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_SUBMITTED]
    assert (await errand.stored()).submitted_at is None
    assert await world.count("certificates", "order_id = :id", id=errand.id) == 0


async def test_a_hold_whose_certificate_is_revoked_meanwhile_holds_nothing(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    other, turnstile = await stoppable(world)

    async def meanwhile() -> None:
        await world.revoked(ANN, Reason.COMPROMISED)

    turnstile.before_any(meanwhile)
    refused = await refusal(other.services.ra.suspension.hold(serial, *PEOPLE))
    assert turnstile.passed == [None]
    assert refused.kind is Kind.CONFLICT
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    assert await world.ca_state(serial) == ("revoked", "key_compromise")


async def test_a_release_whose_certificate_is_revoked_meanwhile_brings_nothing_back(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    await world.services.ra.suspension.hold(serial, *PEOPLE)
    other, turnstile = await stoppable(world)

    async def meanwhile() -> None:
        await world.revoked(ANN, Reason.COMPROMISED)

    turnstile.before_any(meanwhile)
    assert (await refusal(other.services.ra.suspension.release(serial, *PEOPLE))).kind is Kind.CONFLICT
    assert turnstile.passed == [None]
    await world.work()
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    assert await world.ca_state(serial) == ("revoked", "key_compromise")


async def test_a_birth_date_of_an_order_that_was_cancelled_meanwhile_approves_nothing(world: World) -> None:
    errand = await world.to_code()
    stopped, turnstile = await at_barrier(errand)
    turnstile.before(Event.RA_BIRTH_DATE_RIGHT, lambda: cancel(errand))
    made = await outcome(stopped.birth_date())
    assert turnstile.passed == [Event.RA_BIRTH_DATE_RIGHT]
    assert isinstance(made, Refusal)
    assert (await errand.stored()).state is OrderState.CANCELLED
    assert await world.records(Event.RA_BIRTH_DATE_RIGHT) == []


async def test_a_lock_that_shuts_between_reading_and_comparing_a_birth_date_compares_nothing(world: World) -> None:
    errand = await world.to_code()
    stopped, turnstile = await at_barrier(errand)

    async def meanwhile() -> None:
        for _ in range(3):
            await refusal(errand.birth_date(START.date()))

    turnstile.before_any(meanwhile)
    made = await outcome(stopped.birth_date())
    assert turnstile.passed == [None]
    assert isinstance(made, Refusal)
    assert made.kind is Kind.LOCKED
    assert await errand.state() is OrderState.CODE_VERIFIED
    caller: Caller = errand.caller
    assert await world.services.ra.locks.held(CustomerId(caller.customer)) == {"birth_date": "held"}
