"""Ceremonies that die: run as a program it forks a child for each line of its input, as `child.py` does."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from chopmark.app.founding import founding
from chopmark.app.issuing_cas import CaDeps
from chopmark.app.settings import Settings
from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.options import CeremonyOptions
from chopmark.ca.ceremony.run import Ceremony
from chopmark.cli.ceremony import ceremony
from chopmark.keys.shares import Shares
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from tests.contract.kill.plan import KillingEngine, Plan
from tests.contract.world import Clock, Dice

PRELOADED = (Ceremony,)
SHARES = ("1111-first operator's share", "2222-second operator's share")


@dataclass
class KillingFolder(Folder):
    """A folder that dies at a planned file: with half of it written, or with all of it there and nobody told."""

    path: Path
    plan: Plan

    def put(self, name: str, content: bytes) -> None:
        half = self.path / f".{name}.{os.getpid()}.part"  # as `write_durably` names it
        half.write_bytes(content[: len(content) // 2])
        self.plan.passes("half a file")
        super().put(name, content)
        self.plan.passes("after a file")


def opening(plan: Plan | None, at: datetime, dice: int) -> Callable[..., Any]:
    async def engine(settings: Settings) -> Engine:
        opened = await open_engine(settings.database_url, pool=settings.pool)
        return opened if plan is None else KillingEngine(opened, plan)

    @asynccontextmanager
    async def opened(settings: Settings, shares: Shares | None) -> AsyncIterator[CaDeps]:
        async with founding(settings, Clock(at), Dice(Random(dice)), engine, shares) as deps:
            yield deps

    return opened


async def hold(told: dict[str, Any], plan: Plan | None) -> int:
    """Hold the ceremony of a told folder; typed shares, a lock that costs nothing."""
    folder = Path(told["folder"])
    settings = Settings(mode="demo", data=folder, database=f"sqlite:///{folder / 'house.db'}")
    typed = [SHARES[0], SHARES[1]] if told["resume"] else [SHARES[0], SHARES[0], SHARES[1], SHARES[1]]
    where = folder / "ceremony"
    return await ceremony(
        settings,
        Folder(where) if plan is None else KillingFolder(where, plan),
        CeremonyOptions(one="Amy", two="Ben", resume=told["resume"]),
        rollover=False,
        ask=lambda _: typed.pop(0),
        opening=opening(plan, datetime.fromisoformat(told["at"]), told["dice"]),
        memory_kib=64,
    )


def _child(line: str) -> None:
    told = json.loads(line)
    plan = Plan(told["moment"], told["number"], sys.stdout.fileno(), armed=True)
    code = asyncio.run(hold(told, plan))
    sys.stdout.flush()
    plan.say(f"passed {json.dumps(plan.passed)}")
    os._exit(code)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(line)
        _, status = os.waitpid(child, 0)
        os.write(sys.stdout.fileno(), f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
