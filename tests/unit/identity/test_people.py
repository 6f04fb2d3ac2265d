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
