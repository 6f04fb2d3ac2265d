"""The import of customers: what the directory has, how a batch is written, and how far each file is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter

from chopmark.audit.record import GENESIS, AuditRecord, StreamId, Tip
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountKind, AccountNumber, Channel, CustomerId, text
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.ra.customer_import.ports import (
    KEPT,
    Borne,
    Changes,
    DirectoryState,
    Mark,
    Owners,
    Past,
    SealedCustomer,
    StandingMoved,
    Trait,
)
from chopmark.store.engine.columns import moment, moment_or_none, ms, span
from chopmark.store.engine.port import Clash, Engine
from chopmark.store.engine.script import Batch, Query, Row, Script, Value, query
from chopmark.store.repositories.identity.customers import contact_of
from chopmark.store.repositories.listed import LISTED
from chopmark.store.repositories.messaging.outbox import queue
from chopmark.store.repositories.records import append

_LOCKED = {"sqlite": "", "postgresql": "FOR UPDATE"}
_TAKEN = Refusal(
    Kind.CONFLICT, text("This file is being imported by somebody else at this moment."), field="file", code="importing"
)

_INSERT_CUSTOMER = """
INSERT INTO customers (id, person_kind, person_id_hash, person_id_sealed, name_sealed, birth_date_sealed, version,
                       created_at, updated_at)
VALUES (:id, :person_kind, :person_id_hash, :person_id_sealed, :name_sealed, :birth_date_sealed, :version, :now, :now)
"""
_UPDATE_CUSTOMER = """
UPDATE customers
SET person_kind = :person_kind, person_id_hash = :person_id_hash, person_id_sealed = :person_id_sealed,
    name_sealed = :name_sealed, birth_date_sealed = :birth_date_sealed, version = :version, updated_at = :now
WHERE id = :id
"""
_PUT_CONTACT = """
INSERT INTO contacts (customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at)
VALUES (:customer, :channel, :version, :value_sealed, :destination_hash, :verified_at, :cool_until, NULL)
ON CONFLICT (customer, channel) DO UPDATE
SET version = excluded.version, value_sealed = excluded.value_sealed, destination_hash = excluded.destination_hash,
    verified_at = excluded.verified_at, cool_until = excluded.cool_until, disputed_at = NULL
"""
_CONFIRM_CONTACT = """
UPDATE contacts SET verified_at = :verified_at,
  disputed_at = CASE WHEN disputed_at < :day_after THEN NULL ELSE disputed_at END
WHERE customer = :customer AND channel = :channel AND verified_at < :verified_at
"""
_DELETE_CONTACT = "DELETE FROM contacts WHERE customer = :customer AND channel = :channel"
_DELETE_ACCOUNTS = "DELETE FROM accounts WHERE customer = :customer"
_INSERT_ACCOUNT = """
INSERT INTO accounts (number, customer, kind, position) VALUES (:number, :customer, :kind, :position)
"""
_REPLACED = """
INSERT INTO former_contacts (customer, channel, version, value_sealed, destination_hash, verified_at, cool_until,
                             disputed_at, ended_at)
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at,
       CAST(:now AS BIGINT)
FROM contacts WHERE customer = :customer AND channel = :channel
ON CONFLICT (customer, channel, version) DO NOTHING
"""
_PURGE = "DELETE FROM former_contacts WHERE ended_at < :before"
_COOL = "UPDATE contacts SET cool_until = :until WHERE customer = :customer AND cool_until < :until"
_BEAR = """
INSERT INTO bearers (value, kind, customer, run, since) VALUES (:value, :kind, :customer, :run, :now)
ON CONFLICT (value, kind, customer) DO NOTHING
"""
_KILL_CODES = """
UPDATE challenges SET state = 'dead'
WHERE state = 'live' AND order_id IN (
  SELECT id FROM orders WHERE customer = :customer AND state IN ('open', 'bound', 'coded', 'checked')
)
"""
_VOID_APPROVALS = """
UPDATE orders SET coded_at = NULL, checked_at = NULL WHERE customer = :customer AND state IN ('coded', 'checked')
"""
_BEGIN = """
INSERT INTO imports (file_sha256, lines_done, created_at) VALUES (:file, 0, :now)
ON CONFLICT (file_sha256) DO UPDATE
SET lines_done = CASE WHEN imports.finished_at IS NULL THEN imports.lines_done ELSE 0 END,
    created_at = CASE WHEN imports.finished_at IS NULL THEN imports.created_at ELSE excluded.created_at END,
    finished_at = NULL, report = NULL
