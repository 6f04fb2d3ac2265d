"""Second guards of launch tickets and sessions: each stands behind another check that would hide it."""

from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber
from tests.contract.barrier import stoppable
from tests.contract.test_clients import ACCOUNT, PASSWORD, WHOM, client_of, ticket
from tests.contract.world import BEN, World, outcome, refusal, world_fixture

world = world_fixture()


@pytest.mark.parametrize(("late_ms", "opened"), [(1, True), (0, False)])
async def test_a_ticket_that_was_taken_is_confirmed_within_five_minutes(
    world: World, late_ms: int, opened: bool
) -> None:
    client, _ = await client_of(world)
    secret = await ticket(world, client)
    await world.services.identity.launches.take(secret, "visitor")
    world.clock.at += timedelta(minutes=5) - timedelta(milliseconds=late_ms)
    made = await outcome(world.services.identity.launches.confirm(secret, "visitor", None))
    assert isinstance(made, Refusal) is not opened
    assert await world.count("sessions") == int(opened)


async def test_a_ticket_that_was_not_taken_is_not_confirmed(world: World) -> None:
    client, _ = await client_of(world)
    secret = await ticket(world, client)
    for visitor in ("visitor", ""):
        assert (await refusal(world.services.identity.launches.confirm(secret, visitor, None))).kind is Kind.FORBIDDEN
    assert await world.count("sessions") == 0


async def test_a_ticket_of_a_clock_ahead_that_was_taken_by_it_is_not_confirmed(world: World) -> None:
    client, _ = await client_of(world)
    secret, began = await ticket(world, client), world.clock.at
    await world.services.identity.launches.take(secret, "visitor")
    world.clock.at = began - timedelta(hours=1)
    assert (await refusal(world.services.identity.launches.confirm(secret, "visitor", None))).kind is Kind.FORBIDDEN
    assert await world.count("sessions") == 0


async def test_a_client_that_is_disabled_while_it_asks_gets_no_ticket(world: World) -> None:
    client, _ = await client_of(world)
    other, turnstile = await stoppable(world)

    async def meanwhile() -> None:
        await world.services.identity.launches.disable("trading", "alice")

    turnstile.before(Event.PORTAL_LAUNCH_CREATED, meanwhile)
    refused = await refusal(other.services.identity.launches.create(client, WHOM, ACCOUNT, PASSWORD, None))
    assert turnstile.passed == [Event.PORTAL_LAUNCH_CREATED]
    assert refused.kind is Kind.UNAUTHENTICATED
    assert await world.count("launches") == 0


@pytest.mark.parametrize("event", [Event.PORTAL_LAUNCH_TAKEN, Event.PORTAL_LAUNCH_USED])
async def test_a_client_that_is_disabled_while_its_ticket_is_used_lets_nobody_in(world: World, event: Event) -> None:
    client, _ = await client_of(world)
    secret = await ticket(world, client)
    other, turnstile = await stoppable(world)

    async def meanwhile() -> None:
        await world.services.identity.launches.disable("trading", "alice")

    turnstile.before(event, meanwhile)
    await outcome(other.services.identity.launches.take(secret, "visitor"))
    assert (await refusal(other.services.identity.launches.confirm(secret, "visitor", None))).kind is Kind.FORBIDDEN
    assert turnstile.passed == [event]
    assert await world.count("sessions") == 0


async def test_another_customers_account_gets_no_ticket_and_costs_no_other_client_its_rate(world: World) -> None:
    client, _ = await client_of(world)
    theirs = AccountNumber(f"F014000-{int(BEN[1:]):07d}")
    refused = await refusal(ticket(world, client, account=theirs))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "account")
    assert await world.count("launches") == 0


async def test_one_clients_tickets_survive_the_end_of_another(world: World) -> None:
    client, _ = await client_of(world)
    secret = await ticket(world, client)
    await world.services.identity.launches.put_client("other", "another program", "alice")
    await world.services.identity.launches.disable("other", "alice")
    assert (await world.services.identity.launches.take(secret, "visitor")).customer == WHOM
    await world.services.identity.launches.confirm(secret, "visitor", None)
    assert await world.count("sessions") == 1
