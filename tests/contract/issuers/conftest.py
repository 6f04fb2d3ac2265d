"""A world whose clock is the strangers': their processes read the machine's, and sign with what it says."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.issuers import cmp_peer, est_peer, peers, stranger
from tests.contract.world import World, world_fixture

world = world_fixture(("sqlite",))


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> stranger.Ca:
    """A CA that is not ours."""
    return stranger.found(tmp_path_factory.mktemp("stranger"), "Stranger")


@pytest.fixture(scope="session")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> stranger.Ca:
    """Another one, that nobody told us to trust."""
    return stranger.found(tmp_path_factory.mktemp("other"), "Other")


OPENERS = {
    "embedded": peers.open_embedded,
    "cfssl": peers.open_cfssl,
    "cmp": cmp_peer.open_cmp,
    "est": est_peer.open_est,
}
FOREIGN = [kind for kind in OPENERS if kind != "embedded"]


async def opened_peer(kind: str, world: World, folder: Path, ca: stranger.Ca, stack: AsyncExitStack) -> peers.Peer:
    world.clock.at = stranger.moment(folder) + timedelta(minutes=2)
    return await OPENERS[kind](stack, world, folder, ca)


@pytest.fixture(params=OPENERS)
async def peer(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, ca: stranger.Ca
) -> AsyncIterator[peers.Peer]:
    """Every CA."""
    async with AsyncExitStack() as stack:
        yield await opened_peer(request.param, world, tmp_path, ca, stack)


@pytest.fixture(params=FOREIGN)
async def foreign(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, ca: stranger.Ca
) -> AsyncIterator[peers.Peer]:
    """Every CA of another house."""
    async with AsyncExitStack() as stack:
        yield await opened_peer(request.param, world, tmp_path, ca, stack)


@pytest.fixture(params=["cfssl", "cmp"])
async def revoking(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, ca: stranger.Ca
) -> AsyncIterator[peers.Peer]:
    """Every CA of another house whose protocol has a revocation."""
    async with AsyncExitStack() as stack:
        yield await opened_peer(request.param, world, tmp_path, ca, stack)
