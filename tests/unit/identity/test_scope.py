"""What a client may ask for: each word of it, and the rate at its edges."""

import pytest

from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, FactorClass
from chopmark.identity.scope import EVERYTHING, Scope, scope_of

ACCOUNT = AccountNumber("9999-0001234-5")


@pytest.mark.parametrize("rate", [1, 1200, 1_000_000])
def test_a_rate_of_one_to_a_million_is_taken(rate: int) -> None:
    made = scope_of((), (), (), rate)
    assert isinstance(made, Scope)
    assert made.per_minute == rate


@pytest.mark.parametrize("rate", [0, -1, 1_000_001])
def test_another_rate_is_refused(rate: int) -> None:
    refused = scope_of((), (), (), rate)
    assert isinstance(refused, Refusal)
    assert (refused.field, refused.code) == ("per_minute", "scope")


@pytest.mark.parametrize("page", ["home", "certificates", "apply", "renew", "inquiry", "revoke"])
def test_each_page_of_the_portal_can_be_a_purpose_and_shuts_the_others_out(page: str) -> None:
    made = scope_of((), (page,), (), 1)
    assert isinstance(made, Scope)
    assert made.refusal(ACCOUNT, frozenset(), page) is None
    other = "home" if page != "home" else "renew"
    refused = made.refusal(ACCOUNT, frozenset(), other)
    assert refused is not None
    assert refused.field == "wanted"


def test_an_unknown_page_counts_as_the_one_that_is_shown_for_it() -> None:
    assert Scope(purposes=frozenset({"certificates"})).refusal(ACCOUNT, frozenset(), "elsewhere") is None
    assert Scope(purposes=frozenset({"home"})).refusal(ACCOUNT, frozenset(), None) is not None


@pytest.mark.parametrize(
    ("accounts", "purposes", "factors", "field"),
    [
        (("9999-*", "a"), (), (), "account"),
        (("X" * 41,), (), (), "account"),
        (("",), (), (), "account"),
        ((), ("elsewhere",), (), "purpose"),
        ((), (), ("face",), "factor"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_by_its_field(
    accounts: tuple[str, ...], purposes: tuple[str, ...], factors: tuple[str, ...], field: str
) -> None:
    refused = scope_of(accounts, purposes, factors, 1)
    assert isinstance(refused, Refusal)
    assert refused.field == field


@pytest.mark.parametrize(
    ("used", "field"),
    [
        ({FactorClass.PASSWORD}, None),
        ({FactorClass.PASSWORD, FactorClass.SMS}, None),
        ({FactorClass.TOTP}, "factors"),
        ({FactorClass.PASSWORD, FactorClass.TOTP}, "factors"),
        ({FactorClass.PASSWORD, FactorClass.SMS, FactorClass.TOTP}, "factors"),
    ],
)
def test_a_login_by_a_factor_that_the_scope_does_not_name_is_outside(used: set[FactorClass], field: str | None) -> None:
    refused = Scope(factors=frozenset({FactorClass.PASSWORD, FactorClass.SMS})).refusal(ACCOUNT, frozenset(used), None)
    assert (None if refused is None else refused.field) == field


def test_a_scope_that_was_not_set_restricts_nothing_but_the_rate_of_the_manual() -> None:
    assert EVERYTHING.refusal(ACCOUNT, frozenset(FactorClass), "revoke") is None
    assert EVERYTHING.covers(ACCOUNT)
    assert EVERYTHING.per_minute == 1200
    assert not Scope(accounts=("8888-*",)).covers(ACCOUNT)
