"""Customers, sessions and launch tickets."""

from __future__ import annotations

from datetime import datetime, timedelta

from chopmark.audit.leaf import Leaf, Tip, customer_chain
from chopmark.errors import Kind, Refusal
from chopmark.identity.ports import (
    AccountRow,
    Client,
    ContactRow,
    CustomerRow,
    Launch,
    LostAnswer,
    PasswordKind,
    PasswordRow,
    Session,
)
from chopmark.store.columns import moment, moment_or_none, ms, ms_or_none, words
from chopmark.store.engine import Engine
from chopmark.store.leaves import TIP, append, note, record, tip_of
from chopmark.store.script import Row, Script, at_once, guard, query, whole
from chopmark.words import AccountKind, AccountNumber, Channel, CustomerId, FactorClass, LoginId, text

_PERSON = "id, person_kind, person_id_sealed, name_sealed, birth_date_sealed, version"
CUSTOMER = f"SELECT {_PERSON} FROM customers WHERE id = :customer"
_BY_PERSON = f"SELECT {_PERSON} FROM customers WHERE person_id_hash = :hash"
CONTACTS = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM contacts WHERE customer = :customer
"""
ACCOUNTS = "SELECT number, kind FROM accounts WHERE customer = :customer ORDER BY position"
_OWNED = "SELECT number FROM accounts WHERE customer = :customer AND number = :account"
_PASSWORD = "SELECT customer, phc, kind, expires_at FROM passwords WHERE customer = :customer"
_SET_PASSWORD = """
INSERT INTO passwords (customer, phc, kind, set_at, expires_at) VALUES (:customer, :phc, :kind, :now, :expires_at)
ON CONFLICT (customer) DO UPDATE SET phc = :phc, kind = :kind, set_at = :now, expires_at = :expires_at
"""
_SESSION = "id_hash, login, customer, factors, account, door, created_at, seen_at, ends_at"
_OPEN = f"""
INSERT INTO sessions ({_SESSION})
VALUES (:id_hash, :login, :customer, :factors, :account, :door, :created_at, :seen_at, :ends_at)
"""
# A session without a login was opened by the release before: its owner signs in again.
LIVE_SESSION = f"""
SELECT {_SESSION} FROM sessions
WHERE id_hash = :id_hash AND seen_at > :idle_since AND ends_at > :now AND login IS NOT NULL
"""
LAST_LOGIN = """
SELECT login FROM sessions WHERE customer = :customer AND login IS NOT NULL ORDER BY created_at DESC, login LIMIT 1
"""
SEEN = "UPDATE sessions SET seen_at = :now WHERE id_hash = :id_hash AND seen_at < :now"
_CLOSE = "DELETE FROM sessions WHERE id_hash = :id_hash"
_ROTATE = """
UPDATE sessions SET id_hash = :new_hash, previous_hash = :previous, previous_repeat = :repeat, previous_until = :until
WHERE id_hash = :id_hash RETURNING customer
"""
_REPEATABLE = "previous_hash = :old_hash AND previous_repeat = :repeat AND previous_until > :now AND ends_at > :now"
_BEFORE = f"SELECT {_SESSION} FROM sessions WHERE {_REPEATABLE} AND login IS NOT NULL"
_ROTATE_AGAIN = f"""
UPDATE sessions SET id_hash = :new_hash, previous_hash = NULL, previous_repeat = NULL, previous_until = NULL
WHERE {_REPEATABLE} RETURNING customer
"""
_CLIENT = "id, name, secret_hash, previous_hash, previous_until, disabled_at"
_GET_CLIENT = f"SELECT {_CLIENT} FROM clients WHERE id = :id"
_CLIENTS = f"SELECT {_CLIENT} FROM clients ORDER BY id"
_PUT_CLIENT = """
INSERT INTO clients (id, name, secret_hash, created_at) VALUES (:id, :name, :secret, :now)
ON CONFLICT (id) DO UPDATE SET secret_hash = :secret, previous_hash = :previous, previous_until = :until,
  rotated_at = :now
