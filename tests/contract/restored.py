"""A database that is put back as it was: a copy that was taken earlier becomes the installation's database."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from chopmark.main import build
from tests import postgres
from tests.contract.world import World


@dataclass
class Backups:
    """Takes copies of a world's database, and puts one back; heads and journal stay as they are, being outside."""

    world: World
    cluster: postgres.Cluster | None
    folder: Path
    taken: int = 0

    async def take(self) -> str:
        """Return the address of a copy of the database as it is now; the process is started anew."""
        self.taken += 1
        self.world.clock.later(seconds=30)  # the sequencer's lease is another process's
        await self.world.once("sequence")
        await self.world.house.engine.close()
        if self.cluster is None:
            copy = self.folder / f"copy-{self.taken}.db"
            shutil.copyfile(self.world.url.removeprefix("sqlite:///"), copy)
            address = f"sqlite:///{copy}"
        else:
            address = await self.cluster.fresh_database(self.world.url)
        await self._start(self.world.url)
        self.world.clock.later(seconds=30)
        return address

    async def put_back(self, address: str) -> None:
        """Have the installation's processes find this copy where their database was, half a minute later."""
        self.world.clock.later(seconds=30)
        await self.world.house.engine.close()
        await self._start(address)
        await self.world.house.restorewatch.look()

    async def _start(self, address: str) -> None:
        settings = self.world.house.settings.model_copy(update={"database": address})
        self.world.house = await build(settings, self.world.clock, self.world.dice)
        self.world.url = address
