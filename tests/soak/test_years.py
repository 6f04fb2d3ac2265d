"""Ten thousand customers for longer than anything is kept: no table whose rows have a life grows."""

import os

from chopmark.store.repositories.retention import LIVES
from tests.contract.test_clean_up import assert_flat, simulated
from tests.contract.world import World, world_fixture

world = world_fixture()
CUSTOMERS = int(os.environ.get("CHOPMARK_YEAR_CUSTOMERS", "10000"))
VISITS_IN_DAYS = 10
"""Each of them comes once in so many days."""


async def test_a_year_and_more_of_ten_thousand_customers_stays_flat(world: World) -> None:
    longest = max(life.kept for life in LIVES).days
    assert_flat(await simulated(world, longest + 60, CUSTOMERS // VISITS_IN_DAYS), longest + 2)
