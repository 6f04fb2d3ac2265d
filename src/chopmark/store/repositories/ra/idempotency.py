"""Store answers under their Idempotency-Key, so that a repeated request gets the same answer (I42)."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, text
from chopmark.ra.ports import Answer
from chopmark.ra.snapshots import Repeat
from chopmark.store.engine.columns import AHEAD, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Query, Script, Value, at_once, guard, query, whole

_BEGIN = """
INSERT INTO idempotency (scope, name, body_sha256, created_at) VALUES ({scope}, :name, :body, :now)
ON CONFLICT (scope, name) DO UPDATE SET created_at = :now
  WHERE idempotency.status IS NULL AND idempotency.body_sha256 = :body
    AND (idempotency.created_at < :stale OR idempotency.created_at > {ahead})
RETURNING name
"""
_BEGIN_IN = _BEGIN.format(scope=":scope", ahead=AHEAD)
_GET = "SELECT body_sha256, status, answer FROM idempotency WHERE scope = :scope AND name = :name"
_FINISH = "UPDATE idempotency SET status = :status, answer = :answer WHERE scope = :scope AND name = :name"
_FORGET = "DELETE FROM idempotency WHERE scope = :scope AND name = :name AND status IS NULL"
IN_FLIGHT_MS = 10_000
TOGETHER_S = 0.05
"""So long an answer waits for other answers that are stored in the same statement."""

OTHER_BODY = Refusal(
    Kind.CONFLICT, text("This request was already made with other contents. Please reload the page."), code="key_reused"
)
IN_FLIGHT = Refusal(
    Kind.CONFLICT, text("This is being done already. Please wait a moment."), code="in_flight", retry_after_s=1
)


def taken_in(who: str, repeat: Repeat, now: datetime, **value: Value) -> Query:
    """Return the guard that takes an Idempotency-Key. `who` is SQL for the customer, with one value."""
    sql = _BEGIN.format(scope=f"COALESCE({who}, '') || CAST(:of AS TEXT)", ahead=AHEAD)
    of, stale = repeat.scope(CustomerId("")), ms(now) - IN_FLIGHT_MS
    return guard(sql, of=of, name=repeat.name, body=repeat.body_sha256, now=ms(now), stale=stale, **value)


class IdempotencyRepository:
    """Implements `ra.ports.Idempotency`.

    Answers are stored a moment after they were given, many at a time. A repeat that comes before that is treated as if
    the first request were still running. When the process dies before that, it is as if it had died in the request.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._given: list[dict[str, Value]] = []
        self._storing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def begin(self, scope: str, name: str, body_sha256: bytes, now: datetime) -> Answer | Refusal | None:
        """Return None for a first request, the stored answer for a repeat, or a Refusal."""

        def script() -> Script[Answer | Refusal | None]:
            stale = ms(now) - IN_FLIGHT_MS
            started = yield from at_once(
                guard(_BEGIN_IN, scope=scope, name=name, body=body_sha256, now=ms(now), stale=stale)
            )
            if started is not None:
                return None
            row = (yield query(_GET, scope=scope, name=name))[0]
            if bytes(row["body_sha256"]) != body_sha256:
                return OTHER_BODY
            return IN_FLIGHT if row["status"] is None else Answer(row["status"], row["answer"])

        return await self._engine.run(script)

    def finish(self, scope: str, name: str, answer: Answer) -> None:
        """Have the answer stored soon."""
        self._given.append({"scope": scope, "name": name, "status": answer.status, "answer": answer.body})
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_soon())

    async def stored(self) -> None:
        """Wait until every given answer is stored, or cannot be stored."""
        async with self._turn:
            given, self._given = self._given, []

            def script() -> Script[None]:
                yield Batch(_FINISH, given, whole=True)

            if given:
                with contextlib.suppress(
                    Refused
                ):  # the database is away: a repeat waits, and then runs the request again
                    await self._engine.run(script)

    async def _store_soon(self) -> None:
        while self._given:
            await asyncio.sleep(TOGETHER_S)
            await self.stored()

    async def forget(self, scope: str, name: str) -> None:
        """Forget a request that failed without an answer, so that it may be tried again."""

        def script() -> Script[None]:
            yield whole(_FORGET, scope=scope, name=name)

        await self._engine.run(script)
