"""Faults of the leading host under a crowd of customers, one after the other, and the figures of each.

`python -m tests.ha` runs them all and prints the table.
"""

import asyncio
import subprocess
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import asyncpg

from bench.site import CLIENT
from tests.ha.checker import RelyingParty, all_revoked, lost, pause, twice, until
from tests.ha.cluster import Cluster, awaited
from tests.ha.counter import Counter
from tests.ha.customers import Crowd, Record

USERS = 4
WARM = 60
"""Steps that go through before the first fault."""
FAILS_OVER_WITHIN_S = 60
FLOWS_WITHIN_S = 60
WHOLE_WITHIN_S = 120
MOST_WAIT_S = 45
"""The longest that a customer may have to try again; docs/ha.en.md says what was measured."""
UNLIKE = ("Read ", "1 anchor", "2 anchor")
"""How lines of the verifier begin that count, and so differ from one time to the next."""
PROBE = "CREATE TABLE IF NOT EXISTS probe (id integer PRIMARY KEY)"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one fault cost."""

    fault: str
    leads_after_s: float
    """Until another host led."""
    nobody_s: float
    """The longest time in which no customer got through."""
    waits: tuple[float, ...]
    """How long each step took that did not go through at once."""
    pages: dict[str, int]

    def line(self) -> str:
        """Return the figures as a line of a table."""
        longest = max(self.waits, default=0.0)
        pages = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.pages.items())) or "none"
        return (
            f"| {self.fault} | {self.leads_after_s:.1f} s | {self.nobody_s:.1f} s | {len(self.waits)} | "
            f"{longest:.1f} s | {pages} |"
        )


@dataclass
class Scene:
    """The cluster, the counter, and who is there."""

    cluster: Cluster
    counter: Counter
    crowd: Crowd
    party: RelyingParty
    figures: list[Figures] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What a fault has shown that may not be."""
    audit: str = ""
    """What the audit's verifier said before: the generator's records are older than their places in the tree."""

    @property
    def record(self) -> Record:
        """What the customers saw."""
        return self.crowd.record

    async def steps(self, count: int, limit_s: float = FLOWS_WITHIN_S) -> None:
        """Wait until so many more steps have gone through."""
        wanted = len(self.record.passed) + count
        await until("customers get through", lambda: self._well() and len(self.record.passed) >= wanted, limit_s)

    def _well(self) -> bool:
        self.crowd.well()
        return True

    async def another(self, old: str) -> str:
        """Wait until another host leads, and return it."""

        def leads() -> str | None:
            found = self.cluster.leader()
            return found if found != old else None

        return str(await asyncio.to_thread(awaited, "another leader", leads, FAILS_OVER_WITHIN_S))

    async def whole(self) -> None:
        """Wait until all three hosts are there again."""
        await asyncio.to_thread(awaited, "three members again", self.cluster.whole, WHOLE_WITHIN_S)


Fault: TypeAlias = Callable[[Scene, str], Awaitable[float]]
"""Breaks the leading host and mends it; returns when another one led (monotonic clock)."""


async def killed(scene: Scene, leader: str) -> float:
    """Power off: every process of the host is killed."""
    host = scene.cluster.members[leader]
    host.power_off()
    await scene.another(leader)
    led = time.monotonic()
    await scene.steps(WARM)
    scene.cluster.start(leader)
    return led


async def switched_over(scene: Scene, leader: str) -> float:
    """The operator hands over, for maintenance."""
    await asyncio.to_thread(scene.cluster.patronictl, "switchover", "chopmark", "--master", leader, "--force")
    await scene.another(leader)
    return time.monotonic()


async def cut_off(scene: Scene, leader: str) -> float:
    """The host has lost its network and runs on: it may not go on taking writes, and gives up by itself."""
    host = scene.cluster.members[leader]
    host.cut()
    writing = asyncio.create_task(asyncio.to_thread(_writes, scene.cluster, leader))
    try:
        await scene.another(leader)
        led = time.monotonic()
        await scene.steps(WARM)
        if taken := await writing:
            scene.faults.append(f"cut off, {leader} has taken {taken} writes")
        await asyncio.to_thread(awaited, f"{leader} leads no more", lambda: not _leads(scene.cluster, leader), 30)
    finally:
        host.join()
    return led


def _writes(cluster: Cluster, name: str) -> int:
    """Try to write at a host that is cut off; return how often it said that it has."""
    taken = 0
    for number in range(5):
        call = f"SET statement_timeout = '3s'; INSERT INTO probe VALUES ({number})"
        try:
            taken += cluster.psql(name, "-c", call, database="postgres", limit_s=4).returncode == 0
        except subprocess.TimeoutExpired:
            continue
    return taken


def _leads(cluster: Cluster, name: str) -> bool:
    return cluster.psql(name, "-c", "SELECT pg_is_in_recovery()").stdout.strip() == "f"


