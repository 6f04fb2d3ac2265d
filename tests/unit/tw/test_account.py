"""Account numbers against the vectors."""

import json
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountKind, AccountNumber
from chopmark.tw.account import label, last3, parse_account

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tw/account.json").read_text("utf-8"))


@pytest.mark.parametrize(("typed", "kind", "number"), VECTORS["good"])
def test_every_way_of_writing_gives_one_number(typed: str, kind: str, number: str):
    assert parse_account(typed, AccountKind(kind)) == number


@pytest.mark.parametrize(("typed", "kind", "code"), VECTORS["bad"])
def test_each_kind_of_wrong_number_has_its_own_refusal(typed: str, kind: str, code: str):
    answer = parse_account(typed, AccountKind(kind))
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field, answer.code) == (Kind.MALFORMED, "account", code)


def test_every_market_has_the_tag_of_the_manual():
    assert [label(kind) for kind in AccountKind] == ["(期)", "(證)", "(複)"]


def test_an_account_is_named_by_its_last_three_digits():
    assert last3(AccountNumber("F014000-0000007")) == "007"
