"""The plan of reminders by hand-made examples: days, windows, hours, and full days."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from chopmark.core.types import Channel, CustomerId
from chopmark.ra.policy import TW_BROKER, renewal_opens
from chopmark.ra.reminders.plan import Ending, Window, may_send_at, moment_of, place, surplus, targets, windows
from chopmark.ra.reminders.policy import LAST, OPENING, Hours, ReminderPolicy, Step
from chopmark.tw.trading_days import TradingCalendar
from chopmark.tw.zone import TAIPEI, local_date

POLICY = ReminderPolicy()
WEEKDAYS = TradingCalendar()
"""No year is known: only weekends are closed."""
ANN = CustomerId("C1")


def ending(*when: int) -> Ending:
    not_after = datetime(*when, tzinfo=TAIPEI)  # type: ignore[misc,arg-type]
    return Ending(not_after, renewal_opens(TW_BROKER, not_after))


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=TAIPEI)  # type: ignore[misc,arg-type]


def window_of(step: Step, end: Ending, now: datetime, policy: ReminderPolicy = POLICY) -> Window | None:
    return next((one for one in windows(policy, WEEKDAYS, end, now) if one.step == step), None)


def test_days_are_counted_back_from_the_last_trading_day() -> None:
    days = {step.word: day.isoformat() for step, day in targets(POLICY, WEEKDAYS, ending(2026, 8, 2, 12))}
    assert days == {  # 2 August 2026 is a Sunday
        "opening": "2026-07-02",
        "14": "2026-07-17",
        "7": "2026-07-24",
        "3": "2026-07-28",
        "1": "2026-07-30",
        "last": "2026-07-31",
    }


def test_nothing_comes_before_renewal_is_open() -> None:
    policy = replace(POLICY, days=(60, 31, 30, 29, 1))
    steps = targets(policy, WEEKDAYS, ending(2026, 7, 31, 23))
    assert [(step.word, str(day)) for step, day in steps] == [
        ("opening", "2026-06-30"),
        ("30", "2026-07-01"),
        ("29", "2026-07-02"),
        ("1", "2026-07-30"),
        ("last", "2026-07-31"),
    ]


def test_a_late_step_may_come_until_the_day_before_the_next_one() -> None:
    end = ending(2026, 7, 31, 23, 59)
    late = window_of(Step(7), end, at(2026, 7, 26, 15))
    assert late is not None
    assert (late.first, late.best, late.last) == (date(2026, 7, 26), date(2026, 7, 26), date(2026, 7, 27))
    assert window_of(Step(7), end, at(2026, 7, 28, 0)) is None
    assert window_of(Step(3), end, at(2026, 7, 28, 0)) is not None


def test_what_could_not_be_renewed_any_more_is_not_told() -> None:
    end = ending(2026, 7, 31, 15, 0)
    assert window_of(LAST, end, at(2026, 7, 31, 9)) is None  # 13:00 is the latest, and 13:40 the earliest
    earlier = window_of(LAST, ending(2026, 7, 31, 17), at(2026, 7, 31, 9))
    assert earlier is not None
    assert earlier.until == at(2026, 7, 31, 15)


def test_after_the_last_session_the_last_step_may_still_be_told_while_the_certificate_can_renew() -> None:
    weekend = window_of(LAST, ending(2026, 8, 2, 23), at(2026, 8, 1, 10))
    assert weekend is not None
    assert (weekend.first, weekend.last) == (date(2026, 8, 1), date(2026, 8, 2))


def test_a_wave_is_spread_over_the_sending_hours_and_never_into_the_rush() -> None:
    policy = replace(POLICY, sending=Hours(time(8), time(20)))
    moments = [moment_of(policy, CustomerId(f"C{n}"), date(2026, 7, 28)) for n in range(3000)]
    per_hour: dict[int, int] = {}
    for moment in moments:
        assert moment is not None
        assert may_send_at(policy, moment)
        assert not time(8, 30) <= moment.timetz().replace(tzinfo=None) < time(13, 35)
        per_hour[moment.hour] = per_hour.get(moment.hour, 0) + 1
    assert all(350 < per_hour[hour] < 520 for hour in range(14, 20))  # 3000 over 6 h 55 min: 434 an hour


def test_the_moment_is_the_same_for_whoever_computes_it_and_differs_from_day_to_day() -> None:
    first = moment_of(POLICY, ANN, date(2026, 7, 28))
    assert first == moment_of(POLICY, ANN, date(2026, 7, 28))
    other = moment_of(POLICY, ANN, date(2026, 7, 29))
    assert first is not None
    assert other is not None
    assert other - first != timedelta(days=1)


@pytest.mark.parametrize(("hour", "minute", "sends"), [(13, 39, False), (13, 40, True), (19, 59, True), (20, 0, False)])
def test_the_hours_are_taiwans_whatever_the_zone_of_the_clock(hour: int, minute: int, *, sends: bool) -> None:
    assert may_send_at(POLICY, at(2026, 7, 28, hour, minute).astimezone(UTC)) is sends


def test_a_full_day_yields_to_the_day_before_and_an_opening_to_the_day_after() -> None:
    policy = replace(POLICY, capacity=2)
    end, now = ending(2026, 7, 31, 23, 59), at(2026, 6, 29, 3)
    step, opening = window_of(Step(7), end, now, policy), window_of(OPENING, end, now, policy)
    assert step is not None
    assert opening is not None
    full = {date(2026, 7, 24): {Step(7).urgency: 2}, date(2026, 6, 30): {OPENING.urgency: 2}}
    assert place(policy, step, full, {}) == date(2026, 7, 23)
    assert place(policy, opening, full, {}) == date(2026, 7, 1)
    assert place(policy, step, {date(2026, 7, 24): {OPENING.urgency: 2}}, {}) == date(2026, 7, 24)  # those yield


def test_an_urgent_step_goes_out_on_the_day_with_the_least_even_if_all_are_full() -> None:
    policy = replace(POLICY, capacity=1)
    end = ending(2026, 7, 31, 23, 59)
    urgent = window_of(Step(3), end, at(2026, 7, 20), policy)
    assert urgent is not None
    loads = {date(2026, 7, day): {LAST.urgency: 9 - day % 3} for day in range(25, 29)}
    assert place(policy, urgent, loads, {}) == date(2026, 7, 26)
    early = window_of(Step(14), end, at(2026, 7, 16), policy)
    assert early is not None
    assert place(policy, early, {day: {LAST.urgency: 1} for day in _days(early)}, {}) is None


def _days(window: Window) -> list[date]:
    return [window.first + timedelta(days=n) for n in range((window.last - window.first).days + 1)]


def test_near_steps_of_a_customer_share_a_message_and_a_day_with_one_that_is_sent_is_left_alone() -> None:
    window = window_of(Step(7), ending(2026, 7, 31, 23, 59), at(2026, 7, 18))
    assert window is not None
    assert place(POLICY, window, {}, {date(2026, 7, 22): True}) == date(2026, 7, 22)
    assert place(POLICY, window, {}, {date(2026, 7, 20): True}) == date(2026, 7, 24)
    assert place(POLICY, window, {}, {date(2026, 7, 24): False}) == date(2026, 7, 23)


def test_what_yields_is_what_is_over_the_capacity_and_less_urgent_and_never_an_urgent_step() -> None:
    policy = replace(POLICY, capacity=10)
    loads = {OPENING.urgency: 5, Step(14).urgency: 4, Step(3).urgency: 6}
    assert surplus(policy, loads, LAST) == 5
    assert surplus(policy, loads, Step(14)) == 5
    assert surplus(policy, {OPENING.urgency: 1, LAST.urgency: 99}, LAST) == 1
    assert surplus(policy, {Step(1).urgency: 99}, LAST) == 0


@pytest.mark.parametrize("word", ["opening", "14", "1", "last"])
def test_a_step_is_stored_as_a_word(word: str) -> None:
    assert Step.of(word).word == word


def test_the_steps_rise_in_urgency() -> None:
    urgencies = [step.urgency for step in POLICY.steps]
    assert urgencies == sorted(set(urgencies))


def test_the_customers_channel_comes_first_and_the_other_one_stays() -> None:
    assert list(POLICY.channels(OPENING)) == [Channel.EMAIL, Channel.MOBILE]
    assert list(POLICY.channels(LAST)) == [Channel.MOBILE, Channel.EMAIL]
    assert list(POLICY.channels(LAST, Channel.EMAIL)) == [Channel.EMAIL, Channel.MOBILE]


def test_a_channel_whose_last_message_came_back_is_tried_last_whoever_wants_it() -> None:
    back = {Channel.EMAIL}
    assert list(POLICY.channels(OPENING, None, back)) == [Channel.MOBILE, Channel.EMAIL]
    assert list(POLICY.channels(OPENING, Channel.EMAIL, back)) == [Channel.MOBILE, Channel.EMAIL]
    assert list(POLICY.channels(LAST, None, back)) == [Channel.MOBILE, Channel.EMAIL]
    assert list(POLICY.channels(OPENING, Channel.MOBILE, set(Channel))) == [Channel.MOBILE, Channel.EMAIL]
    alone = replace(POLICY, early=(Channel.EMAIL,))
    assert list(alone.channels(OPENING, None, back)) == [Channel.EMAIL]


def test_rules_that_leave_no_hours_or_no_channel_are_refused() -> None:
    with pytest.raises(ValueError, match="no hours"):
        replace(POLICY, sending=Hours(time(9), time(13)))
    with pytest.raises(ValueError, match="channel"):
        replace(POLICY, urgent=())
    with pytest.raises(ValueError, match="begin before"):
        Hours(time(9), time(9))
    with pytest.raises(ValueError, match="days"):
        Step(91)


def test_one_customer_a_day_and_one_message_a_minute_are_the_least() -> None:
    assert replace(POLICY, capacity=1, per_minute=1).capacity == 1
    with pytest.raises(ValueError, match="at least 1"):
        replace(POLICY, capacity=0)
    with pytest.raises(ValueError, match="at least 1"):
        replace(POLICY, per_minute=0)


@pytest.mark.parametrize(
    ("sending", "left"),
    [
        ((8, 20), ((8, 9), (13, 20))),
        ((9, 20), ((13, 20),)),
        ((8, 13), ((8, 9),)),
        ((6, 8), ((6, 8),)),
        ((6, 9), ((6, 9),)),
        ((13, 20), ((13, 20),)),
        ((15, 20), ((15, 20),)),
    ],
)
def test_the_rush_takes_only_hours_away_that_lie_in_it(sending: tuple[int, int], left: tuple[tuple[int, int]]) -> None:
    policy = replace(POLICY, sending=Hours(*map(time, sending)), rush=Hours(time(9), time(13)))
    assert policy.hours == tuple(Hours(time(begin), time(end)) for begin, end in left)


def test_a_day_of_the_new_year_holidays_is_nobodys_last_trading_day() -> None:
    from chopmark.app.trading_calendar import trading_calendar

    calendar = trading_calendar(None)
    for day in range(1, 29):
        end = ending(2027, 2, day, 23, 59)
        last = dict(targets(POLICY, calendar, end))[LAST]
        assert calendar.is_trading_day(last)
        assert last <= local_date(end.not_after)
        assert calendar.trading_days_between(last + timedelta(days=1), date(2027, 2, day) + timedelta(days=1)) == 0
