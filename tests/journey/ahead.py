"""The demo's server and worker in one process, with a clock that is ahead by as many seconds as a file says.

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

from chopmark.app.foundation import SystemEntropy
from chopmark.app.logs import configure_logging
from chopmark.app.server import looks, say, server_config
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.app.worker import alarms, tasks
from chopmark.demo.history import demo_of
from chopmark.jobs import loop
from chopmark.ra.policy_record import record_policy
from chopmark.web import app


@dataclass(frozen=True, slots=True)
class ClockAhead:
    """The machine's clock, and the seconds of the file on top of it."""

    file: Path

    def now(self) -> datetime:
        """Return the present moment of this installation, UTC."""
        return datetime.now(UTC) + timedelta(seconds=int(self.file.read_text()))


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
    services = await build(settings, ClockAhead(file), SystemEntropy())
    foundation = services.foundation
    await foundation.restorewatch.look()
    await record_policy(foundation.policy, foundation.installation, foundation.audit_log)
    built = app.create(web_services(services, await demo_of(services)))
    stop = asyncio.Event()
    work = loop.run((*tasks(services), *looks(services)), stop, alarms(services, "demo"))
    jobs = asyncio.create_task(work)
    await Announced(server_config(built.asgi, settings, lifespan="off")).serve()
    stop.set()
    await jobs
    await services.close()


if __name__ == "__main__":
    configure_logging()
    asyncio.run(serve(Path(sys.argv[1])))
