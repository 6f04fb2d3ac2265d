"""A load client, a process of its own: `python -m bench.load`, a line of JSON in, a line of JSON out.

`{"do": "journeys", "c": 16, "warm": 1, "seconds": 5}` lets 16 users go on with their journeys, one after the other
without a pause, and has them stand still where they are when the window closes: so rounds of different work can take
turns, and every window sees all kinds of requests. `{"do": "finish"}` lets them end what they have begun. With
`"rate": r` instead of `c` r journeys a second are started by the clock, whoever is still waiting. `{"do": "posts",
"path": p, "c": 16, ...}` sends one request over and over (the yardstick).
"""

import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bench import people
from bench.http import Connection, request
from bench.journey import Codes, Failed, Journey, Means
from chopmark.client.signing import ClientKey

MOST_FAULTS = 5


@dataclass
class Tally:
    """What was answered within the window, by step: seconds each."""

    opens: float
    closes: float
    steps: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    failed: int = 0

    def told(self, step: str, came: float, took: float) -> None:
        if self.opens <= came < self.closes:
            self.steps.setdefault(step, []).append(took)

    def fault(self, said: str) -> None:
        self.failed += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(said)


@dataclass
class Keys:
    """New keys with their requests, made before the round: the customers' browsers make them, not the server."""

    made: list[tuple[ClientKey, bytes]] = field(default_factory=list)

    def prepare(self, count: int) -> None:
        while len(self.made) < count:
            key = ClientKey.generate()
            self.made.append((key, key.request()))

    def take(self) -> tuple[ClientKey, bytes]:
        if not self.made:
            self.prepare(1)
        return self.made.pop()


