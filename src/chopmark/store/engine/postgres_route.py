"""Connect to PostgreSQL. Every connection is made here, gets its settings, and is asked whether it has them.

Settings are sent after connecting, for two reasons. A pooler refuses settings in the first message of a connection, or
drops them silently. And where the address says `target_session_attrs=read-write`, the driver would refuse our reading
sessions if they began with `default_transaction_read_only`.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from chopmark.store.engine.port import NotDurable, Unfit
from chopmark.store.engine.postgres_address import SETTING, Address, Host, read_address

CONNECT_S = 5
HOST_S = 2
"""The time for each of several hosts, so that one that never answers leaves time for the next ones."""
COMMAND_S = 15
ROUNDS = 8
NAME = "application_name"
MARK = "chopmark.session"
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")

_NEXT_HOST = (
    OSError,  # TimeoutError and what TLS refuses, too
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,
)
_NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_WHO = """SELECT pid, CAST(backend_start AS TEXT) AS start, current_setting($1, true) AS mark
  FROM pg_stat_get_activity(pg_backend_pid())"""
_SET = "SELECT name, set_config(name, value, false) AS value FROM unnest($1::text[], $2::text[]) AS s (name, value)"
_HAS = "SELECT pg_backend_pid() AS pid, name, current_setting(name, true) AS value FROM unnest($1::text[]) AS s (name)"

_SHARED = (
    "a pooler stands before PostgreSQL and lends a session for one transaction or statement only, which loses what "
    "sessions are told: set pool_mode = session there (pgbouncer), or name PostgreSQL itself in " + SETTING
)
_SECOND_HAND = (
    "a pooler stands before PostgreSQL and hands a session on as the one before has left it: set pool_mode = session "
    "and server_reset_query = DISCARD ALL there (pgbouncer), or name PostgreSQL itself in " + SETTING
)
_NO_SECOND = (
    "the pooler before PostgreSQL gave no second session within 5 s: it has to have room for all of them "
    "(default_pool_size), the operator's guide has the number"
)


class Route:
    """The hosts of an address. The one that answered last is tried first."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._hosts = list(address.hosts)

    @classmethod
    def to(cls, url: str) -> "Route":
        """Return the route to this address. Raises Unfit as `read_address` does."""
        return cls(read_address(url))

    async def connect(self, settings: Mapping[str, str], *, durable: bool = False, **options: Any) -> Any:
        """Return a new connection that has these settings and the ones that the address asks for.

        Raises:
            NotDurable: `durable` is asked for, and the server could lose committed transactions.
            Unfit: the server does not let us in, or the session does not take or keep a setting.
            OSError, asyncpg.PostgresError: no host could be reached.
        """
        connection = await self.bare(settings.get(NAME, "chopmark"), **options)
        try:
            await settle(connection, {**self._address.settings, **settings}, durable=durable)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def bare(self, name: str = "chopmark", **options: Any) -> Any:
        """Return a new connection without our settings, for questions that need none.

        Only the application name goes with the first message. Every pooler accepts it, and the server logs it.
        """
        each = CONNECT_S if len(self._hosts) == 1 else HOST_S
        failures: list[Exception] = []
        for host in tuple(self._hosts):
            try:
                connection = await _connect(
                    self._address.dsn, host, timeout=each, server_settings={NAME: name}, **options
                )
            except (*_NEXT_HOST, *_NOT_LET_IN) as failure:
                failures.append(failure)
            else:
                self._hosts.remove(host)
                self._hosts.insert(0, host)
                return connection
        raise _said(failures) from failures[-1]

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Any]:
        """Give a connection without our settings, and end it."""
        connection = await self.bare(command_timeout=COMMAND_S)
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        await connection.close(timeout=CONNECT_S)


