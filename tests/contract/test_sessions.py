"""Sign-in and sessions: how long they live, what ends them, and whom wrong passwords slow down."""

import asyncio
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CustomerId, FactorClass, Secret
from chopmark.identity.password import hash_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.identity.sessions import Opened, SteppedUp
from tests.contract.world import ANN, BEN, PASSWORD_LOGIN, ROWS, World, outcome, refusal, world_fixture

world = world_fixture()
RIGHT, WRONG = Secret("Synthetic-1357"), Secret("Synthetic-1358")
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.7"


async def opened(world: World, customer: str = ANN) -> str:
    made = await world.services.identity.sessions.open(CustomerId(customer), PASSWORD_LOGIN, None, "portal", None)
    return made.token.reveal()


async def with_password(world: World, customer: str = ANN, life: timedelta | None = None) -> None:
    phc = hash_password(RIGHT, world.dice.token(16))
    expires = None if life is None else world.clock.at + life
    kind = PasswordKind.DEMO if life is None else PasswordKind.INITIAL
    await world.services.identity.sessions.set_password(PasswordRow(CustomerId(customer), phc, kind, expires), "alice")


async def test_a_session_ends_after_ten_idle_minutes(world: World) -> None:
    token, seen = await opened(world), world.services.identity.sessions.seen
    world.clock.later(seconds=600, milliseconds=-1)
    assert await seen(token) is not None
    world.clock.later(seconds=600)
    assert await seen(token) is None
    world.clock.later(seconds=-1)
    assert await seen(token) is not None  # a refused look does not count as use, and ends nothing


async def test_a_session_ends_after_thirty_minutes_whatever_happens(world: World) -> None:
    token, seen = await opened(world), world.services.identity.sessions.seen
    for _ in range(3):
        world.clock.later(seconds=599)
        assert await seen(token) is not None
    world.clock.later(seconds=2)
    assert await seen(token) is not None  # 1799 s
    world.clock.later(seconds=1)
    assert await seen(token) is None  # 1800 s


async def test_i21_a_step_up_kills_the_old_id_on_all_nodes(world: World) -> None:
    token = await opened(world)
    other = (await world.node(2)).services.identity.sessions
    session = await other.seen(token)
    assert session is not None
    fresh = (await world.services.identity.sessions.step_up(session)).token.reveal()
    for door in (world.services.identity.sessions, other):
        assert await door.seen(token) is None
        assert await door.seen(fresh) is not None
    assert (await refusal(other.step_up(session))).kind is Kind.UNAUTHENTICATED


async def test_i21_of_many_step_ups_at_once_one_gets_the_session(world: World) -> None:
    token = await opened(world)
    session = await world.services.identity.sessions.seen(token)
    assert session is not None
    outcomes = await asyncio.gather(*(outcome(world.services.identity.sessions.step_up(session)) for _ in range(10)))
    assert sum(isinstance(made, SteppedUp) for made in outcomes) == 1


async def test_i21_a_new_session_ends_the_one_that_it_replaces(world: World) -> None:
    token = await opened(world)
    made = await world.services.identity.sessions.open(CustomerId(BEN), PASSWORD_LOGIN, None, "portal", token)
    assert await world.services.identity.sessions.seen(token) is None
    assert await world.services.identity.sessions.seen(made.token.reveal()) is not None


async def test_i24_a_session_signed_out_is_dead_on_every_node_at_once(world: World) -> None:
    token = await opened(world)
    other = (await world.node(2)).services.identity.sessions
    assert await other.seen(token) is not None
    await world.services.identity.sessions.sign_out(token)
    assert await other.seen(token) is None
    assert len(await world.records(Event.PORTAL_SESSION_CLOSED)) == 1


async def test_the_token_is_nowhere_in_the_database(world: World) -> None:
    token = await opened(world)
    assert token not in str(await world.rows("SELECT * FROM sessions")) + str(await world.rows("SELECT * FROM leaves"))


async def test_customer_number_and_person_id_both_sign_in(world: World) -> None:
    await with_password(world)
    for claimed in (ANN, ROWS[ANN]["person_id"], f" {ROWS[ANN]['person_id'].lower()} "):
        made = await world.services.identity.sessions.sign_in(claimed, RIGHT, HOME, None)
        assert made.session.customer == ANN
        assert made.session.factors == {FactorClass.PASSWORD}