RETURNING lines_done
"""
_MARK = """
UPDATE imports SET lines_done = :end
WHERE file_sha256 = :file AND lines_done = :start AND finished_at IS NULL
RETURNING lines_done
"""
_FINISH = "UPDATE imports SET finished_at = :now, report = :report WHERE file_sha256 = :file AND finished_at IS NULL"


_BEARERS = """
SELECT value, kind, customer FROM (
  SELECT value, kind, customer, ROW_NUMBER() OVER (PARTITION BY value, kind ORDER BY customer) AS place
  FROM bearers WHERE value {listed} AND run <> :run
) ranked WHERE place <= 50
"""
_SHARING = """
SELECT value, customer FROM (
  SELECT b.value, b.customer, ROW_NUMBER() OVER (PARTITION BY b.value ORDER BY b.customer) AS place
  FROM bearers b JOIN contacts c ON c.customer = b.customer AND c.destination_hash = b.value
  WHERE b.kind = :kind AND b.value {listed}
) ranked WHERE place <= 5 ORDER BY value, customer
"""
_PERSONS = "SELECT person_id_hash, id FROM customers WHERE person_id_hash {listed}"
_NUMBERS = "SELECT number, customer FROM accounts WHERE number {listed}"
_TIPS = "SELECT chain, version, tip FROM chains WHERE chain {listed}"
_CUSTOMERS = """
SELECT id, person_kind, person_id_hash, person_id_sealed, name_sealed, birth_date_sealed, version
FROM customers WHERE id {listed}
"""
_ACCOUNTS = "SELECT customer, number, kind FROM accounts WHERE customer {listed} ORDER BY customer, position"
_VERSIONS = "SELECT id, version FROM customers WHERE id {listed} ORDER BY id {locked}"
_CONTACT_VERSIONS = "SELECT customer, channel, version FROM contacts WHERE customer {listed}"
_PRESENT = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM contacts WHERE customer {listed} ORDER BY customer, channel
"""
_LATE = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM former_contacts WHERE customer {listed} AND ended_at + 0 > :since ORDER BY ended_at DESC, customer, channel
"""


class SqlRegistry:
    """`ra.intake_ports.Registry` on an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._named = {"listed": LISTED[engine.dialect], "locked": _LOCKED[engine.dialect]}

    async def owners(
        self, person_id_hashes: Sequence[str], accounts: Sequence[AccountNumber], destinations: Sequence[str]
    ) -> Owners:
        """As `Registry.owners`."""
        return await self._engine.read(self._owners, person_id_hashes, accounts, destinations)

    async def past(self, borne: Sequence[Borne], customers: Sequence[CustomerId], run: str, since: datetime) -> Past:
        """As `Registry.past`."""
        return await self._engine.read(self._past, borne, customers, run, ms(since))

    async def numbers(self, after: CustomerId | None, most: int) -> list[CustomerId]:
        """As `Registry.numbers`."""
        sql = "SELECT id FROM customers WHERE id > :after ORDER BY id LIMIT :most"
        rows = await self._engine.read(_rows, query(sql, after=after or "", most=most))
        return [CustomerId(row["id"]) for row in rows]

    async def standing(self, customers: Sequence[CustomerId]) -> dict[CustomerId, DirectoryState]:
        """As `Registry.standing`."""
        return await self._engine.read(self._standing, customers)

    async def tips(self, chains: Sequence[StreamId]) -> dict[StreamId, Tip]:
        """As `Registry.tips`."""
        sql = _TIPS.format(**self._named)
        rows = await self._engine.read(_rows, query(sql, listed=json.dumps(list(chains))))
        return {chain: Tip(chain, 0, GENESIS) for chain in chains} | {
            StreamId(row["chain"]): Tip(StreamId(row["chain"]), row["version"], bytes(row["tip"])) for row in rows
        }

    async def begin(self, file_sha256: str, now: datetime) -> int:
        """As `Registry.begin`."""
        rows = await self._engine.run(_rows, query(_BEGIN, file=file_sha256, now=ms(now)))
        done: int = rows[0]["lines_done"]
        return done

    async def write(
        self, changes: Changes, records: Sequence[AuditRecord], now: datetime, mark: Mark | None
    ) -> Refusal | None:
        """As `Registry.write`."""
        try:
            return await self._engine.run(self._write, changes, records, ms(now), mark)
        except Clash as clash:
            raise StandingMoved from clash

    async def finish(self, file_sha256: str, report: str, now: datetime) -> None:
        """As `Registry.finish`."""
        await self._engine.run(_rows, query(_FINISH, file=file_sha256, report=report, now=ms(now)))

    def _owners(
        self, person_id_hashes: Sequence[str], accounts: Sequence[AccountNumber], destinations: Sequence[str]
    ) -> Script[Owners]:
        persons = yield query(_PERSONS.format(**self._named), listed=json.dumps(list(person_id_hashes)))
        numbers = yield query(_NUMBERS.format(**self._named), listed=json.dumps(list(accounts)))
        listed = json.dumps(list(destinations))
        shared = yield query(_SHARING.format(**self._named), kind=Trait.CONTACT.value, listed=listed)
        sharing: dict[str, tuple[CustomerId, ...]] = {}
        for row in shared:
            sharing[row["value"]] = (*sharing.get(row["value"], ()), CustomerId(row["customer"]))
        return Owners(
            {row["person_id_hash"]: CustomerId(row["id"]) for row in persons},
            {AccountNumber(row["number"]): CustomerId(row["customer"]) for row in numbers},
            sharing,
        )

    def _past(self, borne: Sequence[Borne], customers: Sequence[CustomerId], run: str, since: int) -> Script[Past]:
        listed = json.dumps(sorted({one.value for one in borne}))
        rows = (yield query(_BEARERS.format(**self._named), run=run, listed=listed)) if borne else []
        wanted, bearers = set(borne), dict[Borne, set[CustomerId]]()
        for row in rows:
            found = Borne(Trait(row["kind"]), row["value"])
            if found in wanted:
                bearers.setdefault(found, set()).add(CustomerId(row["customer"]))
        concerned = {*customers, *(one for who in bearers.values() for one in who)}
        contacts: dict[CustomerId, tuple[ContactRow, ...]] = {}
        if concerned:
            listed = json.dumps(sorted(concerned))
            there = yield query(_PRESENT.format(**self._named), listed=listed)
            late = yield query(_LATE.format(**self._named), since=since, listed=listed)
            for contact in map(contact_of, (*there, *late)):
                contacts[contact.customer] = (*contacts.get(contact.customer, ()), contact)
        return Past({one: frozenset(who) for one, who in bearers.items()}, contacts)

    def _standing(self, customers: Sequence[CustomerId]) -> Script[dict[CustomerId, DirectoryState]]:
        listed = json.dumps(list(customers))
        rows = yield query(_CUSTOMERS.format(**self._named), listed=listed)
        if not rows:
            return {}
        contacts = yield query(_PRESENT.format(**self._named), listed=listed)
        accounts = yield query(_ACCOUNTS.format(**self._named), listed=listed)
        of_contacts, of_accounts = _by_customer(contacts), _by_customer(accounts)
        return {
            CustomerId(row["id"]): DirectoryState(
                _customer(row),
                row["person_id_hash"],
                {Channel(one["channel"]): _contact(one) for one in of_contacts.get(row["id"], ())},
                tuple(
                    AccountRow(AccountNumber(one["number"]), AccountKind(one["kind"]))
                    for one in of_accounts.get(row["id"], ())
                ),
            )
            for row in rows
        }

    def _write(
        self, changes: Changes, records: Sequence[AuditRecord], now: int, mark: Mark | None
    ) -> Script[Refusal | None]:
        """Write a batch. The mark comes first, so that a process which does not own the file writes nothing."""
        if mark is not None:
            moved = yield query(_MARK, file=mark.file_sha256, start=mark.start, end=mark.end)
            if not moved:
                return _TAKEN
        yield from self._unmoved(changes)
        for sql, values in _statements(changes, now):
            if values:
                yield Batch(sql, values)
        yield query(_PURGE, before=now - span(KEPT))
        yield from queue(tuple(changes.works))
        for record in records:
            yield from append(record)
        return None

    def _unmoved(self, changes: Changes) -> Script[None]:
        """Lock the known customers, and raise StandingMoved when one of them was changed since it was read."""
        listed = json.dumps(list(changes.known))
        rows = yield query(_VERSIONS.format(**self._named), listed=listed)
        contacts = yield query(_CONTACT_VERSIONS.format(**self._named), listed=listed)
        found = {(row["id"], "", row["version"]) for row in rows}
        found |= {(row["customer"], row["channel"], row["version"]) for row in contacts}
        wanted: set[tuple[str, str, int]] = set()
        for customer, standing in changes.known.items():
            wanted.add((customer, "", standing.row.version))
            wanted |= {(customer, channel.value, one.version) for channel, one in standing.contacts.items()}
        if found != wanted:
            raise StandingMoved


