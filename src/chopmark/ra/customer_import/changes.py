"""Works out what has to be written, from the checked rows and the present directory: pure.

When a sealed column of a customer changes, the customer's version rises and all sealed columns are sealed anew, because
the version is sealed with them. A contact that changes gets a new version and cools down (I15). A contact that is added
to a known customer cools down too; otherwise removing a contact and adding another would avoid the cool-down.

When a customer number gets another person id, or an id, contact or account that another number has or had, the whole
number cools down: none of its contacts carries a code, whatever the sheet says about them. The customers who had the id
or account before are told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.core.clock import Entropy
from chopmark.core.types import Channel, CustomerId
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.identity.sealed import NONCE_BYTES, Sealer
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.customer_import.differences import (
    CHANNELS,
    Difference,
    Turned,
    column_of,
    gained,
    traits,
    traits_before,
)
from chopmark.ra.customer_import.notices import Notices
from chopmark.ra.customer_import.ports import (
    Borne,
    Changes,
    Confirmed,
    DirectoryState,
    Past,
    Rules,
    SealedCustomer,
    Trait,
)
from chopmark.ra.customer_import.reading import Waiting
from chopmark.ra.customer_import.sheet import Column, Row
from chopmark.tw.zone import local_midnight


@dataclass(frozen=True, slots=True)
class Told:
    """One audit record to write for a customer: the event and its facts, without the name of the importer."""

    customer: CustomerId
    event: Event
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Import:
    """What all batches of one import have in common."""

    sealer: Sealer
    entropy: Entropy
    new_id: Callable[[Entropy], str]
    rules: Rules
    run: str


@dataclass(slots=True)
class BatchChanges:
    """Gathers the changes of one batch."""

    of: Import
    now: datetime
    known: Mapping[CustomerId, DirectoryState]
    turned: Turned
    past: Past
    created: list[SealedCustomer] = field(default_factory=list)
    changed: list[SealedCustomer] = field(default_factory=list)
    contacts: list[ContactRow] = field(default_factory=list)
    confirmed: list[Confirmed] = field(default_factory=list)
    removed: list[tuple[CustomerId, Channel]] = field(default_factory=list)
    accounts: dict[CustomerId, tuple[AccountRow, ...]] = field(default_factory=dict)
    replaced: list[tuple[CustomerId, Channel]] = field(default_factory=list)
    cooled: dict[CustomerId, datetime] = field(default_factory=dict)
    voided: list[CustomerId] = field(default_factory=list)
    borne: list[tuple[CustomerId, Borne]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    works: list[OutboxJob] = field(default_factory=list)

    def changes(self, rows: Sequence[Waiting]) -> Changes:
        """Return what these rows change."""
        notices = Notices(self.of.entropy, self.of.new_id, self.of.rules.channels, self.now, self.past)
        for waiting in rows:
            standing = self.known.get(waiting.row.customer)
            found = self.turned.get(waiting.row.customer, ())
            moved = [one for one in gained(waiting, standing, found) if self.past.others(one, waiting.row.customer)]
            self._write(waiting, standing, found)
            self._cool(waiting, found, moved)
            notices.tell(waiting.row.customer, standing, found, moved)
        self.works = notices.works
        return Changes(
            self.known,
            self.created,
            self.changed,
            self.contacts,
            self.confirmed,
            self.removed,
            self.accounts,
            self.works,
            self.replaced,
            self.cooled,
            self.voided,
            self.borne,
            self.of.run,
        )

    def _write(self, waiting: Waiting, standing: DirectoryState | None, found: Sequence[Difference]) -> None:
        row = waiting.row
        version = self._customer(waiting, standing, found)
        if row.accounts != (standing.accounts if standing else ()):
            self.accounts[row.customer] = row.accounts
        versions = self._contacts(waiting, standing)
        if standing is not None and not found:
            return
        before = [] if standing is None else traits_before(standing)
        self.borne += [(row.customer, one) for one in dict.fromkeys((*before, *traits(waiting)))]
        if standing is not None:
            self.voided.append(row.customer)
            self.told += [_told(row.customer, one, version, versions) for one in found]

    def _customer(self, waiting: Waiting, standing: DirectoryState | None, found: Sequence[Difference]) -> int:
        """Return the customer's version afterwards."""
        if standing is None:
            self.created.append(SealedCustomer(self._sealed(waiting.row, 1), waiting.person_hash))
            return 1
        if not any(one.column in _SEALED for one in found):
            return standing.row.version
        version = standing.row.version + 1
        self.changed.append(SealedCustomer(self._sealed(waiting.row, version), waiting.person_hash))
        return version

    def _sealed(self, row: Row, version: int) -> CustomerRow:
        def sealed(column: str, value: str) -> bytes:
            nonce = self.of.entropy.token(NONCE_BYTES)
            return self.of.sealer.seal(value, "customers", column, row.customer, version, nonce)

        birth = None if row.birth_date is None else sealed("birth_date", row.birth_date.isoformat())
        return CustomerRow(
            id=row.customer,
            person_kind=row.person.kind.value,
            person_id_sealed=sealed("person_id", row.person.value),
            name_sealed=sealed("name", row.name),
            birth_date_sealed=birth,
            version=version,
        )

    def _contacts(self, waiting: Waiting, standing: DirectoryState | None) -> dict[Channel, int]:
        """Return the version of each contact that changes: the new one, or the last one of one that is removed."""
        versions: dict[Channel, int] = {}
        for channel, value in ((Channel.MOBILE, waiting.row.mobile), (Channel.EMAIL, waiting.row.email)):
            stored = None if standing is None else standing.contacts.get(channel)
            version = self._contact(waiting, channel, value, stored, known=standing is not None)
            if version is not None:
                versions[channel] = version
        return versions

    def _contact(
        self, waiting: Waiting, channel: Channel, value: str | None, stored: ContactRow | None, *, known: bool
    ) -> int | None:
        row, hashed = waiting.row, waiting.contact_hash(channel)
        if value is None or hashed is None or row.verified_on is None:
            if stored is None:
                return None
            self.replaced.append((row.customer, channel))
            self.removed.append((row.customer, channel))
            return stored.version
        verified_at = local_midnight(row.verified_on)
        if stored is not None and stored.destination_hash == hashed:
            if verified_at > stored.verified_at:
                self.confirmed.append(Confirmed(row.customer, channel, verified_at))
            return None
        if stored is not None:
            self.replaced.append((row.customer, channel))
        version = self._version(row.customer, channel, stored, known=known)
        nonce = self.of.entropy.token(NONCE_BYTES)
        self.contacts.append(
            ContactRow(
                customer=row.customer,
                channel=channel,
                version=version,
                value_sealed=self.of.sealer.seal(value, "contacts", channel.value, row.customer, version, nonce),
                destination_hash=hashed,
                verified_at=verified_at,
                cool_until=self.now + self.of.rules.cooldown if known else verified_at,
                disputed_at=None,
            )
        )
        return version

    def _version(self, customer: CustomerId, channel: Channel, stored: ContactRow | None, *, known: bool) -> int:
        """Return a version that no contact of this customer and channel had before: codes are bound to it (rule 6).

        A contact that is added to a known customer gets the present time in seconds since 1970 as its version, or one
        more than the last removed contact had: so it never repeats the version of a removed contact.
        """
        if stored is not None:
            return stored.version + 1
        if not known:
            return 1
        late = (one.version for one in self.past.contacts.get(customer, ()) if one.channel is channel)
        return max(int(self.now.timestamp()), 1 + max(late, default=0))

    def _cool(self, waiting: Waiting, found: Sequence[Difference], moved: Sequence[Borne]) -> None:
        """Start the cool-down of a customer number that gets another one's id, account or contact, or a changed id."""
        customer = waiting.row.customer
        facts: list[dict[str, Fact]] = [
            {
                "field": column_of(one, waiting),
                "account": one.value if one.kind is Trait.ACCOUNT else None,
                "reason": "moved",
            }
            for one in moved
        ]
        if not facts and any(one.column is Column.PERSON_ID for one in found):
            facts = [{"field": Column.PERSON_ID, "account": None, "reason": "changed"}]
        if facts:
            self.cooled[customer] = self.now + self.of.rules.cooldown
        for one in facts:
            named = {name: value for name, value in one.items() if value is not None}
            self.told.append(Told(customer, Event.STAFF_COOLDOWN_STARTED, {"customer": customer, **named}))


_SEALED = {Column.PERSON_ID, Column.NAME, Column.BIRTH_DATE}


def _told(customer: CustomerId, one: Difference, version: int, versions: Mapping[Channel, int]) -> Told:
    facts: dict[str, Fact] = {"customer": customer, "field": one.column, "state": one.turn}
    channel = CHANNELS.get(one.column)
    if channel is not None:
        facts |= {"channel": channel, "contact_version": versions[channel]}
        return Told(customer, Event.STAFF_CONTACT_CHANGED, facts)
    facts |= {"version": version} if one.account is None else {"account": one.account}
    return Told(customer, Event.STAFF_CUSTOMER_CHANGED, facts)
