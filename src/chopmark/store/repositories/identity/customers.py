"""Customers, their passwords and their sessions."""

from __future__ import annotations

from datetime import datetime, timedelta

from chopmark.audit.record import AuditRecord
from chopmark.core.types import AccountKind, AccountNumber, Channel, CustomerId, FactorClass, LoginId
from chopmark.identity.ports import (
    AccountRow,
    Binding,
    Claim,
    Claimant,
    ContactRow,
    CustomerRow,
    LostAnswer,
    PasswordKind,
    PasswordRow,
    Session,
)
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.store.engine.columns import AHEAD, moment, moment_or_none, ms, ms_or_none, words
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, guard, query, whole
from chopmark.store.repositories.messaging.outbox import queued, wake
from chopmark.store.repositories.rate_limits import OPEN_ALL, taken
from chopmark.store.repositories.records import note, write_with_record

_PERSON = "id, person_kind, person_id_sealed, name_sealed, birth_date_sealed, version"
CUSTOMER = f"SELECT {_PERSON} FROM customers WHERE id = :customer"
_BY_PERSON = f"SELECT {_PERSON} FROM customers WHERE person_id_hash = :hash"
CONTACTS = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM contacts WHERE customer = :customer
"""
ACCOUNTS = "SELECT number, kind FROM accounts WHERE customer = :customer ORDER BY position"
_PASSWORD = "SELECT customer, phc, kind, expires_at FROM passwords WHERE customer = :customer"
_BOUND = """(SELECT set_at FROM passwords WHERE customer = {customer}) AS set_at,
  (SELECT MIN(closed_at) FROM entries WHERE subject = {customer}) AS closed_at"""
_BINDING = f"SELECT {_BOUND.format(customer=':customer')}"
_CLAIMANT = """
SELECT c.id, p.phc, p.kind, p.expires_at, p.set_at,
  CASE WHEN c.id = :number THEN 0 WHEN c.person_id_hash = :person THEN 1 ELSE 2 END AS nearness
FROM customers c LEFT JOIN passwords p ON p.customer = c.id
WHERE c.person_id_hash = :person OR c.id = :number OR c.id = :bare ORDER BY nearness LIMIT 1
"""
_SET_PASSWORD = """
INSERT INTO passwords (customer, phc, kind, set_at, expires_at) VALUES (:customer, :phc, :kind, :now, :expires_at)
ON CONFLICT (customer) DO UPDATE SET phc = :phc, kind = :kind, set_at = :now, expires_at = :expires_at
"""
_SESSION = "id_hash, login, customer, factors, account, door, created_at, seen_at, ends_at"
_OPEN = f"""
INSERT INTO sessions ({_SESSION})
VALUES (:id_hash, :login, :customer, :factors, :account, :door, :created_at, :seen_at, :ends_at)
"""
# A session without a login was opened by an earlier release. Its owner has to sign in again.
LIVE_SESSION = f"""
SELECT {_SESSION} FROM sessions
WHERE id_hash = :id_hash AND seen_at > :idle_since AND ends_at > :now AND created_at <= {AHEAD} AND login IS NOT NULL
"""
LAST_LOGIN = """
SELECT login FROM sessions WHERE customer = :customer AND login IS NOT NULL ORDER BY created_at DESC, login LIMIT 1
"""
SEEN = f"UPDATE sessions SET seen_at = :now WHERE id_hash = :id_hash AND (seen_at < :now OR seen_at > {AHEAD})"
_CLOSE = "DELETE FROM sessions WHERE id_hash = :id_hash"
_ROTATE = f"""
UPDATE sessions SET id_hash = :new_hash, previous_hash = :previous, previous_repeat = :repeat, previous_until = :until
WHERE id_hash = :id_hash RETURNING {_BOUND.format(customer="sessions.customer")}
"""
_REPEATABLE = f"""
previous_hash = :old_hash AND previous_repeat = :repeat AND previous_until > :now AND ends_at > :now
  AND created_at <= {AHEAD}
