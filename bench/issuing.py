"""A process that has the CA issue: `python -m bench.issuing DATA`, commands as of `bench.load`.

`{"do": "issue", "c": 8, "warm": .5, "seconds": 3}` calls the CA's verb in a closed loop: drafted, linted, reserved,
signed, recorded, audited, each step durable. With `"rate": r` it issues r a second by the clock, as the load beside
something else.
"""

import asyncio
import hashlib
import itertools
import json
import os
import sys
import time
from base64 import b32encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from bench.load import Tally, cpu_within
from bench.people import number
from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.record import AuditKey, StoredRecord, make_record, new_stream, next_tip, order_stream
from chopmark.ca.ports import Certified, IssuanceRequest
from chopmark.core.types import KeyEvidence, OrderId
from chopmark.pki import signing

KEYS = 400
A_SECOND = 1_500
"""So many orders are made ready for each second of a round: a process issues fewer."""
PROFILE = "investor"


def _new_key() -> bytes:
    return signing.spki(ec.generate_private_key(ec.SECP256R1()).public_key())


def approved_records(order: OrderId, spki_der: bytes, customer: str, key: AuditKey) -> tuple[StoredRecord, ...]:
    """Return the records of an order that its customer has approved, as a table would hold them."""
    said: dict[str, Fact] = {"customer": customer, "account": "F014000-0000001", "operation": "enrol"}
    spki, code, login = hashlib.sha256(spki_der).hexdigest(), "CODE", "LOGIN"
    tip, now, made = new_stream(order_stream(order)), SystemClock().now(), []
    steps: list[tuple[Event, dict[str, Fact]]] = [
        (Event.RA_ORDER_OPENED, {**said, "checks": None}),
        (Event.RA_KEY_BOUND, {"spki_sha256": spki, "evidence": KeyEvidence.LOGIN, "login": login}),
        (Event.RA_CODE_RIGHT, {"challenge": code, "login": login}),
        (
            Event.RA_ORDER_SUBMITTED,
            {**said, "profile": PROFILE, "spki_sha256": spki, "challenge": code, "login": login},
        ),
    ]
    for event, facts in steps:
        record = make_record(tip, event, facts, now, key)
        tip = next_tip(record)
        made.append(record.stored())
    return tuple(made)


class Issuing:
    """Issues for orders that nobody has: the CA asks for their records, and for no row."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = itertools.cycle([_new_key() for _ in range(KEYS)])
        self._customers = itertools.count(1)
        self._ready: list[IssuanceRequest] = []

    def _approved(self) -> IssuanceRequest:
        """Return what the RA asks for once a customer has approved an order."""
        order = OrderId(b32encode(os.urandom(16)).decode()[:26])
        customer, spki = number(next(self._customers)), next(self._keys)
        records = approved_records(order, spki, customer, self._services.foundation.audit_key)
        return IssuanceRequest(order, PROFILE, spki, {"customer": customer}, records=records)

    async def one(self, tally: Tally) -> None:
        """Issue one certificate."""
        issuance = self._ready.pop() if self._ready else self._approved()
        begun = time.perf_counter()
        made = await self._services.ca.issuer.issue(issuance)
        came = time.perf_counter()
        if isinstance(made, Certified):
            tally.told("issue", came, came - begun)
        else:
            tally.fault(f"not issued: {made}")

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command. The orders are made ready before the round begins: they are the RA's work, not the CA's."""
        seconds = command["warm"] + command["seconds"]
        wanted = int(seconds * command.get("rate", A_SECOND))
        self._ready += [self._approved() for _ in range(wanted - len(self._ready))]
        now = time.perf_counter()
        tally = Tally(now + command["warm"], now + command["warm"] + command["seconds"])
        watch = asyncio.create_task(cpu_within(tally))
        if "rate" in command:
            await self._by_the_clock(tally, command["rate"])
        else:
            await asyncio.gather(*(self._user(tally) for _ in range(command["c"])))
        return {"cpu": await watch, "failed": tally.failed, "faults": tally.faults, "steps": tally.steps}

    async def _user(self, tally: Tally) -> None:
        while time.perf_counter() < tally.closes:
            await self.one(tally)

    async def _by_the_clock(self, tally: Tally, rate: float) -> None:
        begun, running = time.perf_counter(), set()
        for at in itertools.count():
            due = begun + at / rate
            if due >= tally.closes:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self.one(tally))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    start = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    # A number of its own for each process: it is the first octet of the serials.
    services = await build(Settings(node=start["turn"] + 2), SystemClock(), SystemEntropy())
    try:
        await asyncio.to_thread(services.ca.issuer.warm)
        issuing = Issuing(services)
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            sys.stdout.write(json.dumps(await issuing.do(json.loads(line))) + "\n")
            sys.stdout.flush()
    finally:
        await services.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
