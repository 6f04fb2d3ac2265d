"""What a test asks of the sessions behind an engine over PostgreSQL, and how it ends them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from chopmark.core.refusal import Refused
from chopmark.store.engine.script import Script, query
from tests import postgres

T = TypeVar("T")

HAS = "SELECT name, current_setting(name) AS value FROM unnest(string_to_array(:names, ',')) AS s (name)"


def has(*names: str) -> Script[dict[str, str]]:
    """Return what the session has for these settings."""
    rows = yield query(HAS, names=",".join(names))
    return {row["name"]: row["value"] for row in rows}


def pid() -> Script[int]:
    """Return the session's number."""
    return int((yield query("SELECT pg_backend_pid() AS pid"))[0]["pid"])


async def end_sessions(cluster: postgres.Cluster, dsn: str) -> int:
    """End all sessions of this database; return how many."""
    connection = await asyncpg.connect(cluster.dsn())
    try:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        return len(await connection.fetch(ended, postgres.name_in(dsn)))
    finally:
        await connection.close()


async def soon(call: Callable[[], Awaitable[T]], tries: int = 3) -> T:
    """Return what a call answers, which may be refused while it meets connections that have ended."""
    for _ in range(tries - 1):
        try:
            return await call()
        except Refused:
            continue
    return await call()
