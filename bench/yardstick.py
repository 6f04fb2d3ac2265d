"""The yardstick: what the same framework, server, driver and database do with one SELECT and one INSERT a request.

`python -m bench.yardstick PORT DSN`: Litestar on uvicorn, two workers, asyncpg; one transaction a request, committed
as durably as everything else in that PostgreSQL. No session, no checks, no audit: the least that a handler can be.
"""

import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import uvicorn
from litestar import Litestar, Request, post

SCHEMA = """
CREATE TABLE people (id text PRIMARY KEY, name bytea NOT NULL, version bigint NOT NULL);
CREATE TABLE said (id bigserial PRIMARY KEY, customer text NOT NULL, said text NOT NULL, at bigint NOT NULL);
CREATE INDEX said_by_customer ON said (customer, at);
"""
PEOPLE = """
INSERT INTO people
SELECT 'B' || lpad(i::text, 7, '0'), decode(md5(i::text), 'hex'), 1 FROM generate_series(0, $1::bigint) i
"""
POOL = 8


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a request says."""

    customer: str
    said: str


class Answer(msgspec.Struct):
    """What it is answered."""

    id: int
    version: int


@post("/said", status_code=201)
async def said(request: Request[Any, Any, Any], data: Body) -> Answer:
    """Read a row, write a row."""
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        found = await connection.fetchrow("SELECT version, name FROM people WHERE id = $1", data.customer)
        row = await connection.fetchrow(
            "INSERT INTO said (customer, said, at) VALUES ($1, $2, $3) RETURNING id",
            data.customer,
            data.said,
            time.time_ns() // 1_000_000,
        )
    return Answer(row["id"], found["version"])


async def _keep(_: Any) -> None:
    """Nothing to reset; saves a round trip, as in the product."""


@asynccontextmanager
async def _pool(app: Litestar) -> AsyncIterator[None]:
    settings = {"jit": "off", "plan_cache_mode": "force_generic_plan"}
    dsn = os.environ["BENCH_DSN"]
    async with asyncpg.create_pool(dsn, min_size=1, max_size=POOL, server_settings=settings, reset=_keep) as pool:
        app.state.pool = pool
        yield


def create() -> Litestar:
    """Return the application."""
    return Litestar([said], lifespan=[_pool], openapi_config=None, logging_config=None)


async def prepare(dsn: str, customers: int) -> None:
    """Make the tables and as many rows as the product has customers."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SCHEMA)
        await connection.execute(PEOPLE, customers)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


if __name__ == "__main__":
    from uvicorn.supervisors import Multiprocess

    os.environ["BENCH_DSN"] = sys.argv[2]
    config = uvicorn.Config(
        "bench.yardstick:create",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=2,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        ws="none",
        lifespan="on",
    )
    Multiprocess(config, sockets=[config.bind_socket()]).run()