def _said(failures: list[Exception]) -> Exception:
    """Return one exception for the failures of all hosts. What a person has to mend comes first."""
    outside = next((one for one in failures if isinstance(one, _NOT_LET_IN)), None)
    if outside is not None:
        return Unfit(f"PostgreSQL does not let us in ({SETTING}): {outside}")
    refused = next((one for one in failures if isinstance(one, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        said = f"the certificate of PostgreSQL does not hold: {refused.verify_message}"
        return Unfit(f"{said}; {SETTING} names the CA's file in sslrootcert, and the host as the certificate does")
    if any(isinstance(one, asyncpg.TargetServerAttributeNotMatched) for one in failures):
        return ConnectionRefusedError("no host of the address that answers takes writes")
    return ConnectionRefusedError(f"PostgreSQL cannot be reached: {str(failures[-1]) or type(failures[-1]).__name__}")


async def _connect(dsn: str, host: Host, **options: Any) -> Any:
    if isinstance(host, str):
        return await asyncpg.connect(dsn, host=host, **options)
    return await asyncpg.connect(dsn, host=host[0], port=host[1], **options)


async def settle(connection: Any, wanted: Mapping[str, str], *, durable: bool) -> None:
    """Make the settings, then read them in another transaction: only a session of our own still has them then."""
    names, asked = list(wanted), DURABILITY if durable else ()
    try:
        who = await connection.fetchrow(_WHO, MARK)
        if who["mark"]:
            raise Unfit(_SECOND_HAND)
        made = await connection.fetch(_SET, [*names, MARK], [*wanted.values(), "used"])
        has = await connection.fetch(_HAS, [*names, *asked])
    except asyncpg.DuplicatePreparedStatementError as failure:
        raise Unfit(_SECOND_HAND) from failure
    except asyncpg.InvalidSQLStatementNameError as failure:
        raise Unfit(_SHARED) from failure
    except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as no:
        raise Unfit(f"PostgreSQL does not take a setting of the session: {no}") from no
    if {row["pid"] for row in has} != {who["pid"]}:
        raise Unfit(_SHARED)
    values = {row["name"]: row["value"] for row in has}
    for row in made:
        if row["name"] != MARK and values[row["name"]] != row["value"]:
            raise Unfit(f"{row['name']} was set to {row['value']} and is {values[row['name']]}: {_SHARED}")
    for name in asked:
        if values[name] == "off":
            raise NotDurable(f"PostgreSQL has {name} = off: a commit could be lost")


async def assert_own_sessions(route: Route, connection: Any) -> None:
    """Check that each connection has a session of its own. Raises Unfit where a pooler shares sessions between clients.

    1. PostgreSQL itself tells a client the number of its session in the key for cancelling. A pooler that runs a
       client's statements in any session has to make up a key. So when the number in the key is the session's number,
       there is no such pooler, and the check is over.
    2. Else two connections ask for their session in alternation. Two clients in one session, or one client in two
       sessions, show a pooler that shares them. Without other clients the first round shows it. Other clients can hide
       it in a round, by chance; eight rounds make that improbable.

    Nothing is set or locked meanwhile, because these sessions may be in use by others.
    """
    try:
        who = await connection.fetchrow(_WHO, MARK)
        if who["pid"] == connection.get_server_pid():
            return
        try:
            second = await route.bare(command_timeout=CONNECT_S)
            try:
                await assert_apart(connection, second)
            finally:
                second.terminate()
        except (TimeoutError, asyncpg.PostgresConnectionError) as failure:  # it waited, or the pooler let it wait
            raise Unfit(_NO_SECOND) from failure
    except asyncpg.InvalidSQLStatementNameError as failure:  # one session prepared it, another one was asked for it
        raise Unfit(_SHARED) from failure
    except asyncpg.DuplicatePreparedStatementError as failure:
        raise Unfit(_SECOND_HAND) from failure


async def assert_apart(first: Any, second: Any) -> None:
    """Ask both connections for their sessions, in alternation. Raises Unfit where they share one or change it."""
    sessions: dict[Any, set[tuple[int, str]]] = {first: set(), second: set()}
    for _ in range(ROUNDS):
        for connection in (first, first, second):
            who = await connection.fetchrow(_WHO, MARK)
            sessions[connection].add((who["pid"], who["start"]))
    if [len(seen) for seen in sessions.values()] != [1, 1] or sessions[first] == sessions[second]:
        raise Unfit(_SHARED)