"""
_CREATE_LAUNCH = """
INSERT INTO launches (ticket_hash, client, customer, account, factors, wanted, created_at, expires_at)
VALUES (:ticket, :client, :customer, :account, :factors, :wanted, :created_at, :expires_at)
"""
_LAUNCH = "ticket_hash, client, customer, account, factors, wanted, created_at, expires_at"
_USE = f"""
UPDATE launches SET used_at = :now, visitor_hash = :visitor
WHERE ticket_hash = :ticket AND used_at IS NULL AND expires_at > :now RETURNING {_LAUNCH}
"""
_CONFIRM = f"""
UPDATE launches SET confirmed_at = :now
WHERE ticket_hash = :ticket AND visitor_hash = :visitor AND confirmed_at IS NULL AND used_at > :since
RETURNING {_LAUNCH}
"""
_WHY = "SELECT used_at, expires_at FROM launches WHERE ticket_hash = :ticket"
CONFIRM_WITHIN_MS = 300_000
SEEN_EVERY = timedelta(seconds=20)


def launch_refusal(*, used: bool, known: bool) -> Refusal:
    """Return the refusal of a ticket: the sentence is the same for unknown and expired ones."""
    code = "launch.used" if used else "launch.expired" if known else "launch.unknown"
    said = (
        text("This link was used already. Please open the certificate page from your trading program again.")
        if used
        else text("This link is too old. Please open the certificate page from your trading program again.")
    )
    return Refusal(Kind.FORBIDDEN, said, code=code)


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


def _factors(joined: str) -> frozenset[FactorClass]:
    return frozenset(FactorClass(word) for word in joined.split("+") if word)


def session_of(row: Row) -> Session:
    """Return a session as stored."""
    return Session(
        bytes(row["id_hash"]),
        LoginId(row["login"]),
        CustomerId(row["customer"]),
        _factors(row["factors"]),
        None if row["account"] is None else AccountNumber(row["account"]),
        row["door"],
        moment(row["created_at"]),
        moment(row["seen_at"]),
        moment(row["ends_at"]),
    )


def _client(row: Row) -> Client:
    previous = row["previous_hash"]
    return Client(
        row["id"],
        row["name"],
        bytes(row["secret_hash"]),
        None if previous is None else bytes(previous),
        moment_or_none(row["previous_until"]),
        moment_or_none(row["disabled_at"]),
    )


def _launch(row: Row) -> Launch:
    return Launch(
        bytes(row["ticket_hash"]),
        row["client"],
        CustomerId(row["customer"]),
        AccountNumber(row["account"]),
        _factors(row["factors"]),
        row["wanted"],
        moment(row["created_at"]),
        moment(row["expires_at"]),
    )


class RecordLedger:
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

    async def set_password(self, row: PasswordRow, now: datetime, leaf: Leaf) -> None:
        """Replace the customer's password verifier."""

        def script() -> Script[None]:
            change = query(
                _SET_PASSWORD,
                customer=row.customer,
                phc=row.phc,
                kind=row.kind.value,
                now=ms(now),
                expires_at=ms_or_none(row.expires_at),
            )
            yield from note(leaf, change)

        await self._engine.run(script)

    async def note(self, leaf: Leaf) -> None:
        """Write a leaf that goes with no other change: a refusal at the door."""
        await self._engine.run(note, leaf)


