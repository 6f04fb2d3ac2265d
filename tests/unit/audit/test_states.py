"""What the records imply of failures over windows, and how little is enough to say nothing."""

from datetime import timedelta

from chopmark.audit.checks import see
from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.findings import Code, Finding
from chopmark.audit.ports import CertificateRow, FailureRow, HoldingRow
from chopmark.audit.record import AuditKey, StreamId, make_record, new_stream
from chopmark.audit.states import FailureLimit, Rules, StateCheck
from tests.unit.audit.ledger import START

KEY = AuditKey("a1", bytes(range(32)))
DAY = timedelta(days=1)
RULES = Rules(
    {
        "code": FailureLimit(3, DAY, 100),
        "sms": FailureLimit(3, DAY, 100),
        "birth_date": FailureLimit(3, 10000 * DAY, 100),
    },
    "code",
    {"mobile": "sms"},
    "birth_date",
    7 * DAY,
    7 * DAY,
)


def told(*steps: tuple[Event, timedelta]) -> StateCheck:
    """The check after these steps of one order, each so long after the start."""
    check, stream = StateCheck(RULES), StreamId("ORDER")
    for event, after in ((Event.RA_ORDER_OPENED, timedelta()), *steps):
        facts = {"customer": "C1", "operation": "enrol"} if event is Event.RA_ORDER_OPENED else {"channel": "mobile"}
        record = make_record(new_stream(stream), event, facts, START + after, KEY)
        assert list(check.record(see(record.stored()))) == []
    return check


def row(in_window: int, ever: int, since: timedelta, *, held: bool = False) -> FailureRow:
    return FailureRow("C1", "sms", START + since, in_window, ever, held)


def codes(check: StateCheck, *rows: FailureRow) -> list[Code]:
    found: list[Finding] = []
    for one in rows:
        found += check.row(one)
    return [finding.code for finding in (*found, *check.finish())]


def wrong(*after: timedelta) -> list[tuple[Event, timedelta]]:
    return [(event, at) for at in after for event in (Event.RA_CODE_CHARGED, Event.RA_CODE_WRONG)]


def test_a_new_window_counts_anew_and_ever_goes_on() -> None:
    late = DAY + timedelta(hours=1)
    steps = wrong(timedelta(), timedelta(hours=1), late)
    assert codes(told(*steps), row(1, 3, late)) == []
    assert codes(told(*steps), row(1, 2, late)) == [Code.FAILURES_LOWERED]
    assert codes(told(*steps), row(0, 3, late)) == [Code.FAILURES_LOWERED]


def test_at_the_very_end_of_a_window_neither_count_is_called_wrong() -> None:
    steps = wrong(timedelta(), timedelta(hours=1), DAY + timedelta(seconds=1))
    assert codes(told(*steps), row(3, 3, timedelta())) == []
    assert codes(told(*steps), row(1, 3, DAY)) == []
    assert codes(told(*steps), row(1, 2, DAY)) == [Code.FAILURES_LOWERED]


def test_when_every_window_is_over_it_is_sure_again() -> None:
    late = 3 * DAY
    steps = wrong(timedelta(), DAY + timedelta(seconds=1), late, late, late)
    assert codes(told(*steps), row(3, 5, late)) == [Code.LOCK_LIFTED]
    assert codes(told(*steps), row(3, 5, late, held=True)) == []


def test_a_right_code_gives_its_failure_back() -> None:
    steps = [*wrong(timedelta()), (Event.RA_CODE_CHARGED, timedelta()), (Event.RA_CODE_RIGHT, timedelta())]
    assert codes(told(*steps), row(1, 1, timedelta())) == []
    assert codes(told(*steps)) == [Code.FAILURES_LOWERED]


def test_a_row_that_is_worse_off_than_its_records_is_no_finding() -> None:
    assert codes(told(*wrong(timedelta())), row(3, 9, timedelta(), held=True)) == []
    check = StateCheck(RULES)
    assert list(check.row(HoldingRow("01", "revoked"))) == []
    assert [one.code for one in check.row(HoldingRow("01", "held"))] == [Code.HOLDING_STATE_WRONG]
    assert [one.code for one in check.row(CertificateRow("01", "issued"))] == [Code.CERTIFICATE_STATE_WRONG]


def test_a_code_whose_record_names_the_login_is_counted_for_all_channels_together() -> None:
    check, stream = StateCheck(RULES), StreamId("ORDER")
    charged: dict[str, Fact] = {"channel": "mobile", "login": "L"}
    steps: list[tuple[Event, dict[str, Fact]]] = [
        (Event.RA_ORDER_OPENED, {"customer": "C1", "operation": "enrol"}),
        (Event.RA_CODE_CHARGED, charged),
        (Event.RA_CODE_CHARGED, {**charged, "channel": "email"}),
    ]
    for event, facts in steps:
        record = make_record(new_stream(stream), event, facts, START, KEY)
        assert list(check.record(see(record.stored()))) == []
    assert codes(check, FailureRow("C1", "code", START, 1, 2, held=False)) == [Code.FAILURES_LOWERED]
