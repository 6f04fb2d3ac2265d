"""How a row differs from what is on record, and which differences are faults unless the importer allows them: pure.

A sheet that was damaged (a shifted or emptied column, dates that a spreadsheet rewrote) looks like a sheet by which
somebody takes over other persons' records: in both, values change that normally stay the same.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from chopmark.core.types import AccountNumber, Channel, CustomerId, text
from chopmark.identity.ports import CustomerRow
from chopmark.identity.sealed import Sealer
from chopmark.ra.customer_import.ports import Allowed, Borne, DirectoryState, Rules, Trait
from chopmark.ra.customer_import.reading import Waiting
from chopmark.ra.customer_import.sheet import Column, Fault, Row

CONTACT_COLUMNS = {Channel.MOBILE: Column.MOBILE, Channel.EMAIL: Column.EMAIL}
CHANNELS = {column: channel for channel, column in CONTACT_COLUMNS.items()}
TRAITS = {Trait.PERSON: Column.PERSON_ID, Trait.ACCOUNT: Column.ACCOUNTS}


class Turn(StrEnum):
    """What happened to an attribute."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute of a known customer that the row changes; `account` says which one if it is an account."""

    column: Column
    turn: Turn
    account: AccountNumber | None = None


Turned = Mapping[CustomerId, tuple[Difference, ...]]
"""For each customer on record, the differences that the rows of a batch make."""


def differences(waiting: Waiting, standing: DirectoryState, sealer: Sealer) -> tuple[Difference, ...]:
    """Return how the row differs from the customer on record, in the order of the columns."""
    row, stored = waiting.row, standing.row
    found: list[Difference] = []
    if standing.person_id_hash != waiting.person_hash:
        found.append(Difference(Column.PERSON_ID, Turn.CHANGED))
    if _opened(sealer, stored, "name", stored.name_sealed) != row.name:
        found.append(Difference(Column.NAME, Turn.CHANGED))
    birth = (
        None if stored.birth_date_sealed is None else _opened(sealer, stored, "birth_date", stored.birth_date_sealed)
    )
    found += _turned(Column.BIRTH_DATE, birth, None if row.birth_date is None else row.birth_date.isoformat())
    for channel, column in CONTACT_COLUMNS.items():
        contact = standing.contacts.get(channel)
        hashed = None if contact is None else contact.destination_hash
        found += _turned(column, hashed, waiting.contact_hash(channel))
    before = {account.number: account.kind for account in standing.accounts}
    after = {account.number: account.kind for account in row.accounts}
    for number in (*before, *(number for number in after if number not in before)):
        turned = _turned(Column.ACCOUNTS, before.get(number), after.get(number))
        found += [Difference(one.column, one.turn, number) for one in turned]
    return tuple(found)


def _opened(sealer: Sealer, stored: CustomerRow, column: str, sealed: bytes) -> str:
    return sealer.open(sealed, "customers", column, stored.id, stored.version).reveal()


def _turned(column: Column, before: str | None, after: str | None) -> list[Difference]:
    if before == after:
        return []
    return [Difference(column, Turn.ADDED if before is None else Turn.REMOVED if after is None else Turn.CHANGED)]


def traits(waiting: Waiting) -> list[Borne]:
    """Return the id, contacts and accounts that the row gives its customer number."""
    return _traits(waiting.person_hash, (waiting.mobile_hash, waiting.email_hash), waiting.row)


def traits_before(standing: DirectoryState) -> list[Borne]:
    """Return the id, contacts and accounts that a customer number has on record."""
    return _traits(standing.person_id_hash, [one.destination_hash for one in standing.contacts.values()], standing)


def _traits(person_hash: str, contacts: Collection[str | None], holder: Row | DirectoryState) -> list[Borne]:
    return [
        Borne(Trait.PERSON, person_hash),
        *[Borne(Trait.CONTACT, one) for one in contacts if one is not None],
        *[Borne(Trait.ACCOUNT, account.number) for account in holder.accounts],
    ]


