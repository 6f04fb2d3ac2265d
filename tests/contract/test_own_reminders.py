"""What a customer sees of the reminders, and asks for; both databases.

The certificate is made at START and ends on Wednesday 31 March 2027; its last trading day is that day. It
ends before the sending hours of that day, so the reminder of the day before is the last one.
"""

from datetime import UTC, date, datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Refused
from chopmark.core.types import Channel, Operation
from chopmark.ra.reminders.own import OwnReminders
from chopmark.ra.reminders.ports import ReminderState
from chopmark.tw.zone import local_date
from tests.contract.test_expiries import dead, reminded, version_of
from tests.contract.world import ANN, DAN, World, world_fixture

world = world_fixture()
EARLY_MARCH = datetime(2027, 3, 5, 2, 0, tzinfo=UTC)
LONG_BEFORE = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
A_WEEK_BEFORE = datetime(2027, 2, 21, 2, 0, tzinfo=UTC)
ENDED = datetime(2027, 4, 1, 2, 0, tzinfo=UTC)
ONLY_THE_LAST = datetime(2027, 3, 28, 2, 0, tzinfo=UTC)


async def shown(world: World, customer: str = ANN) -> OwnReminders:
    return await world.services.ra.own_reminders.shown(world.caller(customer))


async def ask(world: World, channel: Channel | None = None, until: date | None = None) -> None:
    await world.services.ra.own_reminders.ask(world.caller(ANN), channel, until)


def planned(own: OwnReminders) -> dict[str, tuple[date, Channel | None]]:
    return {line.step.word: (local_date(line.at), line.channel) for line in own.lines}


async def test_everything_that_will_be_sent_is_shown_with_its_day_and_channel(world: World) -> None:
    await world.to_active(ANN)
    assert planned(await shown(world)) == {
        "opening": (date(2027, 2, 28), Channel.EMAIL),
        "14": (date(2027, 3, 17), Channel.EMAIL),
        "7": (date(2027, 3, 24), Channel.EMAIL),
        "3": (date(2027, 3, 28), Channel.MOBILE),
        "1": (date(2027, 3, 30), Channel.MOBILE),
    }
    await ask(world, Channel.MOBILE)
    assert {channel for _, channel in planned(await shown(world)).values()} == {Channel.MOBILE}
    await reminded(world, ANN, channel="email")  # the step of the day before the last
    lines = {line.step.word: (line.state, line.channel) for line in (await shown(world)).lines}
    assert lines.pop("1") == (ReminderState.SENT, Channel.EMAIL)
    assert set(lines.values()) == {(ReminderState.PLANNED, Channel.MOBILE)}
    world.clock.at = ENDED
    own = await shown(world)
    assert (own.present, own.lines, own.pauses) == (None, (), ())


async def test_a_pause_leaves_out_what_falls_into_it_and_never_the_last_days(world: World) -> None:
    await world.to_active(ANN)
    world.clock.at = EARLY_MARCH
    own = await shown(world)
    assert own.pauses == (date(2027, 3, 12), date(2027, 3, 19), date(2027, 3, 26), date(2027, 3, 28))
    await ask(world, until=date(2027, 3, 28))
    own = await shown(world)
    paused = {line.step.word: line.paused for line in own.lines}
    assert paused == {"opening": True, "14": True, "7": True, "3": False, "1": False}
    (record,) = await world.records(Event.RA_REMINDERS_ASKED)
    assert '"paused_until":"2027-03-28"' in record["facts"]
    for wrong in (date(2027, 3, 29), date(2027, 3, 5), date(2026, 1, 1)):
        with pytest.raises(Refused) as refused:
            await ask(world, until=wrong)
        assert refused.value.refusal.code == "pause"
    later = int(datetime(2027, 4, 1, tzinfo=UTC).timestamp() * 1000)  # as when fewer days were urgent
    await world.change("UPDATE reminder_preferences SET paused_until = :later", later=later)
    assert {line.step.word: line.paused for line in (await shown(world)).lines} == paused
    await ask(world)
    assert not any(line.paused for line in (await shown(world)).lines)
    assert (await world.audit()).findings == ()


async def test_a_pause_is_offered_only_where_it_leaves_a_reminder_out(world: World) -> None:
    await world.to_active(ANN)
    world.clock.at = LONG_BEFORE
    opening = next(line for line in (await shown(world)).lines if line.step.word == "opening")
    first = local_date(opening.at)
    pauses = (await shown(world)).pauses
    weeks = (first + timedelta(days=7), first + timedelta(days=14))
    assert pauses[:2] == weeks, "weeks of today would change nothing"
    assert pauses[-1] == date(2027, 3, 28)
    world.clock.at = A_WEEK_BEFORE
    offered = (await shown(world)).pauses
    assert local_date(A_WEEK_BEFORE) + timedelta(days=7) == first, "the reminder of that day comes after the pause"
    assert offered == (*(first + timedelta(days=days) for days in (7, 14, 21)), date(2027, 3, 28))
    world.clock.at = ONLY_THE_LAST
    assert (await shown(world)).pauses == ()


async def test_who_has_no_certificate_cannot_pause_and_a_replaced_one_is_reminded_of_no_more(world: World) -> None:
    with pytest.raises(Refused):
        await ask(world, until=local_date(world.clock.at + timedelta(days=7)))
    assert (await shown(world)).lines == ()
    await world.to_active(ANN)
    world.clock.at = EARLY_MARCH
    before = (await shown(world)).present
    await world.to_active(ANN, Operation.REKEY)
    own = await shown(world)
    assert own.present is not None
    assert before is not None
    assert own.present.serial != before.serial
    assert all(line.at > EARLY_MARCH + timedelta(days=300) for line in own.lines)


async def test_a_dead_contact_is_no_channel(world: World) -> None:
    await world.to_active(DAN)
    assert (await shown(world, DAN)).channels == (Channel.MOBILE,)
    await dead(world, DAN, "mobile", await version_of(world, DAN, "mobile"))
    own = await shown(world, DAN)
    assert own.channels == ()
    assert {line.channel for line in own.lines} == {None}


async def test_what_came_back_goes_by_the_other_channel_next_and_is_no_dead_contact(world: World) -> None:
    await world.to_active(ANN)
    await dead(world, ANN, "email", await version_of(world, ANN, "email"))
    await world.change("UPDATE unreachable_contacts SET why = 'returned'")
    await ask(world, Channel.EMAIL)
    own = await shown(world)
    assert set(own.channels) == {Channel.EMAIL, Channel.MOBILE}
    assert {line.channel for line in own.lines} == {Channel.MOBILE}
    await world.change("UPDATE unreachable_contacts SET version = version + 1")
    assert {line.channel for line in (await shown(world)).lines} == {Channel.EMAIL}
