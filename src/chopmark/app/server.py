"""The server processes: the portal with its API and publication, and the EST interface."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from chopmark.app import mutual_tls
from chopmark.app.connections import bounded
from chopmark.app.logs import configure_logging
from chopmark.app.secrets import NotReady
from chopmark.app.services import Services, opened
from chopmark.app.settings import Settings
from chopmark.app.web import ca_certificates, est_interface, web_services
from chopmark.app.worker import alarms
from chopmark.audit.restorewatch import LOOK_EVERY_S
from chopmark.jobs import loop
from chopmark.ra.policy_record import record_policy
from chopmark.store.engine.opening import assert_usable
from chopmark.va import status_watcher
from chopmark.va.responder import LOOK_EVERY
from chopmark.web import app
from chopmark.web.services import Demo

DemoOf = Callable[[Services], Awaitable[Demo]]
"""Returns the demo's own services."""
_LOOK_AGAIN_S = 0.05
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - every address is asked at one of them


def say(line: str) -> None:
    """Write a line for the operator, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def looks(services: Services) -> tuple[loop.Task, ...]:
    """Return the background tasks of a process that answers OCSP: looking for status changes and for new responders."""

    def everywhere() -> None:
        for seen in {ca.status_watcher for ca in services.ca.cas}:
            seen.forget()

    changes = (
        loop.Task("look", one.look, status_watcher.EVERY_S, one.rest)
        for one in {ca.status_watcher for ca in services.ca.cas}
    )
    who = (loop.Task("responder", ca.responder.look, LOOK_EVERY.total_seconds()) for ca in services.ca.cas)
    return (heads(services, everywhere), *changes, *who)


def heads(services: Services, changed: Callable[[], None] = lambda: None) -> loop.Task:
    """Return the look at heads and journal that every process takes; `changed` is called when answers may differ."""

    async def look() -> int:
        if await services.foundation.restorewatch.look():
            changed()
        return 0

    return loop.Task("heads", look, LOOK_EVERY_S)


class Server:
    """The ASGI application of one server process: builds its services at start-up, closes them at the end."""

    def __init__(
        self,
        settings: Settings,
        demo: DemoOf | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._demo = demo
        self._stack = AsyncExitStack()
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        services = await self._stack.enter_async_context(opened(self._settings))
        await record_policy(services.foundation.policy, services.foundation.installation, services.foundation.audit_log)
        demo = None if self._demo is None else await self._demo(services)
        self._app = app.create(web_services(services, demo)).asgi
        stop = asyncio.Event()
        looking = asyncio.create_task(loop.run(looks(services), stop, alarms(services, "server")))
        await send({"type": "lifespan.startup.complete"})
        if self._ready is not None:
            await self._ready()
        if services.ca.built_in is not None:
            await asyncio.to_thread(services.ca.issuer.warm)
        await receive()
        stop.set()
        await looking
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})


_ANSWERS_WITHIN_S = 15
"""When a server process does not answer the first one for so long, it is killed and started anew.

It answers once it has loaded its modules. On a busy machine that takes longer than uvicorn's own 5 s, and then no
process would ever get ready. It is not longer, because the first process waits in between and answers no signal.
"""


def server_config(application: Any, settings: Settings, **extra: Any) -> uvicorn.Config:
    """Return uvicorn's settings: no access log, no server header, connections that are bounded."""
    return uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=settings.limits.idle_s,
        timeout_graceful_shutdown=30,
        timeout_worker_healthcheck=_ANSWERS_WITHIN_S,
        proxy_headers=False,
        ws="none",
        **{"host": settings.host, "port": settings.port, "lifespan": "on", "http": bounded(settings), **extra},
    )


class Announced(uvicorn.Server):
    """A server that prints a line when it is ready."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then print the ready line."""
        await super().startup(sockets)
        if self.started:
            say(f"ready {self._url}")


def private_socket(path: Path) -> socket.socket:
    """Return a bound socket that only its owner and its group can connect to, in place of one that was left behind."""
    if path.is_socket():
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o660)
    return made


async def run_est(settings: Settings) -> int:
    """Run the EST interface until interrupted; prints `ready URL` when it answers."""
    configure_logging()
    if not settings.est.url or (settings.est.socket is None and settings.est.certificate is None):
        raise NotReady("set CHOPMARK_EST__URL, and CHOPMARK_EST__SOCKET or CHOPMARK_EST__CERTIFICATE with its key")
    async with opened(settings) as services:
        await record_policy(services.foundation.policy, services.foundation.installation, services.foundation.audit_log)
        interface, sockets = est_interface(services), None
        how: dict[str, Any] = {"port": settings.est.port}
        if settings.est.socket is not None:
            sockets = [private_socket(settings.est.socket)]
        elif settings.est.certificate is not None and settings.est.key is not None:
            former = [der for ca in services.former.cas for der in ca.certificates]
            context = mutual_tls.context(settings.est.certificate, settings.est.key, ca_certificates(services), former)
            how["http"] = mutual_tls.secured(settings, context)
        server = Announced(server_config(interface, settings, lifespan="off", **how), settings.est.url)
        warming = asyncio.create_task(asyncio.to_thread(services.ca.issuer.warm))
        stop = asyncio.Event()
        looking = asyncio.create_task(loop.run((heads(services),), stop, alarms(services, "est")))
        await server.serve(sockets=sockets)
        stop.set()
        await asyncio.gather(warming, looking)
    return 0


def production(demo: DemoOf | None = None) -> Server:
    """Return the server application of the environment's settings, for a process that is alone."""
    configure_logging()
    return Server(Settings(), demo)


def one_of_several(demo: DemoOf | None = None) -> Server:
    """Return the same for one of several processes: uvicorn tells nobody when it answers, so this does."""
    configure_logging()
    settings = Settings()

    async def ready() -> None:
        while not await _answers(settings.host, settings.port):  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(_LOOK_AGAIN_S)
        say(f"ready {settings.portal_url}")

    return Server(settings, demo, ready)


async def _answers(host: str, port: int) -> bool:
    """Tell whether this process, or another one, accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(_LOCAL.get(host, host), port)
    except OSError:
        return False
    writer.close()
    return True


def run_server(settings: Settings, workers: int, factories: str = __name__) -> int:
    """Run the production server: `workers` processes that share one port; each prints `ready URL`.

    `factories` is the module whose `production` and `one_of_several` make the applications, in each process anew.
    """
    if settings.mode == "production" and not settings.public_url:
        raise NotReady("set CHOPMARK_PUBLIC_URL to the https address of this portal")
    if settings.proxy_unanswered:
        raise NotReady(settings.proxy_unanswered)
    asyncio.run(assert_usable(settings.database_url))  # reported once here, and not by each process again
    name = "production" if workers == 1 else "one_of_several"
    config = server_config(f"{factories}:{name}", settings, factory=True, workers=workers)
    if workers == 1:
        Announced(config, settings.portal_url).run()
    else:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
    return 0