async def stood_still(scene: Scene, leader: str) -> float:
    """Everything on the host stands still, and later goes on as if nothing had been: what it is asked is too late."""
    direct = await asyncpg.connect(scene.cluster.address("postgres", "postgres", only=leader))
    scene.cluster.freeze(leader)
    late = asyncio.create_task(direct.execute("INSERT INTO probe VALUES (1000)"))
    try:
        led, ends = 0.0, time.monotonic() + FAILS_OVER_WITHIN_S
        while not led:
            if time.monotonic() > ends:
                raise AssertionError("no other leader")
            if await asyncio.to_thread(scene.cluster.leader) not in {None, leader}:
                led = time.monotonic()
        await scene.steps(WARM)
    finally:
        scene.cluster.thaw(leader)
    await asyncio.wait([late])
    direct.terminate()
    if late.exception() is None:
        scene.faults.append(f"standing still, {leader} has taken a write")
    return led


async def disk_full(scene: Scene, leader: str) -> float:
    """The leader's disk is full; the operator hands over where it has not given up by itself, then makes room."""
    folder = scene.cluster.folder / leader
    ballast = folder / "ballast"
    await asyncio.to_thread(_fill, ballast)
    try:
        led = await _led_or_handed_over(scene, leader)
        await scene.steps(WARM)
    finally:
        ballast.unlink()
    return led


async def _led_or_handed_over(scene: Scene, leader: str) -> float:
    ends = time.monotonic() + MOST_WAIT_S / 2
    while time.monotonic() < ends:
        if await asyncio.to_thread(scene.cluster.leader) not in {None, leader}:
            return time.monotonic()
        await pause(asyncio.Event())
    return await switched_over(scene, leader)


def _fill(ballast: Path) -> None:
    """Write until nothing fits any more."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


FAULTS: dict[str, Fault] = {
    "killed": killed,
    "switched over": switched_over,
    "cut off": cut_off,
    "stood still": stood_still,
    "disk full": disk_full,
}


async def drill(cluster: Cluster, counter: Counter, names: tuple[str, ...]) -> Scene:
    """Have the faults happen, one after the other, and return what all saw; the database is at rest afterwards."""
    secret = counter.site.secret.reveal()
    crowd = Crowd(counter.portal, CLIENT, secret, str(counter.site.codes), counter.customers)
    scene = Scene(cluster, counter, crowd, RelyingParty(counter, crowd.record))
    leader = await asyncio.to_thread(cluster.leader)
    await asyncio.to_thread(cluster.psql, str(leader), "-c", PROBE)
    scene.audit = await _verified(counter)
    await crowd.begin(USERS)
    await scene.party.begin()
    try:
        for name in names:
            await scene.steps(WARM)
            scene.figures.append(await _happened(scene, name))
            await scene.whole()
    finally:
        await crowd.end()
        await scene.party.end()
    return scene


async def _happened(scene: Scene, name: str) -> Figures:
    leader = str(await asyncio.to_thread(scene.cluster.leader))
    before, seen, at = len(scene.record.waits), scene.record.pages.copy(), time.monotonic()
    led = await FAULTS[name](scene, leader)
    await scene.steps(WARM)
    waits = tuple(round(took, 1) for _, took, _ in scene.record.waits[before:])
    pages: Tally[str] = scene.record.pages - seen
    return Figures(name, led - at, scene.record.gap(at), waits, dict(pages))


async def judged(scene: Scene) -> list[str]:
    """Return everything that may not be; empty when all that was told holds."""
    verified = await _verified(scene.counter)
    checked = await asyncio.to_thread(scene.counter.command, "check", "certificates")
    return [
        *scene.faults,
        *(f"lost: {one}" for one in await lost(scene.counter, scene.record)),
        *(f"twice: {one}" for one in await twice(scene.counter)),
        *(f"OCSP: {one}" for one in [*scene.party.wrong, *await all_revoked(scene.party)]),
        *(f"a strange answer: {one}" for one in scene.record.strange),
        *([f"audit: {verified}"] if verified != scene.audit else []),
        *([f"certificates: {checked.stdout}{checked.stderr}"] if checked.returncode else []),
    ]


async def _verified(counter: Counter) -> str:
    """Return the errors that the audit's verifier finds."""
    said = await asyncio.to_thread(counter.command, "audit", "verify")
    assert "records of" in said.stdout, said.stdout + said.stderr
    return "\n".join(line for line in said.stdout.splitlines() if not line.startswith(UNLIKE))


def told(scene: Scene) -> str:
    """Return the table of figures, and what was seen besides."""
    promised = Tally(one.what for one in scene.record.told)
    return "\n".join(
        [
            "| fault | another leads after | nobody gets through for | steps that waited | longest wait | seen |",
            "| --- | --- | --- | --- | --- | --- |",
            *(one.line() for one in scene.figures),
            f"promised: {dict(promised)}; whole journeys: {scene.record.journeys}",
            f"OCSP: {dict(scene.party.heard)}; slowest answer {scene.party.slowest:.1f} s",
            f"good within the seconds that are promised: {scene.party.early}",
            *(f"begun again: {one}" for one in scene.record.broken),
        ]
    )