class Client:
    """The process's state between the rounds."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._port: int = start["port"]
        self._client: str = start.get("client", "")
        self._secret: str = start.get("secret", "")
        self._turn, self._of = start["turn"], start["of"]
        self._sink: str = start.get("sink", "")
        self._codes = Codes()
        self._keys = Keys()
        self._idle: list[Connection] = []
        first, last = start.get("customers", (0, 0))  # this client's: number modulo `of` is `turn`
        self._customers = iter(range(first + (self._turn - first) % self._of, last, self._of))
        self._gate = asyncio.Event()
        self._tally = Tally(0.0, 0.0)
        self._users: list[asyncio.Task[None]] = []
        self._stopping = False
        self._ready: list[Journey] = []

    async def begin(self) -> None:
        if self._sink:
            self._listening = await self._codes.listen(self._sink, self._turn, self._of)

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command; CPU seconds are those of the window, of this process."""
        if command["do"] == "prepare":
            self._keys.prepare(command["keys"])
            return {}
        if command["do"] == "finish":
            await self._finish()
            return {}
        if command["do"] == "review":
            return await self._to_review(command["count"], command["c"])
        if command["do"] == "confirm":
            return await self._confirm(command["c"])
        now = time.perf_counter()
        tally = self._tally = Tally(now + command["warm"], now + command["warm"] + command["seconds"])
        watch = asyncio.create_task(cpu_within(tally))
        one = self._journey if command["do"] == "journeys" else self._post(command)
        if "rate" in command:
            self._gate.set()
            await self._open_loop(one, command["rate"])
        else:
            await self._closed_loop(one, command["c"])
        return {"cpu": await watch, "failed": tally.failed, "faults": tally.faults, "steps": tally.steps}

    async def _closed_loop(self, one: "One", c: int) -> None:
        """Let c users go on where they stood; they stand still again when the window closes."""
        while len(self._users) < c:
            self._users.append(asyncio.create_task(self._user(one)))
        self._gate.set()
        await asyncio.sleep(max(0.0, self._tally.closes - time.perf_counter()))
        self._gate.clear()

    async def _user(self, one: "One") -> None:
        while not self._stopping:
            await self._gate.wait()
            if not await self._with_connection(one, None):
                return

    async def _finish(self) -> None:
        """Let every user end the journey that was begun."""
        self._stopping = True
        self._gate.set()
        await asyncio.gather(*self._users)
        self._users, self._stopping = [], False
        self._gate.clear()

    async def _open_loop(self, one: "One", rate: float) -> None:
        """Start by the clock; what comes late counts from when it should have come (no coordinated omission)."""
        begun, running = time.perf_counter(), set()
        for at in itertools.count():
            due = begun + at / rate
            if due >= self._tally.closes:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._with_connection(one, due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _with_connection(self, one: "One", due: float | None) -> bool:
        connection = self._idle.pop() if self._idle else await Connection.open("127.0.0.1", self._port)
        try:
            return await one(connection, due)
        except (Failed, OSError, TimeoutError, KeyError) as error:
            self._tally.fault(f"{type(error).__name__}: {error}")
            connection.close()
            return True
        finally:
            self._idle.append(connection)

    async def _to_review(self, count: int, c: int) -> dict[str, Any]:
        """Bring so many orders to where only the customer's last yes is missing.

        On new connections: those of the round before were not used since, and the server may be about to close them.
        """
        while self._idle:
            self._idle.pop().close()
        self._tally = Tally(0.0, 0.0)
        self._gate.set()
        turns = iter(range(count))

        async def user() -> None:
            for _ in turns:
                await self._with_connection(self._reviewing, None)

        await asyncio.gather(*(user() for _ in range(c)))
        return {"failed": self._tally.failed, "faults": self._tally.faults}

    async def _reviewing(self, connection: Connection, due: float | None) -> bool:
        journey = self._new_journey(connection, due)
        if journey is None:
            return False
        await journey.sign_in()
        await journey.to_review()
        self._ready.append(journey)
        return True

    async def _confirming(self, connection: Connection, due: float | None) -> bool:
        del due
        journey = self._ready.pop()
        journey.means = replace(journey.means, connection=connection)
        await journey.confirm()
        return True

    async def _confirm(self, c: int) -> dict[str, Any]:
        """Confirm all orders that wait for it, as fast as c users can; the window is as long as that takes."""
        self._gate.set()
        begun = time.perf_counter()
        self._tally = Tally(begun, float("inf"))

        async def user() -> None:
            while self._ready:
                await self._with_connection(self._confirming, None)

        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*(user() for _ in range(c)))
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        tally, took = self._tally, time.perf_counter() - begun
        return {"cpu": cpu, "failed": tally.failed, "faults": tally.faults, "steps": tally.steps, "took": took}

    def _told(self, step: str, came: float, took: float) -> None:
        self._tally.told(step, came, took)

    def _new_journey(self, connection: Connection, due: float | None) -> Journey | None:
        customer = next(self._customers, None)
        if customer is None:
            self._tally.fault("there are no customers left: load more")
            return None
        key, csr = self._keys.take()
        means = Means(connection, self._codes, self._client, self._secret, self._gate, self._told)
        return Journey(means, customer, key, csr, intended=due)

    async def _journey(self, connection: Connection, due: float | None) -> bool:
        journey = self._new_journey(connection, due)
        if journey is not None:
            await journey.run()
        return journey is not None

    def _post(self, command: dict[str, Any]) -> "One":
        path, most = command["path"], command["most"]
        turns = itertools.count(self._turn * 7919)

        async def one(connection: Connection, due: float | None) -> bool:
            body = json.dumps({"customer": people.number(1 + next(turns) * 31 % most), "said": "x" * 100}).encode()
            await connection.ready()
            begun = time.perf_counter() if due is None else due
            answer = await connection.request(request("POST", path, {"Content-Type": "application/json"}, body))
            came = time.perf_counter()
            self._told("post", came, came - begun)
            if answer.status != 201:
                raise Failed(f"{path}: {answer.status}: {answer.body[:200]!r}")
            return True

        return one


One = Callable[[Connection, float | None], Awaitable[bool]]


async def cpu_within(tally: Tally) -> float:
    """Return the CPU seconds of this process within the window."""
    await asyncio.sleep(max(0.0, tally.opens - time.perf_counter()))
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(max(0.0, tally.closes - time.perf_counter()))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    client: Client | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        if client is None:
            client = Client(command)
            await client.begin()
            answer: dict[str, Any] = {}
        else:
            answer = await client.do(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())
