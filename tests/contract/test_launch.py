"""Launch tickets (I20): once, within a minute, by one visitor; whatever else is tried is refused and recorded."""

import asyncio

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, Secret
from chopmark.identity.launching import Credential
from chopmark.identity.ports import Launch
from chopmark.identity.sessions import Opened
from tests.contract.world import ANN, BEN, World, outcome, refusal, world_fixture

world = world_fixture()
WHOM = CustomerId(ANN)
ACCOUNT = AccountNumber("F014000-0000001")
LOGIN = frozenset({FactorClass.PASSWORD})


async def ticket(world: World, factors: frozenset[FactorClass] = LOGIN) -> Secret:
    context = world.services.identity.launches
    credential = await context.put_client("trading", "trading program", "alice")
    client = await context.authenticate("trading", credential.secret, WHOM)
    return await context.create(client, WHOM, ACCOUNT, factors, None)


async def test_a_ticket_becomes_a_session_of_its_customer_with_the_factors_of_the_login(world: World) -> None:
    factors = frozenset({FactorClass.PASSWORD, FactorClass.SMS})
    secret = await ticket(world, factors)
    launch = await world.services.identity.launches.take(secret, "visitor")
    assert (launch.customer, launch.account) == (ANN, ACCOUNT)
    opened, wanted = await world.services.identity.launches.confirm(secret, "visitor", None)
    assert wanted is None
    session = await world.services.identity.sessions.seen(opened.token.reveal())
    assert session is not None
    assert (session.customer, session.factors, session.account) == (ANN, factors, ACCOUNT)


async def test_f24_of_fifty_uses_at_once_one_is_taken(world: World) -> None:
    secret = await ticket(world)
    contexts = [world.services.identity.launches, (await world.node(2)).services.identity.launches]
    outcomes = await asyncio.gather(*(outcome(contexts[n % 2].take(secret, f"visitor-{n}")) for n in range(50)))
    assert sum(isinstance(made, Launch) for made in outcomes) == 1
    refused = [made for made in outcomes if isinstance(made, Refusal)]
    assert {made.kind for made in refused} <= {Kind.FORBIDDEN, Kind.CONFLICT}
    replays = await world.records(Event.PORTAL_LAUNCH_REFUSED)
    assert len(replays) == sum(made.code == "launch.used" for made in refused)


async def test_of_many_confirmations_at_once_one_opens_a_session(world: World) -> None:
    secret = await ticket(world)
    await world.services.identity.launches.take(secret, "visitor")
    confirm = world.services.identity.launches.confirm
    outcomes = await asyncio.gather(*(outcome(confirm(secret, "visitor", None)) for _ in range(20)))
    assert sum(isinstance(made, tuple) for made in outcomes) == 1
    assert await world.count("sessions") == 1


async def test_who_took_a_ticket_is_asked_until_the_answer_or_for_five_minutes_and_nobody_else_is(world: World) -> None:
    launches, secret = world.services.identity.launches, await ticket(world)
    assert await launches.asked(secret, "visitor") is None
    taken = await launches.take(secret, "visitor")
    assert await launches.asked(secret, "visitor") == taken
    assert await launches.asked(secret, "thief") is None
    world.clock.later(minutes=5, milliseconds=-1)
    assert await launches.asked(secret, "visitor") == taken
    await launches.confirm(secret, "visitor", None)
    assert await launches.asked(secret, "visitor") is None


async def test_who_waits_for_five_minutes_is_not_asked_any_more(world: World) -> None:
    launches, secret = world.services.identity.launches, await ticket(world)
    await launches.take(secret, "visitor")
    world.clock.later(minutes=5)
    assert await launches.asked(secret, "visitor") is None


async def test_a_ticket_lives_to_the_last_millisecond_of_a_minute(world: World) -> None:
    secret = await ticket(world)
    world.clock.later(seconds=60, milliseconds=-1)
    assert (await world.services.identity.launches.take(secret, "visitor")).customer == ANN


async def test_a_ticket_is_over_at_sixty_seconds_sharp(world: World) -> None:
    secret = await ticket(world)
    world.clock.later(seconds=60)
    refused = await refusal(world.services.identity.launches.take(secret, "visitor"))
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "launch.expired")


async def test_a_replayed_ticket_is_refused_and_recorded_even_to_its_own_visitor(world: World) -> None:
    secret = await ticket(world)
    await world.services.identity.launches.take(secret, "visitor")
    for visitor in ("visitor", "thief"):
        assert (await refusal(world.services.identity.launches.take(secret, visitor))).code == "launch.used"
    assert len(await world.records(Event.PORTAL_LAUNCH_REFUSED)) == 2
    assert secret.reveal() not in str(await world.rows("SELECT * FROM leaves"))


async def test_only_the_visitor_who_took_the_ticket_can_confirm_it(world: World) -> None:
    secret = await ticket(world)
    confirm = world.services.identity.launches.confirm
    assert (await refusal(confirm(secret, "visitor", None))).kind is Kind.FORBIDDEN
    await world.services.identity.launches.take(secret, "visitor")
    assert (await refusal(confirm(secret, "thief", None))).kind is Kind.FORBIDDEN
    opened, _ = await confirm(secret, "visitor", None)
    assert isinstance(opened, Opened)


async def test_an_unknown_ticket_is_refused_in_the_words_of_an_old_one(world: World) -> None:
    secret = await ticket(world)
    unknown = await refusal(world.services.identity.launches.take(Secret("A" * 43), "visitor"))
    world.clock.later(minutes=2)
    old = await refusal(world.services.identity.launches.take(secret, "visitor"))
    assert (unknown.kind, unknown.public) == (old.kind, old.public)


async def test_a_ticket_needs_known_factors_and_the_customers_own_account(world: World) -> None:
    context = world.services.identity.launches
    credential = await context.put_client("trading", "trading program", "alice")
    client = await context.authenticate("trading", credential.secret, WHOM)
    refused = await refusal(context.create(client, WHOM, ACCOUNT, frozenset(), None))
    assert (refused.kind, refused.field) == (Kind.MALFORMED, "factors")
    refused = await refusal(context.create(client, CustomerId(BEN), ACCOUNT, LOGIN, None))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "account")
    assert await world.count("launches") == 0


async def test_a_rotated_secret_overlaps_for_a_week(world: World) -> None:
    context = world.services.identity.launches
    first: Credential = await context.put_client("trading", "trading program", "alice")
    second = await context.put_client("trading", "trading program", "alice")
    world.clock.later(days=7, milliseconds=-1)
    for secret in (first.secret, second.secret):
        assert (await context.authenticate("trading", secret, WHOM)).id == "trading"
    world.clock.later(milliseconds=1)
    assert (await refusal(context.authenticate("trading", first.secret, WHOM))).kind is Kind.UNAUTHENTICATED
    assert (await context.authenticate("trading", second.secret, WHOM)).id == "trading"
    third = await context.put_client("trading", "trading program", "alice")
    assert (await refusal(context.authenticate("trading", first.secret, WHOM))).kind is Kind.UNAUTHENTICATED
    assert (await context.authenticate("trading", third.secret, WHOM)).id == "trading"


async def test_a_wrong_credential_is_refused_and_recorded_as_an_unknown_client_is(world: World) -> None:
    context = world.services.identity.launches
    await context.put_client("trading", "trading program", "alice")
    known = await refusal(context.authenticate("trading", Secret("A" * 43), WHOM))
    unknown = await refusal(context.authenticate("nobody", Secret("A" * 43), WHOM))
    assert known == unknown
    assert len(await world.records(Event.PORTAL_CLIENT_REFUSED)) == 2
