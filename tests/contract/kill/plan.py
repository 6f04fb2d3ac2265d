"""Where a process is to die: at its n-th commit or signature, just before or just after it."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from typing import Literal, ParamSpec, TypeVar

from chopmark.audit.journalfile import JournalFolder
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.store.engine.port import Engine, Snapshot
from chopmark.store.engine.script import Row, Script, Value

P = ParamSpec("P")
T = TypeVar("T")
KILLED = 137
Moment = Literal[
    "before commit",
    "after commit",
    "before signature",
    "after signature",
    "before a line",
    "after a line",
    "half a file",
    "after a file",
]


@dataclass
class Plan:
    """Counts what passes and ends the process at the planned one; without a plan it only counts.

    `out` is a file descriptor: a line a passing, written before whatever comes next.
    """

    moment: str
    number: int
    out: int
    armed: bool = False

    def __post_init__(self) -> None:
        self.passed: dict[str, int] = {}

    def say(self, line: str) -> None:
        os.write(self.out, f"{line}\n".encode())

    def passes(self, moment: Moment) -> None:
        if not self.armed:
            return
        self.passed[moment] = self.passed.get(moment, 0) + 1
        if (moment, self.passed[moment]) == (self.moment, self.number):
            os._exit(KILLED)


class KillingEngine:
    """An engine that dies at a planned commit: with its statements done and not committed, or committed and not told.

    Scripts that write nothing are counted too where `run` runs them; reads are not.
    """

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self._engine = engine
        self._plan = plan

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._engine.dialect

    async def run(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        def to_the_end() -> Script[T]:
            answer = yield from script(*args, **kwargs)
            self._plan.passes("before commit")
            return answer

        answer = await self._engine.run(to_the_end)
        self._plan.passes("after commit")
        return answer

    async def read(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._engine.read(script, *args, **kwargs)

    def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        return self._engine.stream(sql, values, batch)

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        return self._engine.snapshot()

    async def wake(self, channel: str) -> None:
        await self._engine.wake(channel)

    async def wait(self, channel: str, timeout_s: float) -> bool:
        return await self._engine.wait(channel, timeout_s)

    async def close(self) -> None:
        await self._engine.close()


class KillingFolder(JournalFolder):
    """A journal that dies before its lines are on the disk, or when they are and nobody was told."""

    def __init__(self, folder: JournalFolder, plan: Plan) -> None:
        super().__init__(folder.directory, folder.node)
        self._plan = plan

    def append(self, lines: Sequence[str], day: date) -> None:
        self._plan.passes("before a line")
        super().append(lines, day)
        self._plan.passes("after a line")


class KillingSigner:
    """A signer that tells what it is about to sign and dies before it, or with the signature made and not returned."""

    def __init__(self, signer: Signer, plan: Plan, what: str) -> None:
        self._signer = signer
        self._plan = plan
        self._what = what

    @property
    def public_key_der(self) -> bytes:
        return self._signer.public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        return self._signer.algorithm

    def sign(self, data: bytes) -> bytes:
        self._plan.passes("before signature")
        self._plan.say(f"{self._what} {data.hex()}")
        signature = self._signer.sign(data)
        self._plan.passes("after signature")
        return signature
