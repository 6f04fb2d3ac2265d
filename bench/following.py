"""F: from a customer's renewal to an order host of its own process that knows it, by long poll and by webhook."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Result
from bench.http import Connection
from bench.journey import Codes, Journey, Means
from bench.site import CLIENT, Site, founded, free_port
from bench.template import enrolled
from bench.world import Options, say
from chopmark.client.signing import ClientKey
from tests.postgres import running as postgres_running

API = Path(__file__).parents[1] / "docs" / "api.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LIMIT_S = 60
TARGET_S = 2.0
RENEWALS = 40
_TAKES_OVER = "import json, time\ndef take_over(data): print(json.dumps([time.monotonic(), data]), flush=True)\n"
_POLLS = """
import base64, os, urllib.request
after, who = 0, base64.b64encode(os.environ["CLIENT"].encode()).decode()
while True:
    asked = urllib.request.Request(f"{os.environ['FEED']}?after={after}", headers={"Authorization": f"Basic {who}"})
    data = json.load(urllib.request.urlopen(asked, timeout=60))
    after = data["next"]
    if data["changes"]:
        take_over(data)
"""


@dataclass
class OrderHost:
    """A process that follows the certificates, and what it has seen, in its order."""

    process: asyncio.subprocess.Process
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def until(self, serial: str, state: str) -> float:
        """Return when a certificate was seen in a state: seconds of the monotonic clock, which all processes share."""
        at = 0.0
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            while (serial, state) not in self.seen:
                line = await self.process.stdout.readline()
                if not line:
                    raise RuntimeError("the order host has ended")
                at, data = json.loads(line)
                self.seen += [(one["serial"], one["state"]) for one in data["changes"]]
        return at


@asynccontextmanager
async def polling(site: Site) -> AsyncIterator[OrderHost]:
    """Give an order host that asks and waits."""
    feed = f"http://127.0.0.1:{site.port}/backoffice/v1/changes"
    async with _running(_POLLS, FEED=feed, CLIENT=f"{CLIENT}:{site.secret.reveal()}") as host:
        yield host


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[OrderHost]:
    """Give an order host that is told: the receiver of docs/api.md, at another port."""
    (page,) = re.findall(r"^```python\n(.*?)^```", API.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    there = '("127.0.0.1", 9000)'
    if there not in page:
        raise RuntimeError("docs/api.md has another receiver")
    async with _running(page.replace(there, f'("127.0.0.1", {port})'), WEBHOOK_SECRET=SECRET) as host:
        yield host


@asynccontextmanager
async def _running(program: str, **environment: str) -> AsyncIterator[OrderHost]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", _TAKES_OVER + program),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield OrderHost(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def told_at(site: Site) -> int:
    """Have the installation's worker tell an order host on this machine; return its port. Nothing runs yet."""
    port = free_port()
    site.more |= {"CHOPMARK_WEBHOOK__URL": f"http://127.0.0.1:{port}/", "CHOPMARK_WEBHOOK__SECRET": SECRET}
    return port


@asynccontextmanager
async def customers(site: Site) -> AsyncIterator[Means]:
    """Give what customers go by."""
    codes, gate = Codes(), asyncio.Event()
    gate.set()
    listening = await codes.listen(str(site.codes), 0, 1)
    connection = Connection("127.0.0.1", site.port)
    try:
        yield Means(connection, codes, CLIENT, site.secret.reveal(), gate, lambda *_: None)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        if not connection.closed:
            connection.close()


async def confirmed(means: Means, number: int) -> Journey:
    """Let a customer renew, up to the certificate that has to prove itself."""
    key = ClientKey.generate()
    journey = Journey(means, number, key, key.request())
    await journey.sign_in()
    await journey.to_review()
    await journey.confirm()
    return journey


async def _measured(site: Site, port: int, renewals: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {"poll": [], "webhook": [], "confirm": []}
    async with polling(site) as asks, receiving(port) as hears, customers(site) as means:
        for number in range(1, renewals + 1):
            journey = await confirmed(means, number)
            if number == 1:  # both have begun, and know the past
                old = journey.order["old_certificate"]["serial"]
                await asyncio.gather(asks.until(old, "active"), hears.until(old, "active"))
            issued, serial = time.monotonic(), journey.order["certificate"]["serial"]
            await journey.prove()
            proved = time.monotonic()
            asked, heard = await asyncio.gather(asks.until(serial, "active"), hears.until(serial, "active"))
            seen["poll"].append(asked - proved)
            seen["webhook"].append(heard - proved)
            seen["confirm"].append(max(asked, heard) - issued)
            await asyncio.sleep(0.037 * (number % 29))  # at another moment of the sequencer's second
    return seen


def measure(options: Options) -> list[Result]:
    """Return F's rows: seconds from the proof's answer, and from the confirmation's answer to both."""
    renewals = 5 if options.quick else RENEWALS
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres_running(()))
        site = stack.enter_context(founded(asyncio.run(cluster.fresh_database())))
        asyncio.run(enrolled(site.settings, datetime.now(UTC), range(1, renewals + 1)))
        port = told_at(site)
        site.start()
        say(f"{renewals} customers renew, one after the other")
        seen = asyncio.run(_measured(site, port, renewals))
    target = f"each under {TARGET_S:g} s"
    slowest = {name: max(values) for name, values in seen.items()}
    return [
        Result(f"F.{name}", "s", tuple(values), target=target, conditions={"slowest": slowest[name]})
        for name, values in seen.items()
    ]