def gained(waiting: Waiting, standing: DirectoryState | None, found: Collection[Difference]) -> list[Borne]:
    """Return what the row gives a customer number that it does not have yet; `found` are the row's differences."""
    if standing is None:
        return traits(waiting)
    if not found:
        return []
    before = set(traits_before(standing))
    return [one for one in traits(waiting) if one not in before]


def column_of(borne: Borne, waiting: Waiting) -> Column:
    """Return the column of the row that holds this id, contact or account."""
    if borne.kind is Trait.CONTACT:
        return Column.MOBILE if borne.value == waiting.mobile_hash else Column.EMAIL
    return TRAITS[borne.kind]


def faults_of(waiting: Waiting, found: Collection[Difference], allowed: Collection[Allowed]) -> Iterator[Fault]:
    """Yield a fault for each difference that the importer has not allowed.

    These are a changed id, a changed date of birth, and a cell that is empty now although something is on record.
    """
    for one in found:
        if one.column is Column.PERSON_ID and Allowed.ID not in allowed:
            said = text(
                "This customer number has another ID on record; if the firm has verified the new one, "
                "import with --allow id."
            )
            yield Fault(waiting.line, one.column, "person_id.changed", said)
        if one.column is Column.BIRTH_DATE and Allowed.BIRTH_DATE not in allowed:
            said = text(
                "Another date of birth is on record; if the firm has verified this one, import with --allow birth-date."
            )
            yield Fault(waiting.line, one.column, "birth_date.changed", said)
    if Allowed.BLANKED in allowed:
        return
    blank = {one.column for one in found if one.turn is Turn.REMOVED and one.column in CHANNELS}
    if not waiting.row.accounts and any(one.column is Column.ACCOUNTS for one in found):
        blank.add(Column.ACCOUNTS)
    for column in sorted(blank):
        said = text(
            "This cell is empty and something is on record; fill it in, or import with --allow blanked to remove it."
        )
        yield Fault(waiting.line, column, f"{column}.blanked", said)


@dataclass(slots=True)
class Share:
    """Counts the known customers of a sheet and those whose contacts it changes."""

    known: int = 0
    changed: int = 0
    first: tuple[int, Column] | None = None

    def note(self, waiting: Waiting, found: Collection[Difference]) -> None:
        """Count a known customer."""
        self.known += 1
        columns = [one.column for one in found if one.column in CHANNELS]
        if columns:
            self.changed += 1
            self.first = self.first or (waiting.line, columns[0])

    def fault(self, rules: Rules, allowed: Collection[Allowed]) -> Fault | None:
        """Return a fault if the contacts of too many customers change, at the first of them; otherwise None."""
        most = max(rules.floor, self.known * rules.percent // 100)
        if self.first is None or self.changed <= most or Allowed.MANY in allowed:
            return None
        said = text(
            "Of %(known)s customers on record %(changed)s get another mobile number or e-mail address, more than "
            "%(most)s; if that is right, import with --allow many.",
            known=self.known,
            changed=self.changed,
            most=most,
        )
        return Fault(*self.first, "contacts.many", said)


def difference_note(waiting: Waiting, one: Difference) -> Fault:
    """Return a line of the dry run: which attribute of which customer changes, without the values."""
    said = text(
        "Customer %(customer)s: %(field)s %(turn)s.", customer=waiting.row.customer, field=one.column, turn=one.turn
    )
    return Fault(waiting.line, one.column, f"{one.column}.{one.turn}", said)


def moved_note(waiting: Waiting, column: Column, others: Collection[CustomerId], rules: Rules) -> Fault:
    """Return a line of the dry run: this value is or was under another customer number, and a cool-down begins."""
    said = text(
        "Customer %(customer)s: this is or was under %(others)s; no code can be sent for %(days)s days.",
        customer=waiting.row.customer,
        others=", ".join(list(others)[:3]),
        days=rules.cooldown.days,
    )
    return Fault(waiting.line, column, f"{column}.moved", said)


def shared_note(waiting: Waiting, column: Column, others: Collection[CustomerId]) -> Fault:
    """Return a line of the report: other customers have this contact too."""
    said = text("This contact is also that of %(others)s.", others=", ".join(list(others)[:3]))
    return Fault(waiting.line, column, f"{column}.shared", said)