class SessionLedger:
    """Implements `identity.ports.Sessions`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self, session: Session, replaces: bytes | None, leaf: Leaf) -> None:
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
                door=session.door,
                created_at=ms(session.created_at),
                seen_at=ms(session.seen_at),
                ends_at=ms(session.ends_at),
            )
            yield from note(leaf, *old, opened)

        await self._engine.run(script)

    async def seen(self, id_hash: bytes, now: datetime, idle_since: datetime) -> Session | None:
        """Return the live session and note that it was used; None when unknown, idle too long or over.

        The note is written at most every SEEN_EVERY, so that it may end that much early, and most requests only read.
        """

        def script() -> Script[Session | None]:
            rows = yield whole(LIVE_SESSION, id_hash=id_hash, now=ms(now), idle_since=ms(idle_since))
            return session_of(rows[0]) if rows else None

        def used() -> Script[None]:
            yield whole(SEEN, id_hash=id_hash, now=ms(now))

        session = await self._engine.read(script)
        if session is not None and now - session.seen_at >= SEEN_EVERY:
            await self._engine.run(used)
        return session

    async def close(self, id_hash: bytes, leaf: Leaf) -> None:
        """End a session."""

        def script() -> Script[None]:
            yield from note(leaf, query(_CLOSE, id_hash=id_hash))

        await self._engine.run(script)

    async def rotate(self, id_hash: bytes, new_hash: bytes, lost: LostAnswer | None, leaf: Leaf) -> bool:
        """Give a session a new id; the old id is dead at once on all nodes, but for `lost`."""
        rotate = guard(
            _ROTATE,
            id_hash=id_hash,
            new_hash=new_hash,
            previous=None if lost is None else id_hash,
            repeat=None if lost is None else lost.repeat,
            until=None if lost is None else ms(lost.until),
        )

        def script() -> Script[bool]:
            return (yield from record(leaf, rotate)) is not None

        return await self._engine.run(script)

    async def before(self, old_hash: bytes, repeat: bytes, now: datetime) -> Session | None:
        """Return the session whose id before was this one, if exactly this request may be repeated with it still."""

        def script() -> Script[Session | None]:
            rows = yield whole(_BEFORE, old_hash=old_hash, repeat=repeat, now=ms(now))
            return session_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def rotate_again(self, old_hash: bytes, repeat: bytes, new_hash: bytes, now: datetime, leaf: Leaf) -> bool:
        """Give that session a new id once more; once."""
        again = guard(_ROTATE_AGAIN, old_hash=old_hash, repeat=repeat, new_hash=new_hash, now=ms(now))

        def script() -> Script[bool]:
            return (yield from record(leaf, again)) is not None

        return await self._engine.run(script)


class LaunchLedger:
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

    async def put_client(self, client: Client, now: datetime, leaf: Leaf) -> None:
        """Create a client or replace its secrets."""

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
            yield from note(leaf, change)

        await self._engine.run(script)

    async def asked(self, client_id: str, customer: CustomerId) -> tuple[Client | None, Tip]:
        """Return a client by id, and the tip of the chain of the customer for whom it asks."""
        chain = customer_chain(customer)

        def script() -> Script[tuple[Client | None, Tip]]:
            clients, tips = (yield from at_once(query(_GET_CLIENT, id=client_id), query(TIP, chain=chain))) or ([], [])
            return _client(clients[0]) if clients else None, tip_of(chain, tips)

        return await self._engine.read(script)

    async def create(self, launch: Launch, leaf: Leaf) -> bool:
        """Store a ticket; False when the account is not the customer's."""
        owned = guard(_OWNED, customer=launch.customer, account=launch.account)

        def script() -> Script[bool]:
            change = query(
                _CREATE_LAUNCH,
                ticket=launch.ticket_hash,
                client=launch.client,
                customer=launch.customer,
                account=launch.account,
                factors=words(frozenset(launch.factors)),
                wanted=launch.wanted,
                created_at=ms(launch.created_at),
                expires_at=ms(launch.expires_at),
            )
            return (yield from record(leaf, owned, change)) is not None

        return await self._engine.run(script)

    async def use(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, leaf: Leaf, no: Leaf
    ) -> Launch | Refusal:
        """Take a ticket once, for one visitor, in one statement; a refusal is recorded with `no`."""

        def script() -> Script[Launch | Refusal]:
            done = yield from record(leaf, guard(_USE, ticket=ticket_hash, visitor=visitor_hash, now=ms(now)))
            if done is not None:
                return _launch(done[0][0])
            yield from append(no)
            known = yield query(_WHY, ticket=ticket_hash)
            return launch_refusal(used=bool(known) and known[0]["used_at"] is not None, known=bool(known))

        return await self._engine.run(script)

    async def confirm(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, leaf: Leaf, no: Leaf
    ) -> Launch | Refusal:
        """Turn a taken ticket into consent to open a session, once, by the same visitor; a refusal with `no`."""

        def script() -> Script[Launch | Refusal]:
            since = ms(now) - CONFIRM_WITHIN_MS
            confirmed = guard(_CONFIRM, ticket=ticket_hash, visitor=visitor_hash, now=ms(now), since=since)
            done = yield from record(leaf, confirmed)
            if done is not None:
                return _launch(done[0][0])
            yield from append(no)
            return launch_refusal(used=True, known=True)

        return await self._engine.run(script)
