"""Real restores for tests: a copy of the database by the engine's own means, put back while what lies outside stays."""

import asyncio
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark.app.services import build
from chopmark.app.worker import reentry_of
from chopmark.cli.database import restoring_of
from chopmark.ra.restoring import Restoring
from chopmark.store.schema import metadata
from tests import postgres
from tests.contract.world import World


@dataclass(frozen=True)
class Backup:
    """A copy of a world's database: SQLite's own backup of the file, or a pg_dump."""

    file: Path
    cluster: postgres.Cluster | None

    async def put_back(self, world: World) -> None:
        """Restore it: the processes stand meanwhile, and nothing but the database changes."""
        await world.services.close()
        settings = world.services.foundation.settings
        if self.cluster is None:
            target = Path(settings.database.removeprefix("sqlite:///"))
            for suffix in ("-wal", "-shm"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            shutil.copy(self.file, target)
        else:
            dsn = await self.cluster.fresh_database()
            restore: list[str | Path] = [self.cluster.programs / "pg_restore", "--no-owner", "-d", dsn, self.file]
            done = await (await asyncio.create_subprocess_exec(*restore)).wait()
            assert done == 0
            settings = settings.model_copy(update={"database": dsn})
        world.services = await build(settings, world.clock, world.dice)


def backed_up(world: World, cluster: postgres.Cluster | None, folder: Path) -> Backup:
    """Copy the database while it is in use."""
    number = len(list(folder.glob("backup-*")))
    file = folder / f"backup-{number}"
    database = world.services.foundation.settings.database
    if cluster is None:
        with (
            closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(file)) as to,
        ):
            source.backup(to)
    else:
        subprocess.run([cluster.programs / "pg_dump", "-Fc", "-f", file, database], check=True, capture_output=True)
    return Backup(file, cluster)


def restoring(world: World) -> Restoring:
    """What the command calls."""
    return restoring_of(world.services, reentry_of(world.services))


async def everything(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    return {
        table.name: sorted(await world.rows(f"SELECT * FROM {table.name}"), key=repr)
        for table in metadata.sorted_tables
    }
