"""The demo's processes: server and worker in one, and the server of a demo that is served as production is."""

import asyncio
import os
from contextlib import AsyncExitStack

from chopmark.app import server
from chopmark.app.foundation import SystemClock
from chopmark.app.logs import configure_logging
from chopmark.app.server import Announced, Server, looks, say, server_config
from chopmark.app.services import opened
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.app.worker import alarms, tasks
from chopmark.demo.history import STALE_AFTER, demo_of, prepare, require_demo, write_readme
from chopmark.demo.phone import Phone, with_phone
from chopmark.jobs import loop
from chopmark.ra.policy_record import record_policy
from chopmark.web import app


async def run_demo(settings: Settings, *, sms: bool = False) -> int:
    """Run server and worker in this process until interrupted; prints `ready URL` when it answers.

    With `sms` codes for phones go to a stub of an SMS gateway by HTTP, instead of straight to the inbox page.
    """
    configure_logging()
    await require_demo(settings, os.environ)
    made = await prepare(settings)
    write_readme(settings.data / "demo", settings.portal_url)
    if SystemClock().now() - made > STALE_AFTER:
        say("This demo is more than ten days old; --reset makes its certificates' states fresh again.")
    say(f"where to go, and who is who: {settings.data / 'demo' / 'README.txt'}")
    say(f"open {settings.portal_url}/demo, or sign in at {settings.portal_url}/sign-in")
    async with AsyncExitStack() as stack:
        phone = None
        if sms:
            phone = Phone(SystemClock())
            settings = with_phone(settings, await stack.enter_async_context(phone.listening()))
            say(f"codes for phones go to a stub of Mitake at {phone.address}, as {settings.gateways} says")
        services = await stack.enter_async_context(opened(settings))
        await record_policy(services.foundation.policy, services.foundation.installation, services.foundation.audit_log)
        built = app.create(web_services(services, await demo_of(services, phone)))
        serving = Announced(server_config(built.asgi, settings, lifespan="off"), settings.portal_url)
        stop = asyncio.Event()
        jobs = asyncio.create_task(loop.run((*tasks(services), *looks(services)), stop, alarms(services, "demo")))
        warming = asyncio.create_task(asyncio.to_thread(services.ca.issuer.warm))
        await serving.serve()
        stop.set()
        await asyncio.gather(jobs, warming)
    return 0


def production() -> Server:
    """Return the server application of a demo, for a single process."""
    return server.production(demo_of)


def one_of_several() -> Server:
    """Return the same for one of several processes."""
    return server.one_of_several(demo_of)
