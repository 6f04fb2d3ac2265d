"""Processes that die: one renewal from its confirmation to the published revocation of the old certificate.

Run as a program it imports everything once, then forks a child for each line of its input, a JSON object; what the
child tells comes out as lines, and last its exit code. A child that was killed has told all it had promised.
"""

import asyncio
import json
import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.ca.lint import Linter
from chopmark.client.signing import ClientKey
from chopmark.core.types import OrderId
from chopmark.pki.publication import Publication
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from chopmark.va.publisher import Publisher
from tests.contract.kill.plan import KillingEngine, KillingFolder, KillingSigner, Plan
from tests.contract.world import ANN, Clock, Dice, Errand, World

PRELOADED = (Linter, Publisher)


def with_signers(world: World, plan: Plan) -> World:
    """The same house; its CA key dies as planned."""
    services = world.services
    authority = services.ca.authority
    changed = world.with_issuer(world.issuer(KillingSigner(authority.signer, plan, "certificate")))
    publisher = Publisher(
        authority.view,
        KillingSigner(authority.signer, plan, "list"),
        services.ca.publisher.shards,
        Publication(services.foundation.settings.publication_url),
        services.va.status,
        services.foundation.audit_log,
        services.foundation.clock,
    )
    assert services.ca.built_in is not None
    ca = replace(changed.services.ca, built_in=replace(services.ca.built_in, publisher=publisher))
    changed.services = replace(changed.services, ca=ca)
    return changed


async def renewal(told: dict[str, Any], plan: Plan) -> None:
    """Confirm, prove, and let the workers do the rest; say what the customer was told."""

    async def opening(settings: Settings) -> Engine:
        return KillingEngine(await open_engine(settings.database_url, pool=settings.pool), plan)

    settings = Settings(mode="demo", data=Path(told["folder"]), database=told["url"])
    clock, dice = Clock(datetime.fromisoformat(told["at"])), Dice(Random(told["dice"]))
    services: Services = await build(settings, clock, dice, opening)
    services.foundation.journal.folder = KillingFolder(services.foundation.journal.folder, plan)
    world = with_signers(World(services, clock, dice), plan)
    key = serialization.load_pem_private_key(told["key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    errand = Errand(world, world.caller(ANN), OrderId(told["order"]), ClientKey(key), None)
    plan.armed = True
    order = await errand.confirm()
    plan.say(f"told {order.state} {order.serial}")
    order = await errand.prove()
    plan.say(f"told {order.state} {order.serial}")
    for job in ("revoke", "publish"):
        await world.once(job)
    plan.armed = False
    plan.say(f"passed {json.dumps(plan.passed)}")
    await world.close()


def _child(line: str) -> None:
    told = json.loads(line)
    asyncio.run(renewal(told, Plan(told["moment"], told["number"], sys.stdout.fileno())))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(line)  # what it raises ends it with 1, and a traceback
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.write(sys.stdout.fileno(), f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
