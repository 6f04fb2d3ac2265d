"""Whether what customers were told still holds when all is over, and what relying parties heard meanwhile."""

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.http import Connection, request
from tests.ha.cluster import LOOK_S
from tests.ha.counter import Counter
from tests.ha.customers import Record

VISIBLE_WITHIN_S = 5.0
"""What is promised of a revocation (I25)."""
ASKED_AT_MOST = 5
ANSWER_LIMIT_S = 20
ONCE = (
    "ra:order:opened",
    "ra:order:submitted",
    "ra:order:issued",
    "ra:order:done",
    "ra:certificate:activated",
    "ca:certificate:issued",
)
"""What happens once in an order's life."""
ENDED = "SELECT COUNT(*) FROM orders WHERE id = $1 AND state = $2"
TOLD = {
    "issued": "SELECT COUNT(*) FROM certificates WHERE serial = $2 AND order_id = $1 AND der IS NOT NULL "
    "AND state NOT IN ('reserved', 'orphaned')",
    "active": "SELECT COUNT(*) FROM holdings WHERE order_id = $1 AND serial = $2 AND activated_at IS NOT NULL",
    "revoked": "SELECT COUNT(*) FROM certificates c, orders o WHERE o.id = $1 AND o.state = 'done' "
    "AND c.serial = $2 AND c.state = 'revoked'",
}
"""What has to be in the database of what a customer was told, by order and serial."""
TWICE = {
    "certificates of one order": "SELECT order_id FROM certificates WHERE state <> 'orphaned' "
    "GROUP BY order_id HAVING COUNT(*) > 1",
    "holdings of one order": "SELECT order_id FROM holdings GROUP BY order_id HAVING COUNT(*) > 1",
    "active certificates of one customer": "SELECT customer FROM holdings WHERE state = 'active' "
    "GROUP BY customer HAVING COUNT(*) > 1",
    "live orders of one customer": "SELECT customer FROM orders WHERE state IN "
    "('open', 'bound', 'coded', 'checked', 'submitted', 'pending') GROUP BY customer HAVING COUNT(*) > 1",
    "steps of one order": f"SELECT chain || ' ' || event FROM leaves WHERE event IN {ONCE} "
    "GROUP BY chain, event HAVING COUNT(*) > 1",
    "revocations of one certificate": "SELECT facts FROM leaves WHERE event = 'ca:certificate:revoked' "
    "GROUP BY facts HAVING COUNT(*) > 1",
}
"""What nobody may find."""


async def lost(counter: Counter, record: Record) -> list[str]:
    """Return what was told to a customer and is not so."""
    connection = await asyncpg.connect(counter.cluster.address())
    try:
        return [
            f"{told.what} {told.order} {told.serial}"
            for told in record.told
            if await connection.fetchval(TOLD[told.what], told.order, told.serial) != 1
        ]
    finally:
        await connection.close()


async def twice(counter: Counter) -> list[str]:
    """Return what was done more than once."""
    connection = await asyncpg.connect(counter.cluster.address())
    try:
        return [f"{what}: {row[0]}" for what, sql in TWICE.items() for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@dataclass
class RelyingParty:
    """Somebody who asks both servers, all the time, about what was revoked."""

    counter: Counter
    record: Record
    heard: Tally[str] = field(default_factory=Tally)
    wrong: list[str] = field(default_factory=list)
    early: int = 0
    """How often *good* was still said within the seconds that are promised."""
    slowest: float = 0.0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        """Begin to ask."""
        connection = await asyncpg.connect(self.counter.cluster.address())
        try:
            issuer = await connection.fetchval("SELECT certificate FROM issuers WHERE state = 'active'")
        finally:
            await connection.close()
        self._issuer = x509.load_der_x509_certificate(bytes(issuer))
        self._tasks = [asyncio.create_task(self._ask(port)) for port in self.counter.ports]

    async def end(self) -> None:
        """Stop asking."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    def question(self, serial: str) -> bytes:
        """Return the question about a serial."""
        bits = x509.SubjectKeyIdentifier.from_public_key(self._issuer.public_key()).digest
        name = hashes.Hash(hashes.SHA1())
        name.update(self._issuer.subject.public_bytes())
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            name.finalize(), bits, int(serial, 16), hashes.SHA1()
        )
        return builder.build().public_bytes(Encoding.DER)

    async def says(self, port: int, serial: str) -> str:
        """Return what a server says of a serial."""
        connection = Connection("127.0.0.1", port)
        headers = {"Content-Type": "application/ocsp-request"}
        try:
            await connection.ready()
            raw = request("POST", "/ocsp/investor", headers, self.question(serial))
            answer = await asyncio.wait_for(connection.request(raw), ANSWER_LIMIT_S)
        except (OSError, TimeoutError) as failure:
            return f"no answer ({type(failure).__name__})"
        finally:
            if not connection.closed:
                connection.close()
        if answer.status != 200:
            return f"status {answer.status}"
        read = ocsp.load_der_ocsp_response(answer.body)
        return read.certificate_status.name if read.response_status.value == 0 else read.response_status.name

    async def _ask(self, port: int) -> None:
        while not self._stop.is_set():
            revoked = [told for told in self.record.told if told.what == "revoked"]
            for told in [*revoked[-2:], *random.sample(revoked[:-2], min(ASKED_AT_MOST, len(revoked[:-2])))]:
                begun = time.monotonic()
                said = await self.says(port, told.serial)
                self.heard[said] += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if said == "GOOD" and begun - told.at > VISIBLE_WITHIN_S:
                    self.wrong.append(f"good {begun - told.at:.1f} s after the revocation of {told.serial}")
                self.early += said == "GOOD"
            await pause(self._stop)


async def all_revoked(party: RelyingParty) -> list[str]:
    """Return what either server says of a revoked certificate when all is over, and should not."""
    revoked = [told.serial for told in party.record.told if told.what == "revoked"]
    wrong: list[str] = []
    for port in party.counter.ports:
        for serial in revoked:
            said = await party.says(port, serial)
            if said != "REVOKED":
                wrong.append(f"{serial}: {said}")
    return wrong


async def until(what: str, true: Callable[[], object], limit_s: float) -> None:
    """Return when something is so; AssertionError when it is not in time."""
    ends = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > ends:
            raise AssertionError(f"{what}: not within {limit_s:.0f} s")
        await pause(asyncio.Event())


async def pause(event: asyncio.Event, most_s: float = LOOK_S) -> None:
    """Wait for an event, but not for long: what is looked at between two looks may have changed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