async def test_i18_an_unknown_customer_gets_the_refusal_of_a_wrong_password(world: World) -> None:
    await with_password(world)
    refusals = [
        await refusal(world.services.identity.sessions.sign_in(claimed, WRONG, HOME, None))
        for claimed in (ANN, BEN, "C99", ROWS[BEN]["person_id"], "A123456789", "nonsense", "")
    ]
    assert len({(made.kind, made.public, made.field, made.code, made.retry_after_s) for made in refusals}) == 1
    assert len(await world.records(Event.PORTAL_SIGNIN_REFUSED)) == 7
    assert await world.count("leaves", "chain = :chain", chain=f"customer:{ANN}") == 1  # the password, no refusal


async def test_i18_an_unknown_customer_is_slowed_down_as_a_known_one(world: World) -> None:
    await with_password(world)
    for claimed in (ANN, "C99"):
        for _ in range(3):
            assert (
                await refusal(world.services.identity.sessions.sign_in(claimed, WRONG, HOME, None))
            ).code == "signin.wrong"
        refused = await refusal(world.services.identity.sessions.sign_in(claimed, WRONG, HOME, None))
        assert (refused.kind, refused.retry_after_s) == (Kind.TOO_MANY, 30)


async def test_i19_wrong_passwords_slow_down_their_own_network_only(world: World) -> None:
    await with_password(world)
    door = world.services.identity.sessions
    for _ in range(3):
        await refusal(door.sign_in(ANN, WRONG, HOME, None))
    for address in (HOME, "192.0.2.200"):  # the same /24
        assert (await refusal(door.sign_in(ANN, RIGHT, address, None))).kind is Kind.TOO_MANY
    assert isinstance(await door.sign_in(ANN, RIGHT, ELSEWHERE, None), Opened)
    assert isinstance(await door.open(CustomerId(ANN), PASSWORD_LOGIN, None, "launch", None), Opened)
    await with_password(world, BEN)
    assert isinstance(await door.sign_in(BEN, RIGHT, HOME, None), Opened)


async def test_sign_in_is_slow_after_three_and_stops_after_ten_wrong_passwords(world: World) -> None:
    await with_password(world)
    compared = 0
    for _ in range(120):  # one attempt every 30 seconds, for an hour
        made = await outcome(world.services.identity.sessions.sign_in(ANN, WRONG, HOME, None))
        assert isinstance(made, Refusal)
        compared += made.code == "signin.wrong"
        world.clock.later(seconds=30)
    assert compared == 10
    assert isinstance(await world.services.identity.sessions.sign_in(ANN, RIGHT, HOME, None), Opened)


async def test_of_many_wrong_passwords_at_once_three_are_compared(world: World) -> None:
    await with_password(world)
    sign_in = world.services.identity.sessions.sign_in
    outcomes = await asyncio.gather(*(outcome(sign_in(ANN, WRONG, HOME, None)) for _ in range(30)))
    assert sum(isinstance(made, Refusal) and made.kind is Kind.TOO_MANY for made in outcomes) >= 27
    assert len(await world.records(Event.PORTAL_SIGNIN_REFUSED)) <= 3


async def test_a_right_password_gives_its_attempt_back(world: World) -> None:
    await with_password(world)
    for _ in range(6):
        assert isinstance(await world.services.identity.sessions.sign_in(ANN, RIGHT, HOME, None), Opened)


async def test_tw_2_an_initial_password_lapses_after_its_month(world: World) -> None:
    await with_password(world, life=timedelta(days=30))
    world.clock.later(days=30, milliseconds=-1)
    assert isinstance(await world.services.identity.sessions.sign_in(ANN, RIGHT, HOME, None), Opened)
    world.clock.later(milliseconds=1)
    assert (await refusal(world.services.identity.sessions.sign_in(ANN, WRONG, HOME, None))).code == "signin.wrong"
    assert (await refusal(world.services.identity.sessions.sign_in(ANN, RIGHT, HOME, None))).code == "signin.lapsed"
