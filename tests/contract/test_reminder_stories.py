"""Whatever happens to certificates, workers, clock and database: nobody is told twice, or of what was replaced.

Each story is some weeks of a few customers. The gateways are the outside truth: what they were handed is what happened.
A database that is restored forgets; they do not.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chopmark.core.types import Channel
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.script import Batch, Row, Script, Value, query
from chopmark.store.repositories.reminders.plans import restored_at
from chopmark.tw.zone import TAIPEI, local_date
from tests.contract.reminded import Bare, Counting, Reminded, taipei
from tests.tables import Clock

BEGIN, DAYS = date(2026, 12, 10), 45
"""Over the new year of 2027, and its closed days."""
FORGOTTEN = ("reminded_certificates", "reminders", "deliveries", "leases", "counters", "installation")
"""What an older copy of the database has of reminders; certificates are entered again from the journal."""
LOST = GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN)


@dataclass(frozen=True)
class Given:
    """One certificate: whose, when it ends, and on which day of the story what becomes of it."""

    customer: int
    ends: int
    hour: int
    imported: bool
    gone: int | None


@dataclass(frozen=True)
class Story:
    certificates: Sequence[Given]
    silent: frozenset[int]
    """Days without a worker."""
    leap: tuple[int, int] | None
    """On this day the clock is so many days ahead."""
    restore: tuple[int, int] | None
    """On the first day the database becomes what it was on the second, earlier one."""
    lost: frozenset[int]
    """Days on which the first answer of the gateways is lost."""
    mute: frozenset[int]
    """Customers without a contact."""

    @property
    def leap_forgotten(self) -> bool:
        """Whether the clock leaps in the time that the restore forgets: nothing that is left knows what was sent."""
        return bool(self.leap and self.restore and self.restore[1] <= self.leap[0] <= self.restore[0])


@dataclass
class Watched(Counting):
    """A gateway that looks, whenever it is handed a message, what the truth is at that moment."""

    world: Bare | None = None
    steps: list[tuple[str, str]] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    leapt: bool = False
    early: set[str | tuple[str, str]] = field(default_factory=set)
    """The messages and steps that were sent while the clock was ahead."""

    async def send(self, message: Message) -> Receipt:
        assert self.world is not None
        rows = await self.world.rows(
            "SELECT certificate, step FROM reminded_certificates WHERE reminder = :id", id=message.message_id
        )
        steps = [(row["certificate"], row["step"]) for row in rows]
        self.steps += steps
        self.early |= {message.message_id, *steps} if self.leapt else set()
        living = await self.world.rows(
            "SELECT serial FROM holdings WHERE state = 'active' AND customer = :customer UNION ALL "
            "SELECT fingerprint FROM imported_certificates WHERE state = 'active' AND customer = :customer",
            customer=message.customer,
        )
        if not {row["serial"] for row in living} & {row["certificate"] for row in rows}:
            self.untrue.append(message.message_id)
        return await super().send(message)


days = st.integers(0, DAYS - 1)
certificates = st.builds(
    Given,
    customer=st.integers(0, 2),
    ends=st.integers(1, DAYS + 45),
    hour=st.sampled_from([0, 9, 12, 15, 18, 23]),
    imported=st.booleans(),
    gone=st.none() | days,
)
stories = st.builds(
    Story,
    certificates=st.lists(certificates, min_size=1, max_size=5),
    silent=st.frozensets(days, max_size=12),
    leap=st.none() | st.tuples(days, st.integers(1, 30)),
    restore=st.none() | st.tuples(days, days).map(lambda two: (max(two), min(two))),
    lost=st.frozensets(days, max_size=4),
    mute=st.frozensets(st.integers(0, 2), max_size=1),
)
NOTHING: frozenset[int] = frozenset()
LEAP_FORGOTTEN = Story([Given(0, 40, 18, False, None)], NOTHING, (20, 15), (22, 18), NOTHING, NOTHING)


@example(LEAP_FORGOTTEN)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(story=stories)
def test_nobody_is_told_twice_or_of_what_was_replaced_and_everybody_living_is_told_in_time(story: Story) -> None:
    asyncio.run(_told(story))


async def _told(story: Story) -> None:
    engine = await open_engine("sqlite://:memory:")
    try:
        world = Bare(engine, Clock(taipei(2026, 12, 10)))
        await world.create()
        ways = {way: Watched(way, channel, world=world) for way, channel in _WAYS}
        reminded = Reminded(world, sms=ways["sms"], mail=ways["mail"])
        await _live(reminded, story)
        both = (ways["sms"], ways["mail"])
        handed = Counter(message.message_id for one in both for message in one.got)
        told = Counter(step for one in both for step in one.steps)
        # 1. No gateway has a message twice, nobody has two of one day, and no step of a certificate is told twice. But
        #    what was sent too early by a clock that was ahead, and is forgotten, is told once more, at the right time.
        repeated = {what for count in (handed, told) for what, times in count.items() if times > 1}
        assert repeated <= (ways["sms"].early | ways["mail"].early if story.leap_forgotten else set())
        assert max([*handed.values(), *told.values()], default=0) <= 2
        # 2. Nothing was sent to whose certificates were all replaced.
        assert [one.untrue for one in both] == [[], []]
        await _everybody(reminded, story, {certificate for one in both for certificate, _ in one.steps})
    finally:
        await engine.close()


_WAYS = (("sms", Channel.MOBILE), ("mail", Channel.EMAIL))


async def _live(reminded: Reminded, story: Story) -> None:
    """Let the days of the story pass."""
    world = reminded.world
    await reminded.crowd(3, taipei(2027, 12, 1))
    await world.change("DELETE FROM holdings")
    for customer in story.mute:
        await world.change("DELETE FROM contacts WHERE customer = :customer", customer=f"P{customer:06}")
    names = [await _given(reminded, number, one) for number, one in enumerate(story.certificates)]
    copy: dict[str, list[dict[str, Value]]] = {}
    for number in range(DAYS):
        day = BEGIN + timedelta(days=number)
        if story.restore and number == story.restore[1]:
            copy = await _copied(world)
        for name in [name for name, one in zip(names, story.certificates, strict=True) if one.gone == number]:
            await world.change("UPDATE holdings SET state = 'superseded' WHERE serial = :name", name=name)
            await world.change("UPDATE imported_certificates SET state = 'ended' WHERE fingerprint = :name", name=name)
        for way in (reminded.sms, reminded.mail):
            way.answers = [LOST] if number in story.lost else []
        if number not in story.silent:
            if story.leap and number == story.leap[0]:
                await _leapt(reminded, day + timedelta(days=story.leap[1]))
            await _day(reminded, day)
        if story.restore and number == story.restore[0]:
            world.clock.at = datetime.combine(day, time(20, 30), TAIPEI)
            await _restored(world, copy)


async def _leapt(reminded: Reminded, day: date) -> None:
    for way in (reminded.sms, reminded.mail):
        assert isinstance(way, Watched)
        way.leapt = True
    await _day(reminded, day)
    for way in (reminded.sms, reminded.mail):
        assert isinstance(way, Watched)
        way.leapt = False


async def _day(reminded: Reminded, day: date) -> None:
    for hour, minute, job in ((3, 0, reminded.plan), (14, 30, reminded.send), (19, 59, reminded.send)):
        reminded.world.clock.at = datetime.combine(day, time(hour, minute), TAIPEI)
        await job()


async def _given(reminded: Reminded, number: int, one: Given) -> str:
    ends = datetime.combine(BEGIN + timedelta(days=one.ends), time(one.hour), TAIPEI)
    customer, profile = f"P{one.customer:06}", f"profile-{number}"
    if one.imported:
        return await reminded.imported(customer, ends, number + 1, profile)
    return await reminded.certificate(customer, ends, f"S-{number}", profile)


async def _copied(world: Bare | object) -> dict[str, list[dict[str, Value]]]:
    assert isinstance(world, Bare)
    return {table: await world.rows(f"SELECT * FROM {table}") for table in FORGOTTEN}


async def _restored(world: Bare | object, copy: dict[str, list[dict[str, Value]]]) -> None:
    """Make the tables what they were, and note it as the verb behind `db restored` does."""
    assert isinstance(world, Bare)
    now = world.clock.now()

    def script() -> Script[list[Row]]:
        for table in FORGOTTEN:
            yield query(f"DELETE FROM {table}")
        for table in reversed(FORGOTTEN):
            rows = copy[table]
            if rows:
                columns = ", ".join(rows[0])
                places = ", ".join(f":{column}" for column in rows[0])
                yield Batch(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
        yield from restored_at(now, local_date(now))
        return []

    await world.engine.run(script)


async def _everybody(reminded: Reminded, story: Story, told: set[str]) -> None:
    """A certificate that lived until its last trading day has a step that was told, is unknown, or is on the list.

    Where the worker was there on each day of the week before it. Of what was over before a restore forgot it, the
    gateways alone know.
    """
    rows = await reminded.world.rows(
        "SELECT d.certificate AS certificate, r.state AS state, r.customer AS customer, r.day AS day "
        "FROM reminded_certificates d JOIN reminders r ON r.id = d.reminder"
    )
    calendar = reminded.rules.calendar
    for number, one in enumerate(story.certificates):
        name = f"{number + 1:064x}" if one.imported else f"S-{number}"
        ends = datetime.combine(BEGIN + timedelta(days=one.ends), time(one.hour), TAIPEI)
        last = calendar.last_trading_day_within(ends)
        week = [last - timedelta(days=n) for n in range(1, 8)]
        numbers = [(day - BEGIN).days for day in week]
        lived = one.gone is None or one.gone > (local_date(ends) - BEGIN).days
        there = [each for each in numbers if 0 <= each < DAYS and each not in story.silent]
        if not lived or len(there) < 7 or (last - BEGIN).days >= DAYS:
            continue
        states = {row["state"] for row in rows if row["certificate"] == name} | ({"sent"} if name in told else set())
        if one.customer in story.mute and story.restore and (last - BEGIN).days <= story.restore[0]:
            continue
        spared = {"unreachable"} if one.customer in story.mute else {"sent", "unknown"}
        assert states & (spared | {"unknown"}), (one, ends, states)