def _statements(changes: Changes, now: int) -> Iterable[tuple[str, Sequence[Mapping[str, Value]]]]:
    """Yield the statements of a batch, in an order in which no foreign key and no unique index is violated."""
    yield _INSERT_CUSTOMER, [_sealed(one, now) for one in changes.created]
    yield _UPDATE_CUSTOMER, [_sealed(one, now) for one in changes.changed]
    yield (
        _REPLACED,
        [{"customer": customer, "channel": channel.value, "now": now} for customer, channel in changes.replaced],
    )
    yield _PUT_CONTACT, [_put(one) for one in changes.contacts]
    yield (
        _CONFIRM_CONTACT,
        [
            {
                "customer": one.customer,
                "channel": one.channel.value,
                "verified_at": ms(one.verified_at),
                "day_after": ms(
                    one.verified_at + timedelta(days=1)
                ),  # a dispute of that day or before is settled by it
            }
            for one in changes.confirmed
        ],
    )
    yield _DELETE_CONTACT, [{"customer": customer, "channel": channel.value} for customer, channel in changes.removed]
    yield _DELETE_ACCOUNTS, [{"customer": customer} for customer in changes.accounts if customer in changes.known]
    yield (
        _INSERT_ACCOUNT,
        [
            {"number": one.number, "customer": customer, "kind": one.kind.value, "position": position}
            for customer, accounts in changes.accounts.items()
            for position, one in enumerate(accounts)
        ],
    )
    yield _COOL, [{"customer": customer, "until": ms(until)} for customer, until in changes.cooled.items()]
    yield (
        _BEAR,
        [
            {"value": one.value, "kind": one.kind.value, "customer": customer, "run": changes.run, "now": now}
            for customer, one in changes.borne
        ],
    )
    yield _KILL_CODES, [{"customer": customer} for customer in changes.voided]
    yield _VOID_APPROVALS, [{"customer": customer} for customer in changes.voided]


