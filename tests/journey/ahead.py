"""The demo's server and worker in one process, with a clock that is ahead by as many days as a file says.

`python -m tests.journey.ahead FILE`: the clock is an argument of the composition root, so a certificate of today comes
near its end when the test writes another number into the file.
"""

import asyncio
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn

from chopmark.app.foundation import SystemEntropy, build, tasks
from chopmark.app.logs import configure_logging
from chopmark.app.server import say
from chopmark.app.settings import Settings
from chopmark.app.web import alarms, doors, looks, server_config
from chopmark.demo.history import demo_of
from chopmark.jobs import loop
from chopmark.ra.policy_record import record_policy
from chopmark.web import app


@dataclass(frozen=True, slots=True)
class ClockAhead:
    """The machine's clock, and the days of the file on top of it."""

    file: Path

    def now(self) -> datetime:
        """Return the present moment of this installation, UTC."""
        return datetime.now(UTC) + timedelta(days=int(self.file.read_text()))


class Announced(uvicorn.Server):
    """Says when it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the ready line."""
        await super().startup(sockets)
        if self.started:
            say("ready ahead")


async def serve(file: Path) -> None:
    """Run until the test ends this process."""
    settings = Settings()
    house = await build(settings, ClockAhead(file), SystemEntropy())
    await house.restorewatch.look()
    await record_policy(house.policy, house.installation, house.audit_log)
    built = app.create(doors(house, await demo_of(house)))
    stop = asyncio.Event()
    jobs = asyncio.create_task(loop.run((*tasks(house), *looks(house)), stop, alarms(house, "demo")))
    await Announced(server_config(built.asgi, settings, lifespan="off")).serve()
    stop.set()
    await jobs
    await house.close()


if __name__ == "__main__":
    configure_logging()
    asyncio.run(serve(Path(sys.argv[1])))
