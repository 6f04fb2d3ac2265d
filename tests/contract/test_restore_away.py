"""A database that is away for a moment is not one that was restored: what cannot be asked is not missing."""

from collections.abc import Collection, Mapping
from typing import NoReturn

import pytest

from chopmark.core.refusal import Refused
from chopmark.core.types import CertificateState, Serial
from chopmark.store.engine.port import unavailable
from tests.contract.world import World, world_fixture

world = world_fixture()


class Away:
    """Records of a database that changes its leader just now."""

    async def states(self, serials: Collection[Serial]) -> Mapping[Serial, CertificateState]:
        assert serials
        self._gone()

    def _gone(self) -> NoReturn:
        raise unavailable()


async def test_lines_of_the_last_second_do_not_stop_the_counter_while_the_database_is_away(world: World) -> None:
    watch = world.services.foundation.restorewatch
    await watch.look()
    here = watch.records
    await world.to_issued()
    watch.records = Away()
    with pytest.raises(Refused):
        await watch.look()
    assert not watch.behind
    watch.require_whole()
    watch.records = here
    await watch.look()
    assert not watch.behind