def _rows(step: Query) -> Script[list[Row]]:
    return (yield step)


def _by_customer(rows: list[Row]) -> dict[str, list[Row]]:
    return {customer: list(found) for customer, found in groupby(rows, itemgetter("customer"))}


def _customer(row: Row) -> CustomerRow:
    return CustomerRow(
        id=CustomerId(row["id"]),
        person_kind=row["person_kind"],
        person_id_sealed=row["person_id_sealed"],
        name_sealed=row["name_sealed"],
        birth_date_sealed=row["birth_date_sealed"],
        version=row["version"],
    )


def _contact(row: Row) -> ContactRow:
    return ContactRow(
        customer=CustomerId(row["customer"]),
        channel=Channel(row["channel"]),
        version=row["version"],
        value_sealed=row["value_sealed"],
        destination_hash=row["destination_hash"],
        verified_at=moment(row["verified_at"]),
        cool_until=moment(row["cool_until"]),
        disputed_at=moment_or_none(row["disputed_at"]),
    )


def _sealed(customer: SealedCustomer, now: int) -> Mapping[str, Value]:
    row = customer.row
    return {
        "id": row.id,
        "person_kind": row.person_kind,
        "person_id_hash": customer.person_id_hash,
        "person_id_sealed": row.person_id_sealed,
        "name_sealed": row.name_sealed,
        "birth_date_sealed": row.birth_date_sealed,
        "version": row.version,
        "now": now,
    }


def _put(contact: ContactRow) -> Mapping[str, Value]:
    return {
        "customer": contact.customer,
        "channel": contact.channel.value,
        "version": contact.version,
        "value_sealed": contact.value_sealed,
        "destination_hash": contact.destination_hash,
        "verified_at": ms(contact.verified_at),
        "cool_until": ms(contact.cool_until),
    }
