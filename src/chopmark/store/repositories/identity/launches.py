"""Launch tickets, and the programs of the firm that ask for them."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord, Tip, customer_stream
from chopmark.core.counted import in_seconds
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountNumber, CustomerId, text
from chopmark.identity.ports import UNKNOWN, Client, Launch
from chopmark.identity.scope import EVERYTHING, Scope
from chopmark.limits.rate_limits import RateLimit
from chopmark.store.engine.columns import AHEAD, moment, moment_or_none, ms, ms_or_none, words
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, at_once, guard, query, whole
from chopmark.store.repositories.identity.customers import factors_of
from chopmark.store.repositories.rate_limits import take_each, taken
from chopmark.store.repositories.records import TIP, note, tip_of, write_with_record

_CLIENT = """
SELECT c.id, c.name, c.secret_hash, c.previous_hash, c.previous_until, c.disabled_at, s.accounts, s.purposes,
  s.factors, s.per_minute
FROM clients c LEFT JOIN client_scopes s ON s.client = c.id
"""
_GET_CLIENT = f"{_CLIENT} WHERE c.id = :id"
_CLIENTS = f"{_CLIENT} ORDER BY c.id"
_PUT_CLIENT = """
INSERT INTO clients (id, name, secret_hash, created_at) VALUES (:id, :name, :secret, :now)
ON CONFLICT (id) DO UPDATE SET secret_hash = :secret, previous_hash = :previous, previous_until = :until,
  rotated_at = :now, disabled_at = NULL
"""
_PUT_SCOPE = """
INSERT INTO client_scopes (client, accounts, purposes, factors, per_minute)
SELECT id, CAST(:accounts AS TEXT), CAST(:purposes AS TEXT), CAST(:factors AS TEXT), CAST(:per_minute AS BIGINT)
FROM clients WHERE id = :id
ON CONFLICT (client) DO UPDATE SET accounts = :accounts, purposes = :purposes, factors = :factors,
  per_minute = :per_minute
RETURNING client
"""
_DISABLE = """
UPDATE clients SET disabled_at = :now, previous_hash = NULL, previous_until = NULL
WHERE id = :id AND disabled_at IS NULL RETURNING id
"""
_END_PREVIOUS = """
UPDATE clients SET previous_hash = NULL, previous_until = NULL
WHERE id = :id AND previous_hash IS NOT NULL RETURNING id
"""
_VOID = """
INSERT INTO client_scopes (client, accounts, purposes, factors, per_minute, void_before)
VALUES (:id, '', '', '', :per_minute, :now) ON CONFLICT (client) DO UPDATE SET void_before = :now
"""
_MAY_ASK = """
SELECT a.number FROM accounts a, clients c
WHERE a.customer = :customer AND a.number = :account AND c.id = :client AND c.disabled_at IS NULL
"""
_IN_FORCE = "SELECT id FROM clients WHERE id = :client AND disabled_at IS NULL"
_LAUNCH = "ticket_hash, client, customer, account, factors, wanted, created_at, expires_at"
_CREATE = f"""
INSERT INTO launches ({_LAUNCH})
VALUES (:ticket, :client, :customer, :account, :factors, :wanted, :created_at, :expires_at)
"""
_ALIVE = """
EXISTS (SELECT 1 FROM clients c WHERE c.id = launches.client AND c.disabled_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM client_scopes s WHERE s.client = launches.client
    AND s.void_before >= launches.created_at)
"""
_USE = f"""
UPDATE launches SET used_at = :now, visitor_hash = :visitor
WHERE ticket_hash = :ticket AND used_at IS NULL AND expires_at > :now AND created_at <= {AHEAD} AND {_ALIVE}
RETURNING {_LAUNCH}
"""
_OPEN = f"""
WHERE ticket_hash = :ticket AND visitor_hash = :visitor AND confirmed_at IS NULL AND used_at > :since
  AND used_at <= {AHEAD} AND {_ALIVE}
