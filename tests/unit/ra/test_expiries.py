"""What a certificate's rows mean: how far its renewal is, and whether the customer can trade next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.refusal import Refused
from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.ra.expiries import (
    MOST_DAYS,
    TOLD,
    Cursor,
    Ending,
    Endings,
    Expiries,
    Expiry,
    Funnel,
    Tally,
    Unreached,
    Window,
    cursor_of,
    judge,
    told,
    written,
)
from chopmark.tw.trading_days import Standing, TradingCalendar
from tests.tables import Clock

MONDAY = datetime(2026, 11, 30, 1, 0, tzinfo=UTC)  # nine o'clock in Taipei
FRIDAY_EVENING = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
WINDOW = Window(FRIDAY_EVENING, FRIDAY_EVENING, MONDAY + timedelta(days=9), MONDAY, Standing.ANNOUNCED)
ROW = Ending(
    id="01",
    serial="01",
    issuer="",
    customer=CustomerId("C1"),
    account=AccountNumber("F014000-0000001"),
    not_after=MONDAY - timedelta(hours=3),
    in_use=True,
    later_until=None,
    renewed=False,
    opened=False,
    contacts=2,
    dead=None,
    sent=0,
    reminded_at=None,
)


def judged(**other: object) -> Expiry:
    found = judge(replace(ROW, **other), WINDOW, TradingCalendar())  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("other", "funnel"),
    [
        ({}, Funnel.QUIET),
        ({"sent": 1}, Funnel.REACHED),
        ({"sent": 1, "opened": True}, Funnel.OPENED),
        ({"opened": True, "renewed": True}, Funnel.RENEWED),
        ({"renewed": True, "later_until": MONDAY + timedelta(days=300)}, Funnel.PROVEN),
        ({"later_until": ROW.not_after - timedelta(days=1)}, Funnel.QUIET),
    ],
)
def test_the_furthest_step_counts(other: dict[str, object], funnel: Funnel):
    assert judged(**other).funnel is funnel


def test_who_has_no_certificate_in_use_at_the_next_opening_cannot_trade():
    assert judged().cannot_trade
    assert judged(renewed=True).cannot_trade, "issued is not in use"
    assert not judged(not_after=MONDAY).cannot_trade, "it is valid to the second in which the exchange opens"
    assert not judged(later_until=MONDAY + timedelta(days=1)).cannot_trade
    assert judged(later_until=MONDAY - timedelta(seconds=1)).cannot_trade, "the later one ends before, too"


def test_unnoticed_is_who_cannot_trade_and_of_whom_nothing_shows_that_he_knows():
    assert judged().unnoticed
    assert not judged(sent=1).unnoticed
    assert not judged(opened=True).unnoticed
    assert not judged(not_after=MONDAY).unnoticed


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"contacts": 0}, Unreached.NO_CONTACT),
        ({"contacts": 0, "dead": Channel.EMAIL}, Unreached.BOUNCED),
        ({"contacts": 0, "dead": Channel.MOBILE}, Unreached.NUMBER_DEAD),
        ({"contacts": 1, "dead": Channel.MOBILE}, None),
        ({"contacts": 0, "opened": True}, None),
    ],
)
def test_the_branches_are_told_why_somebody_cannot_be_reminded(other: dict[str, object], why: Unreached | None):
    assert judged(**other).unreached is why


def test_a_superseded_certificate_counts_only_with_a_successor_that_is_in_use_or_waits_for_its_proof():
    gone = replace(ROW, in_use=False)
    assert judge(gone, WINDOW, TradingCalendar()) is None, "its successor was revoked: that is no expiry"
    swapped = judge(replace(gone, renewed=True), WINDOW, TradingCalendar())
    assert swapped is not None
    assert swapped.cannot_trade
    assert swapped.trading_days_left == 0
    proven = judge(replace(gone, later_until=MONDAY + timedelta(days=300)), WINDOW, TradingCalendar())
    assert proven is not None
    assert (proven.funnel, proven.cannot_trade) == (Funnel.PROVEN, False)


def test_a_tally_counts_by_the_day_in_taiwan():
    tally = Tally()
    for row in (judged(), judged(contacts=0), judged(not_after=datetime(2026, 11, 30, 16, 0, tzinfo=UTC), sent=2)):
        tally.add(row)
    assert (tally.cannot_trade, tally.unnoticed, tally.unreachable) == (2, 2, 1)
    assert {day.isoformat(): dict(+counts) for day, counts in tally.days.items()} == {
        "2026-11-30": {"quiet": 2, "unreachable": 1},
        "2026-12-01": {"reached": 1},
    }


def test_what_a_table_s_header_names_is_what_is_told():
    assert list(told(judged())) == list(TOLD)


class NoPages:
    """No certificate ends."""

    async def after(self, *_: object) -> Endings:
        return Endings((), None)


@pytest.mark.parametrize(
    ("now", "days", "since", "begins", "ends"),
    [
        ("2026-11-24T15:59", 0, 0, "2026-11-23T16:00", "2026-11-25T01:00"),  # 23:59 in Taipei: the session counts
        ("2026-11-24T16:00", 0, 0, "2026-11-24T16:00", "2026-11-25T16:00"),
        ("2026-11-24T16:00", 1, 1, "2026-11-23T16:00", "2026-11-26T16:00"),
        ("2026-11-24T16:00", -1, -1, "2026-11-24T16:00", "2026-11-25T16:00"),
        ("2026-11-27T16:00", 0, 0, "2026-11-27T16:00", "2026-11-30T01:00"),  # a Saturday
    ],
)
def test_a_window_reaches_from_midnight_to_midnight_in_taipei_and_at_least_to_the_next_session(
    now: str, days: int, since: int, begins: str, ends: str
):
    clock = Clock(datetime.fromisoformat(f"{now}:00+00:00"))
    window = Expiries(NoPages(), TradingCalendar(), (), clock).window(days, since)
    assert (window.since, window.until) == tuple(datetime.fromisoformat(f"{at}:00+00:00") for at in (begins, ends))


def test_a_window_has_an_end_whatever_is_asked_for():
    expiries = Expiries(NoPages(), TradingCalendar(), (), Clock())
    assert expiries.window(10**9, 10**9) == expiries.window(MOST_DAYS, MOST_DAYS)


def test_a_cursor_is_read_back_as_it_was_written_and_anything_else_is_refused():
    cursor = Cursor(MONDAY + timedelta(milliseconds=5), "AB01")
    assert cursor_of(written(cursor) or "") == cursor
    assert cursor_of("") is None
    for wrong in ("1", "x.AB", "1.", "-1.AB", "1.AB'", "1." + "A" * 65, "9" * 16 + ".A", "9" * 15 + ".A"):
        with pytest.raises(Refused):
            cursor_of(wrong)
