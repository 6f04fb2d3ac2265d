"""A connection to a PostgreSQL whose address may name several hosts, one of which leads.

asyncpg asks the hosts one after the other with one time limit for all of them, and gives up at the first that answers
with an error. So a host that is cut off (nothing comes back, not even a refusal) hides the leader behind it, and so
does a standby that is not as far. Here each host is asked by itself: the next one as soon as one has said no, or has
said nothing for a moment.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg

NEXT_AFTER_S = 0.4
"""A host that leads answers sooner; whoever is silent so long is asked on while the next one is asked too."""


async def connect(dsn: str, *, timeout: float = 60, **how: Any) -> Any:  # noqa: ASYNC109 - asyncpg's own parameter
    """Return a connection to the first of the address's hosts that can be used; `how` goes to `asyncpg.connect`.

    Raises:
        TimeoutError: no host answered in time.
        ConnectionRefusedError: every host has said no, none of them is what `target_session_attrs` asks for.
        OSError, PostgresError, InterfaceError: what the one host of the address, or the last of several, said.
    """
    hosts = each_host(dsn)
    if len(hosts) == 1:
        return await _asked(dsn, timeout, how)
    return await first_of(hosts, timeout, how)


async def first_of(hosts: Sequence[str], limit_s: float, how: Mapping[str, Any]) -> Any:
    """Return a connection to the first of these addresses that can be used, as `connect`."""
    asking: set[asyncio.Task[Any]] = set()
    failures: list[BaseException] = []
    try:
        async with asyncio.timeout(limit_s):
            for host in hosts:
                asking.add(asyncio.create_task(_asked(host, limit_s, how)))
                if (found := await _first(asking, failures, NEXT_AFTER_S)) is not None:
                    return found
            while asking:
                if (found := await _first(asking, failures, None)) is not None:
                    return found
    finally:
        for task in asking:
            _give_up(task)
    raise _worst(failures)


def each_host(dsn: str) -> list[str]:
    """Return the address once for each host that it names, in their order."""
    parts = urlsplit(dsn)
    account, at, places = parts.netloc.rpartition("@")
    if "," in places:
        return [parts._replace(netloc=f"{account}{at}{place}").geturl() for place in places.split(",")]
    query = dict(parse_qsl(parts.query))
    named = query.get("host", "").split(",")
    if len(named) == 1:
        return [dsn]
    ports = query["port"].split(",") if "port" in query else []
    if len(ports) not in {0, 1, len(named)}:
        return [dsn]  # asyncpg says what is wrong with it
    each: list[str] = []
    for place, host in enumerate(named):
        one = {**query, "host": host}
        if ports:
            one["port"] = ports[place] if len(ports) > 1 else ports[0]
        each.append(parts._replace(query=urlencode(one)).geturl())
    return each


async def _asked(dsn: str, limit_s: float, how: Mapping[str, Any]) -> Any:
    try:
        return await asyncpg.connect(dsn, timeout=limit_s, **how)
    except asyncpg.TargetServerAttributeNotMatched as failure:
        raise ConnectionRefusedError("no host of the address is what target_session_attrs asks for") from failure


async def _first(asking: set["asyncio.Task[Any]"], failures: list[BaseException], limit_s: float | None) -> Any:
    """Return the connection of the first task that has one; None when another host is to be asked."""
    done, _ = await asyncio.wait(asking, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    for task in sorted(done, key=lambda one: one.exception() is not None):
        asking.discard(task)
        failure = task.exception()
        if failure is None:
            for other in done & asking:
                _give_up(other)
                asking.discard(other)
            return task.result()
        failures.append(failure)
    return None


def _give_up(task: "asyncio.Task[Any]") -> None:
    """End an attempt; a connection that it has made meanwhile is closed."""

    def closed(ended: "asyncio.Task[Any]") -> None:
        if not ended.cancelled() and ended.exception() is None:
            ended.result().terminate()

    task.add_done_callback(closed)
    task.cancel()


def _worst(failures: list[BaseException]) -> BaseException:
    """Return what a person has to look at, when all hosts have failed: a host that is away explains nothing."""
    telling = [failure for failure in failures if not isinstance(failure, OSError | asyncpg.CannotConnectNowError)]
    return (telling or failures)[-1]