"""
_CONFIRM = f"UPDATE launches SET confirmed_at = :now {_OPEN} RETURNING {_LAUNCH}"
_TAKEN = f"SELECT {_LAUNCH} FROM launches {_OPEN}"
_WHY = "SELECT used_at, expires_at FROM launches WHERE ticket_hash = :ticket"
CONFIRM_WITHIN_MS = 300_000
_NO_ACCOUNT = Refusal(Kind.NOT_FOUND, text("This customer has no such account."), field="account", code="account")
_DISABLED = Refusal(Kind.UNAUTHENTICATED, text("The client credential is not valid."), code="client")


def launch_refusal(*, used: bool, known: bool) -> Refusal:
    """Return the refusal of a ticket. Unknown and expired tickets get the same sentence."""
    code = "launch.used" if used else "launch.expired" if known else UNKNOWN
    said = (
        text("This link was used already. Please open the certificate page from your trading program again.")
        if used
        else text("This link is too old. Please open the certificate page from your trading program again.")
    )
    return Refusal(Kind.FORBIDDEN, said, code=code)


def _too_fast(seconds: int) -> Refusal:
    said = text("This client asks for tickets too fast. Please wait %(wait)s.", wait=in_seconds(seconds))
    return Refusal(Kind.TOO_MANY, said, code="launch.rate", retry_after_s=seconds)


def _client(row: Row) -> Client:
    previous = row["previous_hash"]
    return Client(
        row["id"],
        row["name"],
        bytes(row["secret_hash"]),
        None if previous is None else bytes(previous),
        moment_or_none(row["previous_until"]),
        moment_or_none(row["disabled_at"]),
        EVERYTHING if row["per_minute"] is None else _scope(row),
    )


def _scope(row: Row) -> Scope:
    purposes = frozenset(row["purposes"].split())
    return Scope(tuple(row["accounts"].split()), purposes, factors_of(row["factors"]), row["per_minute"])


def _launch(row: Row) -> Launch:
    return Launch(
        bytes(row["ticket_hash"]),
        row["client"],
        CustomerId(row["customer"]),
        AccountNumber(row["account"]),
        factors_of(row["factors"]),
        row["wanted"],
        moment(row["created_at"]),
        moment(row["expires_at"]),
    )


class LaunchRepository:
    """Implements `identity.ports.Launches`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def client(self, client_id: str) -> Client | None:
        """Return a client by id."""

        def script() -> Script[Client | None]:
            rows = yield whole(_GET_CLIENT, id=client_id)
            return _client(rows[0]) if rows else None

        return await self._engine.read(script)

    async def clients(self) -> list[Client]:
        """Return all clients, by id."""

        def script() -> Script[list[Client]]:
            return [_client(row) for row in (yield whole(_CLIENTS))]

        return await self._engine.read(script)

    async def put_client(self, client: Client, now: datetime, record: AuditRecord) -> None:
        """Create a client or replace its secrets. A disabled client is enabled again."""

        def script() -> Script[None]:
            change = query(
                _PUT_CLIENT,
                id=client.id,
                name=client.name,
                secret=client.secret_hash,
                previous=client.previous_hash,
                until=ms_or_none(client.previous_until),
                now=ms(now),
            )
            yield from note(record, change)

        await self._engine.run(script)

    async def put_scope(self, client_id: str, scope: Scope, record: AuditRecord) -> bool:
        """Set what a client may ask for; False when there is no such client."""
        change = guard(
            _PUT_SCOPE,
            id=client_id,
            accounts=" ".join(scope.accounts),
            purposes=" ".join(sorted(scope.purposes)),
            factors=words(frozenset(scope.factors)),
            per_minute=scope.per_minute,
        )

        def script() -> Script[bool]:
            return (yield from write_with_record(record, change)) is not None

        return await self._engine.run(script)

    async def disable(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """Disable a client and make its tickets void. False when there is no such enabled client."""
        return await self._end(guard(_DISABLE, id=client_id, now=ms(now)), client_id, now, record)

    async def end_previous(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """Make a client's previous secret and the client's tickets void. False when there is no such secret."""
        return await self._end(guard(_END_PREVIOUS, id=client_id), client_id, now, record)

    async def _end(self, change: Query, client_id: str, now: datetime, record: AuditRecord) -> bool:
        void = query(_VOID, id=client_id, now=ms(now), per_minute=EVERYTHING.per_minute)

        def script() -> Script[bool]:
            return (yield from write_with_record(record, change, void)) is not None

        return await self._engine.run(script)

    async def asked(self, client_id: str, customer: CustomerId) -> tuple[Client | None, Tip]:
        """Return a client by id, and the tip of the audit stream of the customer for whom it asks."""
        chain = customer_stream(customer)

        def script() -> Script[tuple[Client | None, Tip]]:
            clients, tips = (yield from at_once(query(_GET_CLIENT, id=client_id), query(TIP, chain=chain))) or ([], [])
            return _client(clients[0]) if clients else None, tip_of(chain, tips)

        return await self._engine.read(script)

    async def create(self, launch: Launch, limits: tuple[RateLimit, ...], record: AuditRecord) -> Refusal | None:
        """Store a ticket. Refused for a disabled client, for another customer's account, and above the rate limit."""
        whose = {"customer": launch.customer, "account": launch.account, "client": launch.client}
        change = query(
            _CREATE,
            ticket=launch.ticket_hash,
            **whose,
            factors=words(frozenset(launch.factors)),
            wanted=launch.wanted,
            created_at=ms(launch.created_at),
            expires_at=ms(launch.expires_at),
        )

        def script() -> Script[Refusal | None]:
            may = guard(_MAY_ASK, **whose)
            if (yield from write_with_record(record, may, *taken(limits, launch.created_at), change)) is not None:
                return None
            if not (yield query(_IN_FORCE, client=launch.client)):
                return _DISABLED
            spent = yield from take_each(limits, launch.created_at)
            if spent is None:
                return _NO_ACCOUNT
            return _too_fast(spent.retry_after_s)

        return await self._engine.run(script)

    async def use(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Take a ticket for one visitor, once. Tickets of a disabled client are void."""

        def script() -> Script[Launch | Refusal]:
            done = yield from write_with_record(
                record, guard(_USE, ticket=ticket_hash, visitor=visitor_hash, now=ms(now))
            )
            if done is not None:
                return _launch(done[0][0])
            known = yield query(_WHY, ticket=ticket_hash)
            return launch_refusal(used=bool(known) and known[0]["used_at"] is not None, known=bool(known))

        return await self._engine.run(script)

    async def taken(self, ticket_hash: bytes, visitor_hash: bytes, now: datetime) -> Launch | None:
        """Return a ticket that this visitor has taken and may still confirm."""

        def script() -> Script[Launch | None]:
            since = ms(now) - CONFIRM_WITHIN_MS
            rows = yield query(_TAKEN, ticket=ticket_hash, visitor=visitor_hash, now=ms(now), since=since)
            return _launch(rows[0]) if rows else None

        return await self._engine.run(script)

    async def confirm(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Use a taken ticket up to open a session: once, and by the same visitor."""

        def script() -> Script[Launch | Refusal]:
            since = ms(now) - CONFIRM_WITHIN_MS
            confirmed = guard(_CONFIRM, ticket=ticket_hash, visitor=visitor_hash, now=ms(now), since=since)
            done = yield from write_with_record(record, confirmed)
            if done is not None:
                return _launch(done[0][0])
            known = bool((yield query(_WHY, ticket=ticket_hash)))
            return launch_refusal(used=known, known=known)

        return await self._engine.run(script)
