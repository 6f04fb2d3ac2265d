"""What is shown of a customer, what goes into a certificate, and nothing of what was not asked for."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import cast

import pytest

from chopmark.core.types import Channel, CustomerId
from chopmark.identity.people import People
from chopmark.identity.ports import ContactRow, CustomerRow, Records
from chopmark.identity.sealed import Sealer, SealKey

SEALER = Sealer(SealKey("s1", bytes(range(32))), bytes(32))
ANN = CustomerId("C0001234")
NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)


def sealed(table: str, column: str, value: str) -> bytes:
    return SEALER.seal(value, table, column, ANN, 1, bytes(12))


PERSON = CustomerRow(
    ANN,
    "person",
    sealed("customers", "person_id", "A123456789"),
    sealed("customers", "name", "王小明"),
    sealed("customers", "birth_date", "1960-07-15"),
    1,
)
COMPANY = replace(PERSON, person_kind="company", name_sealed=sealed("customers", "name", "範例股份有限公司"))
CONTACTS = {
    Channel.MOBILE: "+886912345678",
    Channel.EMAIL: "somebody@example.com",
}


PEOPLE = People(cast("Records", None), SEALER)
"""Rows are handed in: no record is read here."""


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ((), {}),
        (("customer",), {"customer": ANN}),
        (("holder",), {"holder": "王小明"}),
        (("national_id",), {"national_id": "A123456789"}),
        (("customer", "holder"), {"customer": ANN, "holder": "王小明"}),
        (("account",), {}),
    ],
)
def test_a_subject_gets_the_values_that_its_template_names_and_no_other(
    names: tuple[str, ...], values: dict[str, str]
) -> None:
    assert PEOPLE.subject_values(PERSON, frozenset(names)) == values
    assert PEOPLE.subject_values(None, frozenset(names)) == {}


def test_pages_show_the_beginning_of_a_person_s_name_and_the_whole_name_of_a_company() -> None:
    assert PEOPLE.shown(PERSON).masked_name == "王••"
    assert PEOPLE.shown(COMPANY).masked_name == "範例股份有限公司"
    assert "123456" not in PEOPLE.shown(PERSON).masked_person_id


@pytest.mark.parametrize(("channel", "masked"), [(Channel.MOBILE, "09•• ••• 678"), (Channel.EMAIL, "s•••@e•••.com")])
def test_each_contact_is_masked_in_its_own_way(channel: Channel, masked: str) -> None:
    value = SEALER.seal(CONTACTS[channel], "contacts", channel.value, ANN, 1, bytes(12))
    row = ContactRow(ANN, channel, 1, value, "hash", NOW, NOW, None)
    (contact,) = PEOPLE.masked([row]).values()
    assert contact.masked == masked
    assert PEOPLE.opened(row).reveal() == CONTACTS[channel]


def test_a_birth_date_matches_itself_alone() -> None:
    assert PEOPLE.birth_date_matches(PERSON, date(1960, 7, 15))
    assert not PEOPLE.birth_date_matches(PERSON, date(1960, 7, 16))
    assert not PEOPLE.birth_date_matches(replace(PERSON, birth_date_sealed=None), date(1960, 7, 15))
    assert not PEOPLE.birth_date_matches(None, date(1960, 7, 15))


COMPANY_ID = "24680132"


class Directory:
    """Two customers: a person, and somebody whose number looks like the id of a company."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = {number: replace(PERSON, id=CustomerId(number)) for number in numbers}
        self.persons = {
            SEALER.lookup_hash("person_id", "A123456789"): PERSON,
            SEALER.lookup_hash("person_id", COMPANY_ID): COMPANY,
        }

    async def customer(self, customer: CustomerId) -> CustomerRow | None:
        return self.numbers.get(customer)

    async def customer_by_person(self, person_hash: str) -> CustomerRow | None:
        return self.persons.get(person_hash)


async def found(claimed: str, *numbers: str) -> CustomerRow | None:
    return await People(cast("Records", Directory(*numbers)), SEALER).find(claimed)


async def test_a_customer_is_found_by_number_or_person_id_and_the_number_comes_first() -> None:
    assert await found("a123456789") is PERSON
    assert await found(COMPANY_ID) is COMPANY
    by_number = await found(COMPANY_ID, COMPANY_ID)
    assert by_number is not None
    assert by_number.id == COMPANY_ID
    assert await found("C0001234") is None
    assert await found("A123456788") is None, "a wrong check digit"
    assert await found("") is None


async def test_of_a_customer_that_is_not_there_nothing_is_shown() -> None:
    people = People(cast("Records", Directory(ANN)), SEALER)
    shown = await people.person(ANN)
    assert shown is not None
    assert shown == people.shown(replace(PERSON, id=ANN))
    assert await people.person(CustomerId("C9")) is None
