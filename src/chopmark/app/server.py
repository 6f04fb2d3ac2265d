"""Starting servers: the production server with its workers, and the demo with everything in one process."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from chopmark.app import mutual_tls
from chopmark.app.foundation import SystemClock, opened, tasks
from chopmark.app.logs import configure_logging
from chopmark.app.secrets import NotReady
from chopmark.app.settings import Settings
from chopmark.app.web import (
    Server,
    alarms,
    ca_certificates,
    doors,
    est_door,
    heads,
    looks,
    server_config,
)
from chopmark.demo.history import STALE_AFTER, demo_of, prepare, require_demo, write_readme
from chopmark.jobs import loop
from chopmark.ra.policy_record import record_policy
from chopmark.store.engine.opening import assert_usable
from chopmark.web import app

_LOOK_AGAIN_S = 0.05
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - every address is asked at one of them


def say(line: str) -> None:
    """Write a line for the operator, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Announced(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the ready line."""
        await super().startup(sockets)
        if self.started:
            say(f"ready {self._url}")


async def run_demo(settings: Settings) -> int:
    """Run server and worker in this process until interrupted; prints `ready URL` when it answers."""
    configure_logging()
    await require_demo(settings, os.environ)
    made = await prepare(settings)
    write_readme(settings.data / "demo", settings.portal_url)
    if SystemClock().now() - made > STALE_AFTER:
        say("This demo is more than ten days old; --reset makes its certificates' states fresh again.")
    say(f"where to go, and who is who: {settings.data / 'demo' / 'README.txt'}")
    say(f"open {settings.portal_url}/demo, or sign in at {settings.portal_url}/sign-in")
    async with opened(settings) as house:
        await record_policy(house.policy, house.installation, house.audit_log)
        built = app.create(doors(house, await demo_of(house)))
        server = _Announced(server_config(built.asgi, settings, lifespan="off"), settings.portal_url)
        stop = asyncio.Event()
        jobs = asyncio.create_task(loop.run((*tasks(house), *looks(house)), stop, alarms(house, "demo")))
        warming = asyncio.create_task(asyncio.to_thread(house.issuer.warm))
        await server.serve()
        stop.set()
        await asyncio.gather(jobs, warming)
    return 0


def private_socket(path: Path) -> socket.socket:
    """Return a bound socket that only its owner and its group can connect to, in place of one that was left behind."""
    if path.is_socket():
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o660)
    return made


async def run_est(settings: Settings) -> int:
    """Run the EST door until interrupted; prints `ready URL` when it answers."""
    configure_logging()
    if not settings.est_url or (settings.est_socket is None and settings.est_certificate is None):
        raise NotReady("set CHOPMARK_EST_URL, and CHOPMARK_EST_SOCKET or CHOPMARK_EST_CERTIFICATE with its key")
    async with opened(settings) as house:
        await record_policy(house.policy, house.installation, house.audit_log)
        door, sockets = est_door(house), None
        how: dict[str, Any] = {"port": settings.est_port}
        if settings.est_socket is not None:
            sockets = [private_socket(settings.est_socket)]
        elif settings.est_certificate is not None and settings.est_key is not None:
            context = mutual_tls.context(settings.est_certificate, settings.est_key, ca_certificates(house))
            how["http"] = mutual_tls.secured(settings, context)
        server = _Announced(server_config(door, settings, lifespan="off", **how), settings.est_url)
        warming = asyncio.create_task(asyncio.to_thread(house.issuer.warm))
        stop = asyncio.Event()
        looking = asyncio.create_task(loop.run((heads(house),), stop, alarms(house, "est")))
        await server.serve(sockets=sockets)
        stop.set()
        await asyncio.gather(warming, looking)
    return 0


def production() -> Server:
    """Return the server application of the environment's settings, for a process that is alone."""
    configure_logging()
    settings = Settings()
    return Server(settings, demo_of if settings.mode == "demo" else None)


def one_of_several() -> Server:
    """Return the same for one of several processes: uvicorn tells nobody when it answers, so this does."""
    configure_logging()
    settings = Settings()

    async def ready() -> None:
        while not await _answers(settings.host, settings.port):  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(_LOOK_AGAIN_S)
        say(f"ready {settings.portal_url}")

    return Server(settings, demo_of if settings.mode == "demo" else None, ready)


async def _answers(host: str, port: int) -> bool:
    """Whether somebody accepts connections there, this process or one beside it."""
    try:
        _, writer = await asyncio.open_connection(_LOCAL.get(host, host), port)
    except OSError:
        return False
    writer.close()
    return True


def run_server(settings: Settings, workers: int) -> int:
    """Run the production server: `workers` processes that share one port; each prints `ready URL`."""
    if settings.mode == "production" and not settings.public_url:
        raise NotReady("set CHOPMARK_PUBLIC_URL to the https address of this portal")
    if settings.proxy_unanswered:
        raise NotReady(settings.proxy_unanswered)
    asyncio.run(assert_usable(settings.database_url))  # said once here, not by every process again and again
    name = "production" if workers == 1 else "one_of_several"
    config = server_config(f"chopmark.app.server:{name}", settings, factory=True, workers=workers)
    if workers == 1:
        _Announced(config, settings.portal_url).run()
    else:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
    return 0
