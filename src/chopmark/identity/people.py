"""What other packages may learn about a person: answers and masked values.

Only this module and `sealed` read personal data.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from chopmark.core.refusal import Refusal
from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.identity.ports import AccountRow, Claim, ContactRow, CustomerRow, Records
from chopmark.identity.sealed import Sealer
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.email import EmailAddress, mask_email
from chopmark.tw.mobile import E164, calling_code, mask_mobile
from chopmark.tw.person_id import mask_person_id, parse_person_id
from chopmark.tw.text import capitals


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as a page may show it: masked on the server, with the time at which it was verified."""

    channel: Channel
    version: int
    masked: str
    destination_hash: str
    verified_at: datetime
    cool_until: datetime
    disputed: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A customer as a page may show them."""

    customer: CustomerId
    masked_name: str
    masked_person_id: str
    company: bool
    has_birth_date: bool


def mask_name(name: str) -> str:
    """Return the first character of a name and two dots, whatever its length."""
    return f"{name[:1]}••"


class People:
    """Answers questions about customers; opens sealed columns for that.

    Pages get masked values only. `opened` returns the full value for sending messages, and `subject_values` for
    certificates.
    """

    def __init__(self, records: Records, sealer: Sealer) -> None:
        self._records = records
        self._sealer = sealer

    async def person(self, customer: CustomerId) -> Person | None:
        """Return the masked view of a customer, or None."""
        row = await self._records.customer(customer)
        return None if row is None else self.shown(row)

    def shown(self, row: CustomerRow) -> Person:
        """Return the masked view of a customer whose row was read already."""
        name = self._open(row, "name", row.name_sealed).reveal()
        person_id = self._open(row, "person_id", row.person_id_sealed).reveal()
        company = row.person_kind == "company"
        shown = name if company else mask_name(name)
        return Person(row.id, shown, mask_person_id(person_id), company, row.birth_date_sealed is not None)

    def _open(self, row: CustomerRow, column: str, sealed: bytes) -> Secret:
        return self._sealer.open(sealed, "customers", column, row.id, row.version)

    async def accounts(self, customer: CustomerId) -> list[AccountRow]:
        """Return the customer's accounts in the firm's order."""
        return await self._records.accounts(customer)

    async def contacts(self, customer: CustomerId) -> dict[Channel, Contact]:
        """Return the customer's contacts, masked (domain 3.4: the beginning is hidden, the end is shown)."""
        return self.masked(await self.contact_rows(customer))

    async def contact_rows(self, customer: CustomerId) -> list[ContactRow]:
        """Return the customer's contacts as stored, for whoever asks only which there are and how old they are."""
        return await self._records.contacts(customer)

    def masked(self, rows: Iterable[ContactRow]) -> dict[Channel, Contact]:
        """Return contacts whose rows were read already, masked."""
        return {row.channel: self._contact(row) for row in rows}

    def _contact(self, row: ContactRow) -> Contact:
        value = self.opened(row).reveal()
        masked = mask_mobile(E164(value)) if row.channel is Channel.MOBILE else mask_email(EmailAddress(value))
        return Contact(
            row.channel,
            row.version,
            masked,
            row.destination_hash,
            row.verified_at,
            row.cool_until,
            row.disputed_at is not None,
        )

    def country(self, row: ContactRow) -> str:
        """Return the calling code of a mobile number; empty for e-mail."""
        return calling_code(self.opened(row).reveal()) if row.channel is Channel.MOBILE else ""

    def opened(self, row: ContactRow) -> Secret:
        """Return the address or number that messages are sent to; for `jobs.deliver` only."""
        return self._sealer.open(row.value_sealed, "contacts", row.channel.value, row.customer, row.version)

    def birth_date_matches(self, row: CustomerRow | None, claimed: date) -> bool:
        """Tell whether the date is the customer's birth date; False also when none is stored."""
        if row is None or row.birth_date_sealed is None:
            return False
        stored = self._open(row, "birth_date", row.birth_date_sealed).reveal()
        return hmac.compare_digest(stored.encode(), claimed.isoformat().encode())

    async def record(self, customer: CustomerId) -> CustomerRow | None:
        """Return a customer's row, sealed as it is stored."""
        return await self._records.customer(customer)

    def subject_values(self, row: CustomerRow | None, names: frozenset[str]) -> Mapping[str, str]:
        """Return a person's values for a profile's subject template: customer, holder (the name), national_id."""
        if row is None:
            return {}
        values: dict[str, str] = {"customer": row.id} if "customer" in names else {}
        if "holder" in names:
            values["holder"] = self._open(row, "name", row.name_sealed).reveal()
        if "national_id" in names:
            values["national_id"] = self._open(row, "person_id", row.person_id_sealed).reveal()
        return values

    async def find(self, claimed: str) -> CustomerRow | None:
        """Return the customer with the typed customer number or person id; None when there is none.

        A customer number can look like the person id of a company. Then the customer with that number is returned.
        """
        number, person = parse_customer_number(claimed), parse_person_id(claimed)
        row = None if isinstance(number, Refusal) else await self._records.customer(number)
        if row is None and not isinstance(person, Refusal):
            row = await self._records.customer_by_person(self.person_hash(person.value))
        return row

    def person_hash(self, person_id: str) -> str:
        """Return the keyed hash by which a person id is looked up."""
        return self._sealer.lookup_hash("person_id", person_id)

    def keyed(self, kind: str, value: str) -> str:
        """Return the keyed hash of a value of that kind, 64 hexadecimal digits; its key is not in the database."""
        return self._sealer.lookup_hash(kind, value)

    def claim(self, claimed: str) -> Claim:
        """Return the forms of a typed name by which a customer is looked up, and by which unknown names are counted.

        Spellings that differ only in width, case, spaces or the hyphens of a person id have the same hash.
        """
        person, number = parse_person_id(claimed), parse_customer_number(claimed)
        bare = "" if isinstance(person, Refusal) else person.value
        typed = "" if isinstance(number, Refusal) else str(number)
        hashed = self._sealer.lookup_hash("claim", bare or typed or capitals(claimed))[:32]
        return Claim(self.person_hash(bare), typed, bare, hashed)
