"""What a CA reads in an order's records: each step that is missing, out of place or too late is named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.record import AuditKey, AuditKeys, StoredRecord, make_record, new_stream, next_tip, order_stream
from chopmark.ca.approval import MARGIN, Approval, ApprovalTerms, Distrust, differs, judge
from chopmark.ca.ports import IssuanceRequest
from chopmark.client.signing import ClientKey
from chopmark.core.types import OrderId
from chopmark.pki import csr
from tests.approved import LOGIN, Step, changed, records, steps, stored

KEY = AuditKey("audit-1", bytes(range(32)))
LIFE = timedelta(minutes=10)
TERMS = ApprovalTerms(AuditKeys([KEY]), LIFE, timedelta(hours=24))
ORDER = OrderId("A" * 26)
NOW = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
CUSTOMER = ClientKey.generate()
REQUEST = CUSTOMER.request()
SPKI = CUSTOMER.spki_sha256.hex()
STEPS = steps(SPKI, "C1")
RENEWAL = steps(SPKI, "C1", old_serial="0A")
OPENED, BOUND, SENT, CHARGED, CODE, BIRTH, SUBMITTED = STEPS
PROVED: Step = (Event.RA_KEY_PROVED, {"spki_sha256": SPKI, "login": LOGIN, "evidence": "signature"})
PROVED_ELSEWHERE: Step = (Event.RA_KEY_PROVED, {"spki_sha256": SPKI, "login": "L", "evidence": "signature"})


def sealed(told: list[Step], key: AuditKey = KEY) -> tuple[StoredRecord, ...]:
    return stored(records(ORDER, told, NOW, key))


def judged(told: list[Step], *, past: bool = False) -> Approval | Distrust:
    return judge(ORDER, sealed(told), TERMS, past=past)


def timed(minutes: list[float]) -> tuple[StoredRecord, ...]:
    """The steps, each so many minutes after the first."""
    tip, made = new_stream(order_stream(ORDER)), []
    for (event, facts), late in zip(STEPS, minutes, strict=True):
        made.append(make_record(tip, event, facts, NOW + timedelta(minutes=late), KEY))
        tip = next_tip(made[-1])
    return stored(made)


def test_an_approved_order_says_who_for_which_account_and_which_key() -> None:
    assert judged(STEPS) == Approval(ORDER, "enrol", "C1", "F014000-0000001", "investor", SPKI, None)
    assert judged(RENEWAL) == Approval(ORDER, "rekey", "C1", "F014000-0000001", "investor", SPKI, "0A")


MISSING: dict[str, tuple[list[Step], Distrust]] = {
    "no submission": (STEPS[:-1], Distrust.NOT_SUBMITTED),
    "two submissions": ([*STEPS, SUBMITTED], Distrust.SUBMITTED_TWICE),
    "no opening": (STEPS[1:], Distrust.OPENED_OTHERWISE),
    "opened for another": (changed(STEPS, Event.RA_ORDER_OPENED, customer="C2"), Distrust.OPENED_OTHERWISE),
    "submitted for another account": (changed(STEPS, Event.RA_ORDER_SUBMITTED, account="X"), Distrust.OPENED_OTHERWISE),
    "another operation": (changed(STEPS, Event.RA_ORDER_SUBMITTED, operation="rekey"), Distrust.OPENED_OTHERWISE),
    "a revocation": (
        changed(changed(STEPS, Event.RA_ORDER_SUBMITTED, operation="revoke"), OPENED[0], operation="revoke"),
        Distrust.OPENED_OTHERWISE,
    ),
    "no key": ([OPENED, *STEPS[2:]], Distrust.KEY_NOT_BOUND),
    "another key": (changed(STEPS, Event.RA_KEY_BOUND, spki_sha256="00" * 32), Distrust.KEY_NOT_BOUND),
    "no old key": (changed(RENEWAL, Event.RA_KEY_BOUND, old_serial=None), Distrust.OLD_KEY_UNNAMED),
    "another old key": (changed(RENEWAL, Event.RA_KEY_BOUND, old_serial="0B"), Distrust.OLD_KEY_UNNAMED),
    "no code": ([OPENED, BOUND, SENT, CHARGED, BIRTH, SUBMITTED], Distrust.NO_CODE),
    "another code": (changed(STEPS, Event.RA_CODE_RIGHT, challenge="OTHER"), Distrust.NO_CODE),
    "a code before the key": ([OPENED, CODE, BOUND, BIRTH, SUBMITTED], Distrust.NO_CODE),
    "a later key": ([OPENED, BOUND, SENT, CHARGED, CODE, BIRTH, BOUND, SUBMITTED], Distrust.NO_CODE),
    "no birth date": ([OPENED, BOUND, SENT, CHARGED, CODE, SUBMITTED], Distrust.NO_BIRTH_DATE),
    "a birth date before the code": ([OPENED, BOUND, BIRTH, SENT, CODE, SUBMITTED], Distrust.NO_BIRTH_DATE),
    "a key of another login": (changed(STEPS, Event.RA_KEY_BOUND, login="L"), Distrust.OTHER_LOGIN),
    "a program's key that nobody named": (
        changed(STEPS, Event.RA_KEY_BOUND, evidence="credential"),
        Distrust.OTHER_LOGIN,
    ),
    "a key that an earlier release bound": (changed(STEPS, Event.RA_KEY_BOUND, evidence=None), Distrust.OTHER_LOGIN),
    "a key that another login has proved since": ([*STEPS[:-1], PROVED_ELSEWHERE, SUBMITTED], Distrust.OTHER_LOGIN),
    "a stranger's key proved by the stranger": (
        changed([OPENED, BOUND, PROVED_ELSEWHERE, *STEPS[2:]], Event.RA_KEY_BOUND, login="L"),
        Distrust.OTHER_LOGIN,
    ),
    "another login": (changed(STEPS, Event.RA_ORDER_SUBMITTED, login="L"), Distrust.OTHER_LOGIN),
    "another login's code": (
        changed(changed(STEPS, Event.RA_ORDER_SUBMITTED, login="L"), Event.RA_BIRTH_DATE_RIGHT, login="L"),
        Distrust.OTHER_LOGIN,
    ),
    "cancelled before": ([*STEPS[:-1], (Event.RA_ORDER_CANCELLED, {}), SUBMITTED], Distrust.WENT_ON),
    "stopped before": ([*STEPS[:-1], (Event.RA_ORDER_STOPPED, {}), SUBMITTED], Distrust.WENT_ON),
    "disputed before": ([*STEPS[:-1], (Event.RA_CONTACT_DISPUTED, {}), SUBMITTED], Distrust.WENT_ON),
    "issued after": ([*STEPS, (Event.RA_ORDER_ISSUED, {"serial": "01"})], Distrust.WENT_ON),
    "another key after": ([*STEPS, BOUND], Distrust.WENT_ON),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_named(what: str) -> None:
    told, why = MISSING[what]
    assert judged(told) is why


@pytest.mark.parametrize(
    "event",
    [
        Event.CA_CERTIFICATE_RESERVED,
        Event.CA_CERTIFICATE_ORPHANED,
        Event.RA_ORDER_PENDING,
        Event.RA_ORDER_STOPPED,
        Event.POST_MESSAGE_SENT,
    ],
)
def test_what_the_ca_does_and_what_changes_nothing_may_follow(event: Event) -> None:
    assert isinstance(judged([*STEPS, (event, {})]), Approval)


@pytest.mark.parametrize("evidence", ["login", "credential", None])
def test_a_key_that_another_login_has_bound_counts_once_this_one_has_proved_possession_of_it(
    evidence: str | None,
) -> None:
    proved = [OPENED, BOUND, PROVED, *STEPS[2:]]
    assert isinstance(judged(changed(proved, Event.RA_KEY_BOUND, login="L", evidence=evidence)), Approval)
    another = [
        (event, {**facts, "spki_sha256": "00" * 32}) if event is PROVED[0] else (event, facts)
        for event, facts in proved
    ]
    assert judged(changed(another, Event.RA_KEY_BOUND, login="L", evidence=evidence)) is Distrust.OTHER_LOGIN


def test_a_renewal_whose_key_the_old_key_has_bound_is_approved_in_any_one_login() -> None:
    assert isinstance(judged(changed(RENEWAL, Event.RA_KEY_BOUND, login="L")), Approval)


def test_a_company_is_not_asked_for_a_birth_date_and_an_opening_that_does_not_say_counts_as_asking() -> None:
    without = [step for step in STEPS if step is not BIRTH]
    assert isinstance(judged(changed(without, Event.RA_ORDER_OPENED, checks=None)), Approval)
    silent = [(event, {k: v for k, v in facts.items() if k != "checks"}) for event, facts in without]
    assert judged(silent) is Distrust.NO_BIRTH_DATE


def both(*between: Step, **other: str) -> list[Step]:
    """The steps of an order that asks for codes on both contacts; `other` says what is different about the first."""
    first: Step = (CODE[0], {**CODE[1], "challenge": "OTHER", "channel": "email", **other})
    asked: Step = (OPENED[0], {**OPENED[1], "checks": "birth_date+both_codes"})
    return [asked, BOUND, SENT, first, *between, CHARGED, CODE, BIRTH, SUBMITTED]


def test_where_codes_on_both_contacts_are_asked_both_are_demanded_of_one_login() -> None:
    assert judged(changed(STEPS, Event.RA_ORDER_OPENED, checks="birth_date+both_codes")) is Distrust.NO_CODE
    assert isinstance(judged(both()), Approval)
    assert judged(both(channel="mobile")) is Distrust.NO_CODE
    assert judged(both(login="ANOTHER")) is Distrust.OTHER_LOGIN
    assert judged(both(PROVED)) is Distrust.OTHER_LOGIN, "a proof voids the code before it"
    assert judged([step for step in both() if step is not BIRTH]) is Distrust.NO_BIRTH_DATE


def waited(minutes: float, *between: Step, announced: Step = CODE) -> Approval | Distrust:
    """What comes of an order that waits, whose code was right so many minutes after the one that announced it."""
    told: list[Step] = [(OPENED[0], {**OPENED[1], "checks": "delay"}), BOUND, announced, *between, CODE, SUBMITTED]
    tip, made = new_stream(order_stream(ORDER)), []
    for place, (event, facts) in enumerate(told):
        at = NOW + timedelta(minutes=minutes if place >= len(told) - 2 else 0)
        made.append(make_record(tip, event, facts, at, KEY))
        tip = next_tip(made[-1])
    return judge(ORDER, stored(made), TERMS)


def test_an_order_that_waits_was_announced_a_day_before_for_the_same_key() -> None:
    day, margin = 24 * 60, MARGIN.total_seconds() / 60
    other: Step = (CODE[0], {**CODE[1], "challenge": "OTHER", "login": "ANOTHER"})
    assert isinstance(waited(day, announced=other), Approval)
    assert isinstance(waited(day - margin, announced=other), Approval)
    assert waited(day - margin - 0.1, announced=other) is Distrust.TOO_SOON
    assert waited(day, announced=SENT) is Distrust.TOO_SOON
    assert waited(day, BOUND, announced=other) is Distrust.TOO_SOON, "another key waits anew"
    assert isinstance(waited(day, PROVED, announced=other), Approval)


def test_code_birth_date_and_submission_lie_within_the_life_of_an_approval_and_the_key_may_be_older() -> None:
    assert isinstance(judge(ORDER, timed([0, 1, 40, 41, 41, 42, 50]), TERMS), Approval)
    margin = MARGIN.total_seconds() / 60
    assert isinstance(judge(ORDER, timed([0, 1, 1, 1, 2, 3, 12 + margin]), TERMS), Approval)
    assert judge(ORDER, timed([0, 1, 1, 1, 2, 3, 12.1 + margin]), TERMS) is Distrust.TOO_LATE
    assert judge(ORDER, timed([0, 1, 1, 1, 2, 20, 3]), TERMS) is Distrust.TOO_LATE


def test_every_seal_every_version_and_every_link_counts() -> None:
    whole = sealed(STEPS)
    assert judge(ORDER, (), TERMS) is Distrust.NO_RECORDS
    assert judge(ORDER, sealed(STEPS, AuditKey("audit-1", b"x" * 32)), TERMS) is Distrust.SEAL
    assert judge(ORDER, sealed(STEPS, AuditKey("audit-2", bytes(range(32)))), TERMS) is Distrust.SEAL
    assert judge(OrderId("B" * 26), whole, TERMS) is Distrust.BROKEN_CHAIN
    for place, record in enumerate(whole):
        others = whole[:place], whole[place + 1 :]
        assert judge(ORDER, (*others[0], *others[1]), TERMS) in {Distrust.BROKEN_CHAIN, Distrust.NOT_SUBMITTED}
        edited = replace(record, at="2026-03-31T04:00:01.000Z")
        assert judge(ORDER, (*others[0], edited, *others[1]), TERMS) in {Distrust.SEAL, Distrust.BROKEN_CHAIN}
        spoilt = replace(record, facts=record.facts + " ")
        assert judge(ORDER, (*others[0], spoilt, *others[1]), TERMS) is Distrust.MALFORMED


def test_the_old_form_is_read_in_the_past_and_never_issued_by() -> None:
    old: list[Step] = [*STEPS[:-1], (Event.RA_ORDER_SUBMITTED, {"terms": "00", "policy": "tw-broker@1"})]
    assert judged(old) is Distrust.OLD_FORM
    assert judged(old, past=True) == Approval(ORDER, "enrol", "C1", "F014000-0000001", None, SPKI, None)
    later: list[Step] = [*old, (Event.RA_ORDER_ISSUED, {"serial": "01"}), (Event.RA_CERTIFICATE_ACTIVATED, {})]
    assert isinstance(judged(later, past=True), Approval)
    assert judged([OPENED, *old[2:]], past=True) is Distrust.KEY_NOT_BOUND
    assert judged([OPENED, BOUND, old[-1]], past=True) is Distrust.NO_CODE


def test_a_wish_may_not_go_beyond_what_was_approved() -> None:
    spki = csr.spki_of(REQUEST)
    assert spki is not None
    approval = judged(STEPS)
    assert isinstance(approval, Approval)
    issuance = IssuanceRequest(ORDER, "investor", spki, {"customer": "C1", "account": "F014000-0000001"}, REQUEST)
    assert differs(approval, issuance) is None
    other = ClientKey.generate().request()
    assert differs(approval, replace(issuance, spki_der=csr.spki_of(other) or b"")) is Distrust.OTHER_KEY
    assert differs(approval, replace(issuance, csr_der=other)) is Distrust.OTHER_KEY
    assert differs(approval, replace(issuance, csr_der=b"no request")) is Distrust.OTHER_KEY
    assert differs(approval, replace(issuance, subject={"customer": "C2"})) is Distrust.OTHER_CUSTOMER
    assert differs(approval, replace(issuance, subject={"account": "F014000-0000002"})) is Distrust.OTHER_ACCOUNT
    assert differs(approval, replace(issuance, profile="investor-market")) is Distrust.OTHER_PROFILE
    assert differs(approval, replace(issuance, replaces=b"no certificate")) is Distrust.OTHER_RENEWED


CANNOT = "email:none+mobile:stopped"


def by_slip(opened: dict[str, str | None] | None = None, **right: str | None) -> list[Step]:
    """The steps of an order that was approved by a slip; the words say what is different about opening and slip."""
    asked = {**OPENED[1], "checks": "birth_date+slip", "contacts": CANNOT, **(opened or {})}
    slip: dict[str, Fact] = {"slip": "SLIP", "login": LOGIN, "contacts": CANNOT, "spki_sha256": SPKI, **right}
    submitted = {**SUBMITTED[1], "challenge": None, "channel": None, "slip": "SLIP"}
    return [
        (OPENED[0], asked),
        BOUND,
        (Event.RA_SLIP_CHARGED, {"slip": "SLIP", "login": LOGIN}),
        (Event.RA_SLIP_RIGHT, slip),
        BIRTH,
        (SUBMITTED[0], submitted),
    ]


def test_a_slip_stands_in_for_the_code_where_the_order_was_opened_for_one() -> None:
    assert isinstance(judged(by_slip()), Approval)
    assert judged(by_slip({"checks": "birth_date"})) is Distrust.NO_CODE
    assert judged([step for step in by_slip() if step[0] is not Event.RA_SLIP_RIGHT]) is Distrust.NO_SLIP
    assert judged(by_slip(slip="OTHER")) is Distrust.NO_SLIP
    assert judged(changed(by_slip(), Event.RA_ORDER_SUBMITTED, slip=None)) is Distrust.NO_SLIP
    assert judged(changed(STEPS, Event.RA_ORDER_OPENED, checks="birth_date+slip", contacts=CANNOT)) is Distrust.NO_SLIP
    assert judged([step for step in by_slip() if step is not BIRTH]) is Distrust.NO_BIRTH_DATE
    opened, bound, charged, right, *rest = by_slip()
    assert judged([opened, charged, right, bound, *rest]) is Distrust.NO_SLIP, "it was right for an earlier key"


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "email:none",
        "email:none+mobile:usable",
        "email:none+mobile:stopped+fax:none",
        "email:x+mobile:stopped",
    ],
)
def test_a_slip_counts_only_where_opening_and_slip_say_that_no_contact_can_carry_a_code(said: str | None) -> None:
    assert judged(by_slip({"contacts": said})) is Distrust.SLIP_NOT_DUE
    assert judged(by_slip(contacts=said)) is Distrust.SLIP_NOT_DUE


def test_a_changed_contact_is_waited_for_unless_it_came_after_the_opening() -> None:
    changed_lately = "email:none+mobile:changed"
    assert judged(by_slip({"contacts": changed_lately})) is Distrust.SLIP_NOT_DUE
    assert isinstance(judged(by_slip(contacts=changed_lately)), Approval)


def test_a_slip_counts_in_the_one_login_that_holds_the_key() -> None:
    assert judged(by_slip(login="ANOTHER")) is Distrust.OTHER_LOGIN
    assert judged(changed(by_slip(), Event.RA_KEY_BOUND, login="L")) is Distrust.OTHER_LOGIN
    *before, submitted = by_slip()
    assert judged([*before, PROVED, submitted]) is Distrust.OTHER_LOGIN, "a proof voids the slip before it"
    for event in (Event.RA_SLIP_WRONG, Event.RA_SLIP_DEAD):
        assert isinstance(judged([*by_slip(), (event, {})]), Approval)
