"""GET /health/live and /health/ready, in front of the framework: whether a process runs, and whether it can serve.

A check is one named function that returns None, or a sentence that says what is wrong. Results are kept for a second,
and requests that arrive meanwhile wait for the same checks, so that a flood of requests costs one run of the checks a
second.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from litestar.types import HTTPScope, Send

from chopmark.core.clock import Clock
from chopmark.core.counted import counted

ROOT = "/health/"
HOLDS = timedelta(seconds=1)
"""How long a result is reused."""
PATIENCE_S = 3.0
"""After so many seconds a check counts as failed."""
Check: TypeAlias = Callable[[], Awaitable[str | None]]
_OK = "ok"


class Health:
    """Answers load balancers and monitoring, which ask for this process's health."""

    def __init__(self, checks: Mapping[str, Check], clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._checks = checks
        self._clock = clock
        self._patience_s = patience_s
        self._turn = asyncio.Lock()
        self._found: Mapping[str, str] = {}
        self._at: datetime | None = None

    async def serve(self, scope: HTTPScope, send: Send) -> None:
        """Answer one request: 200 when all is well, else 503; no body says more than our own sentences."""
        name, found = scope["path"].removeprefix(ROOT), {}
        if name not in {"live", "ready"}:
            await _send(scope, send, 404, b"")
            return
        if scope["method"] not in {"GET", "HEAD"}:
            await _send(scope, send, 405, b"", (b"allow", b"GET, HEAD"))
            return
        if name == "ready":
            found = {"checks": dict(await self.look())}
        well = all(said == _OK for said in found.get("checks", {}).values())
        body = json.dumps({name: well, **found}, ensure_ascii=False).encode()
        retry = () if well else ((b"retry-after", b"5"),)
        await _send(scope, send, 200 if well else 503, body, (b"content-type", b"application/json"), *retry)

    async def look(self) -> Mapping[str, str]:
        """Return what each check says, `ok` or a sentence, not older than a second."""
        async with self._turn:
            now = self._clock.now()
            if self._at is None or not self._at <= now < self._at + HOLDS:
                said = await asyncio.gather(*(self._asked(check) for check in self._checks.values()))
                self._found, self._at = dict(zip(self._checks, said, strict=True)), now
            return self._found

    async def _asked(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._patience_s):
                return await check() or _OK
        except TimeoutError:
            return f"There was no answer within {counted(self._patience_s, 'second', form='g')}."


async def _send(scope: HTTPScope, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    usual = [
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *headers]})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown, "more_body": False})
