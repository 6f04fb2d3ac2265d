"""Planning of reminders with a store in memory: who may plan, how far ahead, and what a lost lease leaves undone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from chopmark.core.types import CustomerId
from chopmark.ra.policy import TW_BROKER, renewal_opens
from chopmark.ra.reminders.planning import ReminderPlanning
from chopmark.ra.reminders.policy import OPENING, ReminderPolicy, Step
from chopmark.ra.reminders.ports import Known, LivingCertificate, Placed, ReminderRules
from chopmark.tw.trading_days import TradingCalendar
from chopmark.tw.zone import TAIPEI
from tests.tables import Clock


@dataclass
class Plans:
    """A store of one process. `lost`: the calls after which another process has the lease."""

    living: list[LivingCertificate] = field(default_factory=list)
    load: dict[date, dict[int, int]] = field(default_factory=dict)
    last: str | None = None
    lost: frozenset[str] = frozenset()
    others: bool = False
    placed: list[Placed] = field(default_factory=list)
    asked: list[Step] = field(default_factory=list)

    async def begin(self, holder: str, now: datetime) -> bool:
        return not self.others

    async def done(self) -> str | None:
        return self.last

    async def mark(self, mark: str) -> None:
        self.last = mark

    async def restored(self) -> date | None:
        return None

    async def untold(
        self, step: Step, ends: tuple[datetime, datetime], after: LivingCertificate | None, most: int
    ) -> list[LivingCertificate]:
        self.asked.append(step)
        told = {(one.certificate, one.step) for one in self.placed}
        begin = 0 if after is None else self.living.index(after) + 1
        within = [one for one in self.living[begin:] if ends[0] < one.not_after <= ends[1]]
        return [one for one in within if (one.id, step) not in told][:most]

    async def known(self, customers: Sequence[CustomerId], today: date, now: datetime) -> Known:
        living = {customer: [one for one in self.living if one.customer == customer] for customer in customers}
        return Known(living, {}, ())

    async def loads(self, today: date) -> dict[date, dict[int, int]]:
        return self.load

    async def place(self, placed: Sequence[Placed], holder: str, now: datetime) -> bool:
        if "place" in self.lost:
            return False
        self.placed += placed
        return True

    async def release(self, day: date, below: Step, most: int, holder: str, now: datetime) -> list[int] | None:
        return None if "release" in self.lost else []


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=TAIPEI)  # type: ignore[misc,arg-type]


def living(number: int, not_after: datetime) -> LivingCertificate:
    return LivingCertificate(f"{number:02}", CustomerId(f"C{number}"), not_after, None)


POLICY = ReminderPolicy()
FRIDAY = at(2026, 7, 31, 23, 59)
NIGHT = at(2026, 7, 17, 0, 10)


async def planned(plans: Plans, now: datetime, policy: ReminderPolicy = POLICY) -> list[tuple[str, str]]:
    rules = ReminderRules(policy, TradingCalendar(), lambda end: renewal_opens(TW_BROKER, end))
    assert await ReminderPlanning(plans, rules, Clock(now), "this process").once() == 0
    return sorted((one.certificate, one.step.word) for one in plans.placed)


async def test_a_finished_plan_is_noted_by_its_hour_in_taipei_and_not_made_twice() -> None:
    plans = Plans([living(1, FRIDAY)])
    assert await planned(plans, NIGHT) == [("01", "14"), ("01", "7")]
    assert plans.last == "2026-07-17T00"
    asked = len(plans.asked)
    assert await planned(plans, at(2026, 7, 17, 0, 59)) == [("01", "14"), ("01", "7")]
    assert len(plans.asked) == asked


async def test_nothing_is_planned_or_noted_while_another_process_plans() -> None:
    plans = Plans([living(1, FRIDAY)], others=True)
    assert (await planned(plans, NIGHT), plans.asked, plans.last) == ([], [], None)


async def test_a_plan_whose_lease_was_lost_is_not_noted_as_finished() -> None:
    placing = Plans([living(1, FRIDAY)], lost=frozenset({"place"}))
    assert (await planned(placing, NIGHT), placing.last) == ([], None)
    full = {date(2026, 7, 24): {OPENING.urgency: 5}}
    relieving = Plans(load=full, lost=frozenset({"release"}))
    assert (await planned(relieving, NIGHT, ReminderPolicy(capacity=2)), relieving.last) == ([], None)


async def test_the_first_plan_of_a_day_has_all_steps_of_a_week_and_later_ones_the_urgent_steps_of_a_day() -> None:
    assert await planned(Plans([living(1, FRIDAY)]), at(2026, 7, 16, 0, 10)) == [("01", "14"), ("01", "opening")]
    assert await planned(Plans([living(1, FRIDAY)]), at(2026, 7, 17, 0, 10)) == [("01", "14"), ("01", "7")]
    sunday = Plans([living(1, FRIDAY)], last="2026-07-26T00")
    assert await planned(sunday, at(2026, 7, 26, 1)) == []
    monday = Plans([living(1, FRIDAY)], last="2026-07-27T00")
    assert await planned(monday, at(2026, 7, 27, 1)) == [("01", "3")], "the seventh day before may wait for the night"
    assert set(monday.asked) == {Step(0), Step(1), Step(3)}
