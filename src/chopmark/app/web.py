"""The processes: the server as an ASGI application, the worker, and both in one for the demo."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import uvicorn

from chopmark.app.connections import bounded
from chopmark.app.external_ca import anchors_of, published
from chopmark.app.foundation import House, opened, tasks
from chopmark.app.issuing_cas import roots, title
from chopmark.app.readiness import checks
from chopmark.app.settings import Settings
from chopmark.audit.restorewatch import LOOK_EVERY_S
from chopmark.ca.shipped import profile_named
from chopmark.core.types import IssuerId, Secret
from chopmark.jobs import loop
from chopmark.pki import est
from chopmark.ra.authentication import RequestAuthentication
from chopmark.ra.policy_record import record_policy
from chopmark.ra.possession import Possession
from chopmark.ra.slips import SlipDesk
from chopmark.ra.stopping import StopDesk
from chopmark.store.repositories.failing import FailingJobs
from chopmark.store.repositories.ra.feed import FeedRepository
from chopmark.store.repositories.ra.slips import SlipRepository
from chopmark.store.repositories.ra.stops import StopRepository
from chopmark.store.repositories.stepup.challenges import FailureRepository
from chopmark.va import status_watcher
from chopmark.va.ports import Crl
from chopmark.va.responder import LOOK_EVERY
from chopmark.web import app
from chopmark.web.client_address import EVERYWHERE, ClientAddresses, read_networks
from chopmark.web.client_certificate import from_proxy, from_tls
from chopmark.web.doors import Demo, Doors, PublishedCa
from chopmark.web.est import Est, EstDoor
from chopmark.web.health import Health
from chopmark.web.i18n import Translator, load_catalogues
from chopmark.web.load import Load


def addresses_of(settings: Settings) -> ClientAddresses:
    """Return how clients' addresses are found; the setting of before believed every address."""
    if settings.client_address_header:
        return ClientAddresses(settings.client_address_header, EVERYWHERE)
    if settings.behind_proxy != "yes":
        return ClientAddresses()
    return ClientAddresses(settings.proxy_header, read_networks(settings.trusted_proxies), settings.proxy_hops)


def doors(house: House, demo: Demo | None = None) -> Doors:
    """Return what the web is given of a house."""
    settings = house.settings
    issuing = [
        PublishedCa(ca.authority.view.id, title(ca), ca.authority.view.certificate_der, ca.publisher.shards)
        for ca in house.cas
    ]
    above = [PublishedCa(root, name, certificate, 1) for root, name, certificate in roots(house.cas)]
    other = [PublishedCa(one, called, der, 0) for one, called, der in published(settings)]

    async def crl(issuer: str, shard: int) -> Crl | None:
        return (await house.status.shard(IssuerId(issuer), shard)).crl

    return Doors(
        brand=house.brand,
        policy=house.policy,
        portal=house.portal,
        portal_url=settings.portal_url,
        demo_mode=settings.mode == "demo",
        csrf_secret=Secret(settings.csrf_key.get_secret_value()),
        addresses=addresses_of(settings),
        clock=house.clock,
        entropy=house.entropy,
        people=house.people,
        session_service=house.session_service,
        authentication=RequestAuthentication(house.context),
        launches=house.launches,
        enrolment=house.enrolment,
        rekey=house.rekey,
        possession=Possession(house.context),
        slips=SlipDesk(house.context, SlipRepository(house.engine), FailureRepository(house.engine)),
        program=house.program,
        est_url=settings.est_url,
        revocation=house.revocation,
        stopping=StopDesk(house.context, StopRepository(house.engine)),
        customer_queries=house.customer_queries,
        idempotency=house.idempotency,
        responders={ca.authority.view.id: ca.responder for ca in house.cas},
        timestamps=house.stamps.authority,
        authorities=(*other, *issuing, *above),
        crl=crl,
        issuer_title=house.certifier.name,
        checks=checks(house),
        feed=FeedRepository(house.engine),
        require_whole=house.restorewatch.require_whole,
        load=Load(settings.limits.requests, settings.limits.status_requests),
        demo=demo,
    )


def ca_certificates(house: House) -> tuple[bytes, ...]:
    """Return the certificates, DER, of all issuing CAs, those that issue no more included, and then of their roots.

    Another CA that certifies here comes first.
    """
    other = None if house.settings.issuer == "embedded" else anchors_of(house.settings)
    issuing = [ca.authority.view.certificate_der for ca in house.cas]
    above = [certificate for _, _, certificate in roots(house.cas)]
    return tuple(dict.fromkeys([*(() if other is None else (*other.between, *other.roots)), *issuing, *above]))


def est_door(house: House) -> Est:
    """Return the EST door of a house: behind a proxy when it has a socket, else ending TLS itself."""
    profile = profile_named(house.settings.profile)
    return Est(
        EstDoor(
            program=house.program,
            label=profile.name,
            certificates=ca_certificates(house),
            attributes=est.csr_attributes(profile),
            translator=Translator(load_catalogues()),
            certificate_of=from_tls if house.settings.est_socket is None else from_proxy,
            health=Health(checks(house), house.clock),
            require_whole=house.restorewatch.require_whole,
            load=Load(house.settings.limits.requests, house.settings.limits.status_requests),
        )
    )


def looks(house: House) -> tuple[loop.Task, ...]:
    """Return what a process that answers OCSP does beside: it looks for changes of status, and who answers here."""

    def everywhere() -> None:
        for seen in {ca.status_watcher for ca in house.cas}:
            seen.forget()

    changes = (
        loop.Task("look", one.look, status_watcher.EVERY_S, one.rest) for one in {ca.status_watcher for ca in house.cas}
    )
    who = (loop.Task("responder", ca.responder.look, LOOK_EVERY.total_seconds()) for ca in house.cas)
    return (heads(house, everywhere), *changes, *who)


def heads(house: House, changed: Callable[[], None] = lambda: None) -> loop.Task:
    """Return the look at heads and journal that every process takes; `changed` is called when answers may differ."""

    async def look() -> int:
        if await house.restorewatch.look():
            changed()
        return 0

    return loop.Task("heads", look, LOOK_EVERY_S)


def alarms(house: House, process: str) -> FailingJobs:
    """Return where this process keeps which of its jobs go on failing."""
    return FailingJobs(house.engine, house.clock, f"{process} at {socket.gethostname()}")


class Server:
    """The ASGI application of one server process: builds its house at start-up, closes it at the end."""

    def __init__(
        self,
        settings: Settings,
        demo: Callable[[House], Awaitable[Demo]] | None = None,
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
        house = await self._stack.enter_async_context(opened(self._settings))
        await record_policy(house.policy, house.installation, house.audit_log)
        demo = None if self._demo is None else await self._demo(house)
        self._app = app.create(doors(house, demo)).asgi
        stop = asyncio.Event()
        looking = asyncio.create_task(loop.run(looks(house), stop, alarms(house, "server")))
        await send({"type": "lifespan.startup.complete"})
        if self._ready is not None:
            await self._ready()
        if house.built_in is not None:
            await asyncio.to_thread(house.issuer.warm)
        await receive()
        stop.set()
        await looking
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})


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
        proxy_headers=False,
        ws="none",
        **{"host": settings.host, "port": settings.port, "lifespan": "on", "http": bounded(settings), **extra},
    )


async def work(settings: Settings) -> None:
    """Run the worker until it is told to stop; what has begun is finished."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(name, stop.set)
    async with opened(settings) as house:
        await record_policy(house.policy, house.installation, house.audit_log)
        await loop.run(tasks(house), stop, alarms(house, "worker"))
