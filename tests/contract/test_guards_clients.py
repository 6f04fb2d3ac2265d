"""Second guards of the programs that ask for tickets: what they are called, and how often a stranger may try."""

from chopmark.core.refusal import Kind
from chopmark.core.types import CustomerId, Secret
from tests.contract.world import ANN, World, refusal, world_fixture

world = world_fixture()


async def test_a_client_that_is_called_otherwise_than_clients_are_is_not_made(world: World) -> None:
    for name in ("", "a", "A1", "-ab", "a b", "a_b", "a" * 41, "ab\n"):
        refused = await refusal(world.services.identity.launches.put_client(name, "A program", "alice"))
        assert (refused.kind, refused.code) == (Kind.MALFORMED, "client_id"), name
    assert await world.count("clients") == 0


async def test_a_client_has_a_name_that_can_be_read(world: World) -> None:
    launches = world.services.identity.launches
    for name in ("", " ", "\u3000", "a\nb", "\x1b[31m", "\u202eab", "a\u200fb", "a" * 81):
        refused = await refusal(launches.put_client("desk", name, "alice"))
        assert (refused.kind, refused.field) == (Kind.MALFORMED, "name"), name
    assert await world.count("clients") == 0
    await launches.put_client("desk", "下單程式 (desk)", "alice")
    await launches.put_client("long", "程" * 80, "alice")
    assert [client.name for client in await launches.clients()] == ["下單程式 (desk)", "程" * 80]


async def test_a_network_may_show_sixty_wrong_secrets_in_a_minute_and_a_right_one_at_any_time(world: World) -> None:
    launches = world.services.identity.launches
    made = [await launches.put_client(name, "A program", "alice") for name in ("ab", "a" * 40)]

    async def wrong(network: str = "192.0.2.0/24") -> tuple[Kind, str | None]:
        refused = await refusal(launches.authenticate("ab", Secret("wrong"), CustomerId(ANN), network))
        return refused.kind, refused.code

    told = [await wrong() for _ in range(60)]
    assert {kind for kind, _ in told} == {Kind.UNAUTHENTICATED}
    assert await wrong() == (Kind.TOO_MANY, "crowd")
    assert (await wrong("198.51.100.0/24"))[0] is Kind.UNAUTHENTICATED
    for one in made:
        assert (await launches.authenticate(one.client, one.secret, CustomerId(ANN), "192.0.2.0/24")).id == one.client
    world.clock.later(seconds=59)
    assert await wrong() == (Kind.TOO_MANY, "crowd")
    world.clock.later(seconds=1)
    assert (await wrong())[0] is Kind.UNAUTHENTICATED
