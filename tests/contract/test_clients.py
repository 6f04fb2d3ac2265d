"""What a program of the firm may ask for, how fast, how it is ended at once; and what strangers at its doors leave."""

import asyncio

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, Secret
from chopmark.identity.launching import CROWD, REPLAYS
from chopmark.identity.ports import Client
from chopmark.identity.scope import Scope, scope_of
from tests.contract.world import ANN, World, outcome, refusal, world_fixture

world = world_fixture()
WHOM, ACCOUNT = CustomerId(ANN), AccountNumber("F014000-0000001")
PASSWORD = frozenset({FactorClass.PASSWORD})


async def client_of(world: World, scope: Scope | None = None) -> tuple[Client, Secret]:
    """A client as it is when it has just authenticated, and its secret."""
    context = world.services.identity.launches
    secret = (await context.put_client("trading", "trading program", "alice")).secret
    if scope is not None:
        await context.limit("trading", scope, "alice")
    return await context.authenticate("trading", secret, WHOM), secret


async def ticket(world: World, client: Client, **other: object) -> Secret:
    how = {"account": ACCOUNT, "factors": PASSWORD, "wanted": None, **other}
    return await world.services.identity.launches.create(client, WHOM, how["account"], how["factors"], how["wanted"])  # type: ignore[arg-type]


async def test_a_disabled_client_gets_nothing_more_on_any_node_even_when_it_was_let_in_before(world: World) -> None:
    client, secret = await client_of(world)
    other = (await world.node(2)).services.identity.launches
    await world.services.identity.launches.disable("trading", "alice")
    for context in (world.services.identity.launches, other):
        assert (await refusal(context.authenticate("trading", secret, WHOM))).kind is Kind.UNAUTHENTICATED
        refused = await refusal(context.create(client, WHOM, ACCOUNT, PASSWORD, None))
        assert refused.kind is Kind.UNAUTHENTICATED
    assert await world.count("launches") == 0
    assert len(await world.records(Event.STAFF_CLIENT_REMOVED)) == 1


async def test_the_tickets_of_a_disabled_client_are_dead_at_once_taken_or_not(world: World) -> None:
    client, _ = await client_of(world)
    context = world.services.identity.launches
    untaken, taken = await ticket(world, client), await ticket(world, client)
    await context.take(taken, "visitor")
    await context.disable("trading", "alice")
    assert (await refusal(context.take(untaken, "visitor"))).kind is Kind.FORBIDDEN
    assert (await refusal(context.confirm(taken, "visitor", None))).kind is Kind.FORBIDDEN
    assert await world.count("sessions") == 0


async def test_a_disabled_client_that_is_put_anew_has_the_new_secret_only_and_its_old_tickets_stay_dead(
    world: World,
) -> None:
    client, old = await client_of(world)
    context = world.services.identity.launches
    dead = await ticket(world, client)
    await context.disable("trading", "alice")
    world.clock.later(milliseconds=1)
    new = (await context.put_client("trading", "trading program", "alice")).secret
    assert (await refusal(context.authenticate("trading", old, WHOM))).kind is Kind.UNAUTHENTICATED
    client = await context.authenticate("trading", new, WHOM)
    assert (await refusal(context.take(dead, "visitor"))).kind is Kind.FORBIDDEN
    assert (await context.take(await ticket(world, client), "visitor")).customer == ANN


async def test_an_old_secret_ends_at_once_with_the_tickets_that_it_may_have_got(world: World) -> None:
    client, old = await client_of(world)
    context = world.services.identity.launches
    new = (await context.put_client("trading", "trading program", "alice")).secret
    asked = await ticket(world, client)
    assert (await context.authenticate("trading", old, WHOM)).id == "trading"
    await context.end_previous("trading", "alice")
    assert (await refusal(context.authenticate("trading", old, WHOM))).kind is Kind.UNAUTHENTICATED
    assert (await context.authenticate("trading", new, WHOM)).id == "trading"
    assert (await refusal(context.take(asked, "visitor"))).kind is Kind.FORBIDDEN
    assert (await refusal(context.end_previous("trading", "alice"))).kind is Kind.NOT_FOUND


async def test_only_a_client_that_there_is_can_be_disabled_or_limited(world: World) -> None:
    context = world.services.identity.launches
    assert (await refusal(context.disable("nobody", "alice"))).kind is Kind.NOT_FOUND
    assert (await refusal(context.limit("nobody", Scope(), "alice"))).kind is Kind.NOT_FOUND
    await client_of(world)
    await context.disable("trading", "alice")
    assert (await refusal(context.disable("trading", "alice"))).kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    ("scope", "other", "field"),
    [
        (Scope(accounts=("9A95-*", "F014000-000000?"[1:])), {}, "account"),
        (Scope(accounts=("F014000-000000?1", "f014000-*")), {}, "account"),
        (Scope(purposes=frozenset({"inquiry"})), {}, "wanted"),
        (Scope(purposes=frozenset({"inquiry"})), {"wanted": "renew"}, "wanted"),
        (Scope(purposes=frozenset({"inquiry"})), {"wanted": "elsewhere"}, "wanted"),
        (Scope(factors=PASSWORD), {"factors": frozenset({FactorClass.SMS})}, "factors"),
        (Scope(factors=PASSWORD), {"factors": PASSWORD | {FactorClass.OLD_KEY}}, "factors"),
    ],
)
async def test_what_is_outside_the_scope_is_refused_and_recorded(
    world: World, scope: Scope, other: dict[str, object], field: str
) -> None:
    client, _ = await client_of(world, scope)
    refused = await refusal(ticket(world, client, **other))
    assert (refused.kind, refused.code, refused.field) == (Kind.FORBIDDEN, "scope", field)
    assert await world.count("launches") == 0
    assert len(await world.records(Event.PORTAL_CLIENT_REFUSED)) == 1


