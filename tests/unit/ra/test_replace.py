"""What approves a replacement: every policy, every set of contacts, every login."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from inspect import signature
from itertools import product

import pytest

from chopmark.core.types import Channel, FactorClass, OrderState
from chopmark.ra.policy import STRICT, TW_BROKER, ContactFacts
from chopmark.ra.replace import Cancelling, Demand, Way, cancelling, demand, why_none_carries

NOW = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=700)
MOBILE, EMAIL = Channel.MOBILE, Channel.EMAIL
PASSWORD = frozenset({FactorClass.PASSWORD})
BOTH = frozenset(Channel)
A_MS = timedelta(milliseconds=1)


def contact(channel: Channel, state: str) -> ContactFacts:
    cool = NOW + A_MS if state == "cooling" else LONG_AGO
    return ContactFacts(channel, 1, LONG_AGO, cool, state == "stopped")


def contacts(mobile: str, email: str) -> dict[Channel, ContactFacts]:
    found = ((MOBILE, mobile), (EMAIL, email))
    return {channel: contact(channel, state) for channel, state in found if state != "none"}


def asked(policy=TW_BROKER, mobile="good", email="good", login=PASSWORD, coded_by=None) -> Demand:
    return demand(policy, contacts(mobile, email), login, coded_by, NOW)


# who has to give what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "mobile", "email", "way"),
    [
        (TW_BROKER, "good", "good", Way.ONE_CODE),
        (TW_BROKER, "good", "none", Way.ONE_CODE),
        (TW_BROKER, "none", "good", Way.ONE_CODE),
        (TW_BROKER, "stopped", "good", Way.ONE_CODE),
        (TW_BROKER, "cooling", "stopped", Way.CALL_US),
        (TW_BROKER, "none", "none", Way.SLIP),
        (STRICT, "good", "good", Way.BOTH_CODES),
        (STRICT, "good", "none", Way.DELAY),
        (STRICT, "good", "stopped", Way.DELAY),
        (STRICT, "good", "cooling", Way.DELAY),
        (STRICT, "none", "good", Way.SLIP),
        (STRICT, "cooling", "good", Way.CALL_US),
        (STRICT, "stopped", "cooling", Way.SLIP),
        (STRICT, "none", "none", Way.SLIP),
    ],
)
def test_the_way_depends_on_the_policy_and_on_the_contacts_that_can_carry_a_code(policy, mobile, email, way) -> None:
    assert asked(policy, mobile, email).way is way


def test_strict_lets_an_email_alone_begin_the_delay_only_where_the_firm_allows_email_alone() -> None:
    assert asked(replace(STRICT, email_alone=True), "none", "good").way is Way.DELAY


def test_one_code_comes_by_email_only_where_the_firm_allows_email_alone() -> None:
    firm = replace(TW_BROKER, email_alone=False)
    assert asked(firm).way is Way.ONE_CODE
    assert asked(firm, "none", "good").way is Way.SLIP


def test_a_factor_of_the_login_carries_no_code_so_that_both_contacts_become_one() -> None:
    by_sms, by_email = PASSWORD | {FactorClass.SMS}, PASSWORD | {FactorClass.EMAIL}
    assert asked(STRICT, login=by_email).way is Way.DELAY
    assert asked(STRICT, login=by_sms).way is Way.CALL_US
    assert asked(TW_BROKER, login=by_sms).way is Way.ONE_CODE
    assert asked(TW_BROKER, login=by_sms | by_email).way is Way.CALL_US


@pytest.mark.parametrize("policy", [TW_BROKER, STRICT])
def test_unknown_login_factors_fail_closed(policy) -> None:
    assert asked(policy, login=frozenset()).way is Way.CALL_US


def test_lost_is_no_exception_because_no_reason_is_asked() -> None:
    assert "reason" not in signature(demand).parameters


# who is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["good", "stopped", "cooling"])
def test_the_other_contact_is_told_even_when_it_is_stopped_or_new(state: str) -> None:
    assert asked(TW_BROKER, "good", state, coded_by=MOBILE).told == {EMAIL}
    assert asked(STRICT, "good", state, coded_by=MOBILE).told == BOTH


def test_the_only_contact_is_told_and_before_a_code_all_are() -> None:
    assert asked(TW_BROKER, "good", "none", coded_by=MOBILE).told == {MOBILE}
    assert asked(TW_BROKER).told == BOTH
    assert asked(TW_BROKER, "none", "none").told == frozenset()


def everything() -> Iterator[tuple[Demand, dict[Channel, ContactFacts]]]:
    states = ("good", "stopped", "cooling", "none")
    logins: tuple[frozenset[FactorClass], ...] = (
        frozenset(),
        PASSWORD,
        PASSWORD | {FactorClass.SMS},
        PASSWORD | {FactorClass.EMAIL},
    )
    for policy, mobile, email, login in product((TW_BROKER, STRICT), states, states, logins):
        for coded_by in (None, *contacts(mobile, email)):
            found = contacts(mobile, email)
            yield demand(policy, found, login, coded_by, NOW), found


def test_whoever_has_a_contact_somebody_is_told() -> None:
    seen = 0
    for made, found in everything():
        seen += 1
        assert bool(made.told) is bool(found)
        assert made.told <= frozenset(found)
    assert seen > 200


@pytest.mark.parametrize("policy", [TW_BROKER, STRICT])
def test_what_a_login_has_used_makes_no_slip(policy) -> None:
    """Whoever could get a code with the password alone, now or after a cool-down, is never asked for a slip."""
    states = ("good", "stopped", "cooling", "none")
    for mobile, email in product(states, states):
        ways = {
            login: asked(policy, mobile, email, login=login).way
            for login in (PASSWORD, PASSWORD | {FactorClass.SMS}, PASSWORD | {FactorClass.SMS, FactorClass.EMAIL})
        }
        slips = {way is Way.SLIP for way in ways.values()}
        assert slips == {{"good", "cooling"}.isdisjoint({mobile, email} if policy.email_alone else {mobile})}


def test_the_records_say_for_each_channel_why_it_carries_no_code() -> None:
    assert why_none_carries(STRICT, contacts("stopped", "good"), NOW) == "email:not_alone+mobile:stopped"
    assert why_none_carries(STRICT, contacts("cooling", "none"), NOW) == "email:none+mobile:changed"
    assert why_none_carries(TW_BROKER, contacts("none", "good"), NOW) == "email:usable+mobile:none"
    by_mail = replace(TW_BROKER, channels=(EMAIL,))
    assert why_none_carries(by_mail, contacts("good", "stopped"), NOW) == "email:stopped+mobile:not_sent"


# the reference in the notice ------------------------------------------------------------------------------------


def test_the_reference_ends_what_is_not_submitted_holds_what_may_be_issued_and_destroys_nothing() -> None:
    ends = {OrderState.OPEN, OrderState.BOUND, OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED}
    holds = {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED, OrderState.ACTIVE}
    for state in OrderState:
        wanted = Cancelling.ENDS_ORDER if state in ends else Cancelling.NOTHING
        assert cancelling(state) is (Cancelling.HOLDS_CERTIFICATE if state in holds else wanted)
