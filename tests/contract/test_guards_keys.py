"""Second guards of an order's key: with another key, or in another login, nothing of an approval before it is left."""

from dataclasses import replace
from functools import partial

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import KeyEvidence, LoginId, OrderState
from chopmark.ra.model import HAS_A_KEY, Order
from tests.contract.barrier import at_barrier
from tests.contract.world import ANN, BEN, LOGIN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
LATER = "LATER0000000000000000TESTS"


async def approved_in_every_way(errand: Errand) -> Order:
    """The order with all that an approval can leave: both codes, a birth date, an announcement, a slip, a proof."""
    await errand.world.change(
        "UPDATE orders SET state = 'checked', coded_at = :now, checked_at = :now, code_channel = 'mobile', "
        "approved_login = :login, proved_login = :login, second_channel = 'email', second_coded_at = :now, "
        "announced_at = :now, slip_id = 'SLIP' WHERE id = :id",
        now=int(errand.world.clock.now().timestamp() * 1000),
        login=LOGIN,
        id=errand.id,
    )
    return await errand.stored()


async def test_another_key_leaves_nothing_of_an_approval(world: World) -> None:
    errand, other = await world.to_sent(), await world.to_key(BEN)
    before = await approved_in_every_way(errand)
    theirs = await approved_in_every_way(other)
    world.clock.later(seconds=5)
    key = ClientKey.generate()
    await errand.bind(key)
    stored = await errand.stored()
    assert stored == replace(
        before,
        state=OrderState.BOUND,
        spki_sha256=key.spki_sha256.hex(),
        csr=stored.csr,
        bound_at=world.clock.now(),
        bound_login=LoginId(LOGIN),
        key_evidence=KeyEvidence.LOGIN,
        coded_at=None,
        checked_at=None,
        code_channel=None,
        approved_login=None,
        proved_login=None,
        second_channel=None,
        second_coded_at=None,
        announced_at=None,
        slip_id=None,
    )
    assert await other.stored() == theirs


async def test_a_proof_in_another_login_leaves_the_key_and_its_announcement_and_nothing_else(world: World) -> None:
    errand, other = await world.to_sent(), await world.to_key(BEN)
    before = await approved_in_every_way(errand)
    theirs = await approved_in_every_way(other)
    await errand.within(LATER).possess()
    stored = await errand.stored()
    assert stored.proved_login == LATER
    assert stored == replace(
        before,
        state=OrderState.BOUND,
        proved_login=stored.proved_login,
        nonce=None,
        nonce_expires_at=stored.nonce_expires_at,
        coded_at=None,
        checked_at=None,
        code_channel=None,
        approved_login=None,
        second_channel=None,
        second_coded_at=None,
        slip_id=None,
    )
    assert await other.stored() == theirs


async def test_a_code_for_the_key_before_that_somehow_lives_again_approves_no_other(world: World) -> None:
    errand = await world.to_sent()
    sent, code = await errand.challenge(), await errand.code()
    await errand.bind(ClientKey.generate())
    await world.change("UPDATE challenges SET state = 'live' WHERE id = :id", id=sent.id)
    services = errand.services
    acting = services.ra.context.acting(errand.caller, await errand.stored())
    made = await outcome(services.ra.verifier.answer(sent, code, acting, services.ra.rekey.rules))
    assert isinstance(made, Refusal)
    assert made.kind is Kind.CODE_DEAD
    assert await errand.state() is OrderState.BOUND
    assert await world.rows("SELECT attempts FROM challenges") == [{"attempts": 0}]


async def test_a_key_that_comes_too_late_is_told_why(world: World) -> None:
    async def cancelled(errand: Errand) -> None:
        await errand.services.ra.enrolment.cancel(errand.caller, errand.id)

    async def bound_elsewhere(errand: Errand) -> None:
        await errand.within(LATER).bind(ClientKey.generate())

    for customer, meanwhile, code in ((ANN, cancelled, "moved_on"), (BEN, bound_elsewhere, HAS_A_KEY.code)):
        errand = await world.open(customer)
        stopped, turnstile = await at_barrier(errand)
        turnstile.before(Event.RA_KEY_BOUND, partial(meanwhile, errand))
        made = await outcome(stopped.bind())
        assert turnstile.passed == [Event.RA_KEY_BOUND]
        assert isinstance(made, Refusal)
        assert made.code == code


async def test_what_is_no_request_for_a_certificate_binds_no_key(world: World) -> None:
    errand = await world.open(ANN)
    for sent in (b"", b"no request"):
        refused = await refusal(errand.services.ra.rekey.bind_key(errand.caller, errand.id, sent, None))
        assert (refused.kind, refused.code) == (Kind.BAD_KEY, "csr_malformed")
    assert await errand.state() is OrderState.OPEN


async def test_a_right_code_gives_its_own_failure_back_and_no_other(world: World) -> None:
    errand = await world.to_sent(ANN)
    await refusal(errand.answer(await errand.wrong_code()))
    await errand.answer(await errand.code())
    assert await world.rows("SELECT factor, in_window, ever FROM failures") == [
        {"factor": "code", "in_window": 1, "ever": 1}
    ]
