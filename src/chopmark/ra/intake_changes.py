"""From checked rows and the directory as it stands to what has to be written: pure.

A customer's version rises when a sealed column changes, and then all of them are sealed anew, because the version is
sealed with them. A contact that changes gets a new version and cools down (I15); so does one that is added to a
customer who is known already, or taking one away and bringing another would be a way around the cool-down.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chopmark.clock import Entropy
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.identity.sealed import NONCE_BYTES, Sealer
from chopmark.post.ports import Purpose, Work, WorkKind
from chopmark.ra.intake_ports import Changes, Confirmed, SealedCustomer, Standing
from chopmark.ra.sheet import Row
from chopmark.tw.zone import local_midnight
from chopmark.words import Channel, CustomerId


@dataclass(frozen=True, slots=True)
class ContactChange:
    """One contact of a known customer that was changed, added or removed, with its version then."""

    customer: CustomerId
    channel: Channel
    version: int
    state: str


@dataclass(slots=True)
class Plan:
    """Gathers the changes of one batch."""

    sealer: Sealer
    entropy: Entropy
    new_id: Callable[[Entropy], str]
    now: datetime
    cooldown: timedelta
    known: Mapping[CustomerId, Standing]
    created: list[SealedCustomer] = field(default_factory=list)
    changed: list[SealedCustomer] = field(default_factory=list)
    contacts: list[ContactRow] = field(default_factory=list)
    confirmed: list[Confirmed] = field(default_factory=list)
    removed: list[tuple[CustomerId, Channel]] = field(default_factory=list)
    accounts: dict[CustomerId, tuple[AccountRow, ...]] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    told: list[ContactChange] = field(default_factory=list)

    def changes(self, rows: Sequence[tuple[Row, str]]) -> Changes:
        """Return what these rows, each with the keyed hash of its person id, change."""
        for row, person_hash in rows:
            standing = self.known.get(row.customer)
            self._customer(row, person_hash, standing)
            if row.accounts != (standing.accounts if standing else ()):
                self.accounts[row.customer] = row.accounts
            self._contacts(row, standing)
        return Changes(
            self.known,
            self.created,
            self.changed,
            self.contacts,
            self.confirmed,
            self.removed,
            self.accounts,
            self.works,
        )

    def _customer(self, row: Row, person_hash: str, standing: Standing | None) -> None:
        if standing is None:
            self.created.append(SealedCustomer(self._sealed(row, 1), person_hash))
        elif standing.person_id_hash != person_hash or not self._same(row, standing.row):
            self.changed.append(SealedCustomer(self._sealed(row, standing.row.version + 1), person_hash))

    def _same(self, row: Row, stored: CustomerRow) -> bool:
        def opened(column: str, sealed: bytes) -> str:
            return self.sealer.open(sealed, "customers", column, stored.id, stored.version).reveal()

        birth = None if stored.birth_date_sealed is None else opened("birth_date", stored.birth_date_sealed)
        wanted = None if row.birth_date is None else row.birth_date.isoformat()
        return birth == wanted and opened("name", stored.name_sealed) == row.name

    def _sealed(self, row: Row, version: int) -> CustomerRow:
        def sealed(column: str, value: str) -> bytes:
            nonce = self.entropy.token(NONCE_BYTES)
            return self.sealer.seal(value, "customers", column, row.customer, version, nonce)

        birth = None if row.birth_date is None else sealed("birth_date", row.birth_date.isoformat())
        return CustomerRow(
            id=row.customer,
            person_kind=row.person.kind.value,
            person_id_sealed=sealed("person_id", row.person.value),
            name_sealed=sealed("name", row.name),
            birth_date_sealed=birth,
            version=version,
        )

    def _contacts(self, row: Row, standing: Standing | None) -> None:
        stored = standing.contacts if standing else {}
        after = {channel: contact.version for channel, contact in stored.items()}
        told: list[ContactChange] = []
        for channel, value in ((Channel.MOBILE, row.mobile), (Channel.EMAIL, row.email)):
            change = self._contact(row, channel, value, stored.get(channel), known=standing is not None)
            if change is None:
                continue
            told.append(change)
            if change.state == "removed":
                del after[channel]
            else:
                after[channel] = change.version
        for change in told if standing else ():
            self.told.append(change)
            other = change.channel.other
            if other in after:
                self.works.append(self._notice(change, other, after[other]))

    def _contact(
        self, row: Row, channel: Channel, value: str | None, stored: ContactRow | None, *, known: bool
    ) -> ContactChange | None:
        if value is None or row.verified_on is None:
            if stored is None:
                return None
            self.removed.append((row.customer, channel))
            return ContactChange(row.customer, channel, stored.version, "removed")
        verified_at = local_midnight(row.verified_on)
        destination_hash = self.sealer.lookup_hash("destination", value)
        if stored is not None and stored.destination_hash == destination_hash:
            if verified_at > stored.verified_at:
                self.confirmed.append(Confirmed(row.customer, channel, verified_at))
            return None
        version = self._version(stored, known=known)
        nonce = self.entropy.token(NONCE_BYTES)
        self.contacts.append(
            ContactRow(
                customer=row.customer,
                channel=channel,
                version=version,
                value_sealed=self.sealer.seal(value, "contacts", channel.value, row.customer, version, nonce),
                destination_hash=destination_hash,
                verified_at=verified_at,
                cool_until=self.now + self.cooldown if known else verified_at,
                disputed_at=None,
            )
        )
        return ContactChange(row.customer, channel, version, "changed" if stored else "added")

    def _version(self, stored: ContactRow | None, *, known: bool) -> int:
        """Return a version that no contact of this customer and channel had: a code is bound to it (rule 6).

        One that is added to a known customer counts from the second's number, so that it does not begin again where
        a removed one began.
        """
        if stored is not None:
            return stored.version + 1
        return int(self.now.timestamp()) if known else 1

    def _notice(self, change: ContactChange, channel: Channel, version: int) -> Work:
        return Work(
            id=self.new_id(self.entropy),
            kind=WorkKind.NOTICE,
            customer=change.customer,
            order=None,
            challenge=None,
            channel=channel,
            contact_version=version,
            facts={"template": Purpose.CONTACT_CHANGED.value, "channel": change.channel.value},
            attempts=0,
            not_before=self.now,
            expires_at=None,
        )