async def test_what_is_inside_the_scope_is_let_through(world: World) -> None:
    scope = Scope(("9A95-*", "F014000-*"), frozenset({"inquiry", "certificates"}), PASSWORD, 10)
    client, _ = await client_of(world, scope)
    assert client.scope == scope
    await ticket(world, client)
    await ticket(world, client, wanted="inquiry")
    await ticket(world, client, wanted="elsewhere")  # opens the overview, as a ticket that names no page does
    assert await world.count("launches") == 3


async def test_a_client_that_asks_too_fast_waits_also_when_it_asks_all_at_once(world: World) -> None:
    client, _ = await client_of(world, Scope(per_minute=5))
    contexts = (world.services.identity.launches, (await world.node(2)).services.identity.launches)
    asked = (outcome(contexts[n % 2].create(client, WHOM, ACCOUNT, PASSWORD, None)) for n in range(12))
    made = await asyncio.gather(*asked)
    assert sum(isinstance(one, Secret) for one in made) <= 5
    await outcome(ticket(world, client))
    for _ in range(5):
        await outcome(ticket(world, client))
    assert await world.count("launches") == 5
    refused = await refusal(ticket(world, client))
    assert (refused.kind, refused.code, refused.retry_after_s) == (Kind.TOO_MANY, "launch.rate", 60)
    world.clock.later(seconds=60)
    assert isinstance(await ticket(world, client), Secret)


@pytest.mark.parametrize(
    "typed",
    [
        (["f014000-*"], [], [], 1),
        ([""], [], [], 1),
        (["A B"], [], [], 1),
        (["F014000-[01]*"], [], [], 1),
        ([], ["elsewhere"], [], 1),
        ([], [], ["pin"], 1),
        ([], [], [], 0),
        ([], [], [], 1_000_001),
    ],
)
def test_a_scope_that_is_none_is_refused(typed: tuple[list[str], list[str], list[str], int]) -> None:
    assert isinstance(scope_of(*typed), Refusal)


async def test_i41_tickets_that_nobody_made_write_one_chain_and_a_bounded_number_of_records(world: World) -> None:
    context, before = world.services.identity.launches, await world.count("chains")
    tickets = [Secret(f"{n:043}") for n in range(2 * CROWD)]
    kinds = [(await refusal(context.take(one, "visitor", "192.0.2.0/24"))).kind for one in tickets]
    assert kinds == [Kind.FORBIDDEN] * CROWD + [Kind.TOO_MANY] * CROWD
    for n in range(CROWD):
        await refusal(context.confirm(Secret(f"{n:043}"), "visitor", None, f"198.51.{n}.0/24"))
    assert await world.count("chains") == before + 1
    assert len(await world.records(Event.PORTAL_LAUNCH_REFUSED)) == CROWD
    refused = await refusal(context.take(Secret("A" * 43), "visitor", "192.0.2.0/24"))
    assert refused.retry_after_s == 60


async def test_a_crowd_of_its_network_keeps_neither_a_good_ticket_nor_a_good_client_out(world: World) -> None:
    client, secret = await client_of(world)
    context, good = world.services.identity.launches, await ticket(world, client)
    for n in range(2 * CROWD):
        await refusal(context.take(Secret(f"{n:043}"), "visitor", "192.0.2.0/24"))
        await refusal(context.authenticate("trading", Secret("A" * 43), WHOM, "192.0.2.0/24"))
    assert (await context.authenticate("trading", secret, WHOM, "192.0.2.0/24")).id == "trading"
    assert (await context.take(good, "visitor", "192.0.2.0/24")).customer == ANN


async def test_i41_client_ids_without_end_write_one_chain_and_a_bounded_number_of_records(world: World) -> None:
    context, before = world.services.identity.launches, await world.count("chains")
    for n in range(2 * CROWD):
        refused = await refusal(context.authenticate(f"client-{n}", Secret("A" * 43), WHOM, f"198.51.{n}.0/24"))
        assert refused.kind is Kind.UNAUTHENTICATED
    assert await world.count("chains") == before + 1
    assert len(await world.records(Event.PORTAL_CLIENT_REFUSED)) == CROWD


async def test_i41_a_ticket_that_is_replayed_without_end_writes_a_bounded_number_of_records(world: World) -> None:
    client, _ = await client_of(world)
    used = await ticket(world, client)
    await world.services.identity.launches.take(used, "visitor")
    for _ in range(REPLAYS + 10):
        assert (await refusal(world.services.identity.launches.take(used, "thief"))).code == "launch.used"
    assert len(await world.records(Event.PORTAL_LAUNCH_REFUSED)) == REPLAYS
    assert not (await world.audit()).findings
