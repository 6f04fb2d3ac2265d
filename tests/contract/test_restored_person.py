"""A certificate whose customer the copy does not know: the command says that the counter goes on standing still."""

from datetime import date
from pathlib import Path

import pytest

from chopmark.app.worker import reentry_of
from chopmark.cli.operating_restored import ended_and_told, restoring_of
from tests.contract.restores import backed_up
from tests.contract.test_restore import LATE
from tests.contract.world import World, world_fixture

world = world_fixture(("sqlite",))


async def declared(world: World) -> int:
    reentry = reentry_of(world.services)
    return await ended_and_told(restoring_of(world.services, reentry), reentry, "S1", "the disk died")


async def test_the_counter_works_again_when_the_customer_is_here_and_not_before(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.once("sequence")
    backup = backed_up(world, None, tmp_path)
    assert (await world.services.ra.customer_import.add([LATE], "alice")).imported == 1
    errand = await world.to_code("C8")
    await errand.birth_date(date.fromisoformat(LATE["birth_date"]))
    await errand.confirm()
    await world.work()
    await backup.put_back(world)
    assert await declared(world) == 1
    said = capsys.readouterr().out
    assert "FOR A PERSON: its customer is not here" in said
    assert "works again" not in said
    await world.services.foundation.restorewatch.look()
    assert world.services.foundation.restorewatch.behind
    assert (await world.services.ra.customer_import.add([LATE], "alice")).imported == 1
    assert await declared(world) == 0
    assert "The counter works again." in capsys.readouterr().out
    await world.services.foundation.restorewatch.look()
    assert not world.services.foundation.restorewatch.behind