"""
_BEFORE = f"SELECT {_SESSION} FROM sessions WHERE {_REPEATABLE} AND login IS NOT NULL"
_ROTATE_AGAIN = f"""
UPDATE sessions SET id_hash = :new_hash, previous_hash = NULL, previous_repeat = NULL, previous_until = NULL
WHERE {_REPEATABLE} RETURNING customer
"""
_END = f"{_CLOSE} RETURNING customer"
_END_ALL = "DELETE FROM sessions WHERE customer = :customer"
_OWNER = "SELECT customer FROM sessions WHERE id_hash = :id_hash"
SEEN_EVERY = timedelta(seconds=20)


def customer_of(row: Row) -> CustomerRow:
    """Return a customer as stored."""
    birth = row["birth_date_sealed"]
    return CustomerRow(
        CustomerId(row["id"]),
        row["person_kind"],
        bytes(row["person_id_sealed"]),
        bytes(row["name_sealed"]),
        None if birth is None else bytes(birth),
        row["version"],
    )


def contact_of(row: Row) -> ContactRow:
    """Return a contact as stored."""
    return ContactRow(
        CustomerId(row["customer"]),
        Channel(row["channel"]),
        row["version"],
        bytes(row["value_sealed"]),
        row["destination_hash"],
        moment(row["verified_at"]),
        moment(row["cool_until"]),
        moment_or_none(row["disputed_at"]),
    )


def account_of(row: Row) -> AccountRow:
    """Return an account as stored."""
    return AccountRow(AccountNumber(row["number"]), AccountKind(row["kind"]))


def factors_of(joined: str) -> frozenset[FactorClass]:
    """Return the factor classes of their joined words."""
    return frozenset(FactorClass(word) for word in joined.split("+") if word)


def session_of(row: Row) -> Session:
    """Return a session as stored."""
    return Session(
        bytes(row["id_hash"]),
        LoginId(row["login"]),
        CustomerId(row["customer"]),
        factors_of(row["factors"]),
        None if row["account"] is None else AccountNumber(row["account"]),
        row["door"],
        moment(row["created_at"]),
        moment(row["seen_at"]),
        moment(row["ends_at"]),
    )


def _binding(row: Row) -> Binding:
    return Binding(moment_or_none(row["set_at"]), row["closed_at"] is not None)


class CustomerRepository:
    """Implements `identity.ports.Records`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def customer(self, customer: CustomerId) -> CustomerRow | None:
        """Return a customer by number."""

        def script() -> Script[CustomerRow | None]:
            rows = yield whole(CUSTOMER, customer=customer)
            return customer_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def customer_by_person(self, person_id_hash: str) -> CustomerRow | None:
        """Return the customer whose person id has this keyed hash."""

        def script() -> Script[CustomerRow | None]:
            rows = yield whole(_BY_PERSON, hash=person_id_hash)
            return customer_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def contacts(self, customer: CustomerId) -> list[ContactRow]:
        """Return the customer's contacts, at most one a channel."""

        def script() -> Script[list[ContactRow]]:
            rows = yield whole(CONTACTS, customer=customer)
            return [contact_of(row) for row in rows]

        return await self._engine.read(script)

    async def accounts(self, customer: CustomerId) -> list[AccountRow]:
        """Return the customer's accounts in the firm's order."""

        def script() -> Script[list[AccountRow]]:
            rows = yield whole(ACCOUNTS, customer=customer)
            return [account_of(row) for row in rows]

        return await self._engine.read(script)

    async def password(self, customer: CustomerId) -> PasswordRow | None:
        """Return the password verifier."""

        def script() -> Script[PasswordRow | None]:
            rows = yield whole(_PASSWORD, customer=customer)
            if not rows:
                return None
            row = rows[0]
            return PasswordRow(customer, row["phc"], PasswordKind(row["kind"]), moment_or_none(row["expires_at"]))

        return await self._engine.read(script)

    async def claimant(self, claim: Claim) -> Claimant | None:
        """Return the customer whose person id, or else whose customer number, was typed."""

        def script() -> Script[Claimant | None]:
            rows = yield whole(_CLAIMANT, person=claim.person_hash, number=claim.number, bare=claim.bare)
            if not rows:
                return None
            row, customer = rows[0], CustomerId(rows[0]["id"])
            if row["phc"] is None:
                return Claimant(customer, None, None)
            kind, until = PasswordKind(row["kind"]), moment_or_none(row["expires_at"])
            return Claimant(customer, PasswordRow(customer, row["phc"], kind, until), moment(row["set_at"]))

        return await self._engine.read(script)

    async def binding(self, customer: CustomerId) -> Binding:
        """Return when the customer's password was set, and whether one of their entries is closed."""

        def script() -> Script[Binding]:
            return _binding((yield whole(_BINDING, customer=customer))[0])

        return await self._engine.read(script)

    async def set_password(
        self, row: PasswordRow, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> None:
        """Replace the customer's password verifier, end all sessions, open all entries, and queue the works."""

        def script() -> Script[None]:
            change = query(
                _SET_PASSWORD,
                customer=row.customer,
                phc=row.phc,
                kind=row.kind.value,
                now=ms(now),
                expires_at=ms_or_none(row.expires_at),
            )
            ended, opened = query(_END_ALL, customer=row.customer), query(OPEN_ALL, customer=row.customer)
            yield from note(record, change, ended, opened, *queued(works))
            yield from wake(works)

        await self._engine.run(script)

    async def note_within(self, record: AuditRecord, limits: tuple[RateLimit, ...], now: datetime) -> bool:
        """Write a record without another change, unless one of its rate limits is used up."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, *taken(limits, now))) is not None

        return await self._engine.run(script)


class SessionRepository:
    """Implements `identity.ports.Sessions`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self, session: Session, replaces: bytes | None, record: AuditRecord) -> None:
        """Store a new session and end the one that it replaces."""

        def script() -> Script[None]:
            old = () if replaces is None else (query(_CLOSE, id_hash=replaces),)
            opened = query(
                _OPEN,
                id_hash=session.id_hash,
                login=session.login,
                customer=session.customer,
                factors=words(frozenset(session.factors)),
                account=session.account,
                door=session.interface,
                created_at=ms(session.created_at),
                seen_at=ms(session.seen_at),
                ends_at=ms(session.ends_at),
            )
            yield from note(record, *old, opened)

        await self._engine.run(script)

    async def seen(self, id_hash: bytes, now: datetime, idle_since: datetime) -> Session | None:
        """Return the live session and note that it was used; None when unknown, idle too long or over.

        The note is written at most every SEEN_EVERY, so that most requests only read. So a session may end earlier by
        that much.
        """

        def script() -> Script[Session | None]:
            rows = yield whole(LIVE_SESSION, id_hash=id_hash, now=ms(now), idle_since=ms(idle_since))
            return session_of(rows[0]) if rows else None

        def used() -> Script[None]:
            yield whole(SEEN, id_hash=id_hash, now=ms(now))

        session = await self._engine.read(script)
        if session is not None and abs(now - session.seen_at) >= SEEN_EVERY:
            await self._engine.run(used)
        return session

    async def close(self, id_hash: bytes, record: AuditRecord) -> bool:
        """End a session; False when there is none."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_END, id_hash=id_hash))) is not None

        return await self._engine.run(script)

    async def owner(self, id_hash: bytes) -> CustomerId | None:
        """Return whose session it is, live or not; None when it has ended."""

        def script() -> Script[CustomerId | None]:
            rows = yield whole(_OWNER, id_hash=id_hash)
            return CustomerId(rows[0]["customer"]) if rows else None

        return await self._engine.read(script)

    async def rotate(
        self, id_hash: bytes, new_hash: bytes, lost: LostAnswer | None, record: AuditRecord
    ) -> Binding | None:
        """Give a session a new id, and return its customer's binding; None when there is no such session.

        The old id is invalid at once on all nodes, except for the repeat that `lost` allows.
        """
        rotate = guard(
            _ROTATE,
            id_hash=id_hash,
            new_hash=new_hash,
            previous=None if lost is None else id_hash,
            repeat=None if lost is None else lost.repeat,
            until=None if lost is None else ms(lost.until),
        )

        def script() -> Script[Binding | None]:
            done = yield from write_with_record(record, rotate)
            return None if done is None else _binding(done[0][0])

        return await self._engine.run(script)

    async def before(self, old_hash: bytes, repeat: bytes, now: datetime) -> Session | None:
        """Return the session that had this id before its rotation, if this request may be repeated with it."""

        def script() -> Script[Session | None]:
            rows = yield whole(_BEFORE, old_hash=old_hash, repeat=repeat, now=ms(now))
            return session_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def rotate_again(
        self, old_hash: bytes, repeat: bytes, new_hash: bytes, now: datetime, record: AuditRecord
    ) -> bool:
        """Give the session that `before` returns another new id. This works once."""
        again = guard(_ROTATE_AGAIN, old_hash=old_hash, repeat=repeat, new_hash=new_hash, now=ms(now))

        def script() -> Script[bool]:
            return (yield from write_with_record(record, again)) is not None

        return await self._engine.run(script)
