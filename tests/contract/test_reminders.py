"""Reminders on both databases: who is told, when, by which channel, and what stops it."""

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import pytest

from chopmark.app.settings_reminders import Reminders
from chopmark.app.worker import tasks
from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream
from chopmark.core.types import Channel, CustomerId, text
from chopmark.messaging.configuration import SendLimits
from chopmark.messaging.ports import FaultReason, GatewayFault, Verdict
from chopmark.messaging.reports import Report, ReportState
from chopmark.ra.former_issuers import GoodThere, NoStatus, RevokedThere, StatusThere, UnknownThere
from chopmark.ra.reminders.policy import Hours, Step
from chopmark.ra.reminders.ports import Wishes
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.reminders.queue import ReminderPreferenceRepository, ReminderQueueRepository
from chopmark.store.repositories.restored import RestoredRepository
from chopmark.tw.zone import TAIPEI
from tests.contract.reminded import Plain, Reminded, of_old_ca, taipei, with_policy
from tests.contract.world import ANN, BEN, DAN, EVE, FAY, World, world_fixture

world = world_fixture()
FRIDAY = taipei(2026, 7, 31, 23, 59, 59)
"""A trading day; a month before it is Tuesday 30 June."""
DEAD = GatewayFault(FaultReason.DESTINATION, Verdict.FINAL)
BUSY = GatewayFault(FaultReason.BUSY, Verdict.LATER)
LOST = GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Known(NoStatus):
    """What is known of every imported certificate; None where its CA would have to be asked, which nobody may do."""

    answer: StatusThere | None

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        raise AssertionError("a reminder asks no other company")

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        assert (issuer, serial) == ("old", "01")
        return self.answer


@pytest.fixture
async def reminded(world: World) -> Reminded:
    made = Reminded(world, people=world.services.identity.people)
    await made.at(2026, 6, 25, 12)
    return made


async def test_one_certificate_is_told_at_the_opening_and_14_7_3_1_and_0_days_before_its_last_trading_day(
    reminded: Reminded,
) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.until(2026, 8, 2)
    assert reminded.sent == [
        ("2026-06-30", "mail", ANN),
        ("2026-07-17", "mail", ANN),
        ("2026-07-24", "mail", ANN),
        ("2026-07-28", "sms", ANN),
        ("2026-07-30", "sms", ANN),
        ("2026-07-31", "sms", ANN),
    ]
    assert await reminded.states() == {"sent": 6}
    assert all(_minutes(one.handed_at) >= 13 * 60 + 40 for one in reminded.mail.got if one.handed_at)


def _minutes(moment: datetime) -> int:
    local = moment.astimezone(TAIPEI)
    return local.hour * 60 + local.minute


async def test_a_certificate_that_ends_in_the_new_year_holidays_is_told_before_they_begin(reminded: Reminded) -> None:
    await reminded.at(2027, 1, 20, 12)
    calendar = reminded.rules.calendar
    ends = taipei(2027, 2, 9, 12)  # the exchange is closed around the new year of 6 February 2027
    assert not calendar.is_trading_day(date(2027, 2, 9))
    last = calendar.last_trading_day_within(ends)
    await reminded.certificate(ANN, ends)
    await reminded.until(2027, 2, 10)
    days = [date.fromisoformat(day) for day, _, _ in reminded.sent]
    assert days[-1] == last
    assert days[-2] == last - timedelta(days=1)


async def test_nobody_is_told_of_a_certificate_that_was_replaced_between_plan_and_sending(reminded: Reminded) -> None:
    serial = await reminded.certificate(ANN, FRIDAY)
    await reminded.certificate(BEN, FRIDAY)
    await reminded.at(2026, 6, 30, 3)
    await reminded.plan()
    await reminded.at(2026, 6, 30, 19, 59)
    await reminded.replaced(serial)
    await reminded.send()
    assert reminded.sent == [("2026-06-30", "mail", BEN)]
    assert await reminded.states() == {"stopped": 1, "sent": 1}
    await reminded.until(2026, 8, 2)
    assert {customer for _, _, customer in reminded.sent} == {BEN}


async def test_the_claim_itself_asks_whether_a_living_certificate_stands_behind_the_reminder(
    reminded: Reminded,
) -> None:
    serial = await reminded.certificate(ANN, FRIDAY)
    await reminded.at(2026, 6, 30, 3)
    await reminded.plan()
    await reminded.at(2026, 6, 30, 19, 59)
    queue, now = ReminderQueueRepository(reminded.world.engine), reminded.world.clock.now()

    async def claimed(holder: str) -> int:
        return len(await queue.claim(holder, now, date(2026, 6, 30), Step(3), most=10, per_minute=100))

    await reminded.world.change("UPDATE holdings SET state = 'held' WHERE serial = :serial", serial=serial)
    assert await claimed("one") == 0
    await reminded.world.change("UPDATE holdings SET state = 'active' WHERE serial = :serial", serial=serial)
    assert await claimed("one") == 1
    assert await claimed("two") == 0  # one has the lease
    used = await reminded.world.rows("SELECT used FROM counters WHERE name = 'reminders:1m'")
    assert used == [{"used": 1}]


async def test_several_certificates_of_a_customer_are_told_in_one_message_a_day(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.certificate(ANN, FRIDAY - timedelta(days=1), profile="investor-market")
    await reminded.imported(ANN, FRIDAY - timedelta(days=2), profile="third")
    await reminded.until(2026, 8, 2)
    days = [day for day, _, _ in reminded.sent]
    assert len(set(days)) == len(days) <= 9
    assert await reminded.world.count("reminded_certificates") == 18
    assert "3" in reminded.mail.got[-1].text.reveal()
    assert "您有 3 張電子憑證" in reminded.mail.got[-1].text.reveal()


async def test_imported_certificates_are_told_unless_ours_or_a_later_one_took_their_place(reminded: Reminded) -> None:
    await reminded.imported(ANN, FRIDAY, 1)
    await reminded.imported(BEN, FRIDAY, 2)
    await reminded.imported(BEN, FRIDAY + timedelta(days=90), 3)
    await reminded.imported(FAY, FRIDAY, 4)
    await reminded.certificate(FAY, FRIDAY + timedelta(days=300))
    await reminded.imported(DAN, FRIDAY, 5, state="staged")
    await reminded.until(2026, 8, 2)
    assert {customer for _, _, customer in reminded.sent} == {ANN}


@pytest.mark.parametrize(
    ("answer", "way", "bits", "applies"),
    [
        (GoodThere(FRIDAY), "file", 0, False),
        (None, "file", 0, False),
        (None, "file", 1024, True),
        (UnknownThere(text("late")), "file", 0, True),
        (GoodThere(FRIDAY - timedelta(days=90)), "file", 0, True),
        (RevokedThere("superseded"), "file", 0, True),
        (GoodThere(FRIDAY), "vault", 0, True),
        (GoodThere(FRIDAY), "none", 0, True),
    ],
)
async def test_a_reminder_says_to_apply_where_an_imported_certificate_cannot_be_renewed(
    reminded: Reminded, answer: StatusThere | None, way: str, bits: int, applies: bool
) -> None:
    await reminded.imported(ANN, FRIDAY, 1)
    await reminded.world.change("UPDATE imported_certificates SET way = :way, der = :der", way=way, der=of_old_ca(bits))
    await reminded.certificate(BEN, FRIDAY)
    reminded.former = Known(answer)
    await reminded.until(2026, 7, 1)
    said = {str(one.customer): one for one in reminded.mail.got}
    assert said.keys() == {ANN, BEN}
    assert ("申請新憑證" in said[ANN].text.reveal()) is applies
    entry = said[ANN].attachment
    assert entry is not None
    assert ("申請" in entry.content.decode()) is applies
    assert "申請" not in said[BEN].text.reveal(), "one of ours renews"


async def test_after_a_long_outage_only_the_newest_step_is_told(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.until(2026, 7, 12)
    for day in (16, 19, 23):  # plans are made, and no worker sends
        await reminded.at(2026, 7, day, 3)
        await reminded.plan()
    await reminded.at(2026, 7, 28, 19, 59)
    await reminded.plan()
    await reminded.send()
    assert [day for day, _, _ in reminded.sent] == ["2026-06-30", "2026-07-28"]
    assert await reminded.states() == {"sent": 2, "skipped": 2, "planned": 2}


async def test_a_clock_that_leaps_forth_and_back_tells_no_step_twice(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.until(2026, 7, 1)
    await reminded.at(2026, 7, 29, 18)
    await reminded.plan()
    await reminded.send()
    await reminded.at(2026, 7, 2, 12)
    await reminded.until(2026, 8, 2)
    told = await reminded.world.rows("SELECT certificate, step FROM reminded_certificates")
    assert len({(row["certificate"], row["step"]) for row in told}) == len(told)
    assert reminded.twice == []
    assert len({day for day, _, _ in reminded.sent}) == len(reminded.sent)
    assert ("2026-07-31", "sms", ANN) in reminded.sent


async def test_a_customer_without_a_working_contact_is_on_the_list_and_one_with_another_channel_is_told_there(
    reminded: Reminded,
) -> None:
    for customer in (DAN, EVE, ANN):
        await reminded.certificate(customer, FRIDAY)
    await reminded.world.change("DELETE FROM contacts WHERE customer = :customer", customer=ANN)
    await reminded.until(2026, 7, 1)
    assert reminded.sent == [("2026-06-30", "mail", EVE), ("2026-06-30", "sms", DAN)]
    rows = await reminded.world.rows("SELECT customer, why FROM reminders WHERE state = 'unreachable'")
    assert rows == [{"customer": ANN, "why": "no_contact"}]


async def test_a_dead_number_is_noted_and_the_mail_is_sent_instead(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    reminded.sms.answers = [DEAD]
    await reminded.at(2026, 7, 28, 3)
    await reminded.plan()
    await reminded.until(2026, 8, 2)
    assert [(day, way) for day, way, _ in reminded.sent] == [
        ("2026-07-28", "mail"),
        ("2026-07-28", "sms"),
        ("2026-07-30", "mail"),
        ("2026-07-31", "mail"),
    ]
    rows = await reminded.world.rows("SELECT customer, channel, version, why FROM unreachable_contacts")
    assert rows == [{"customer": ANN, "channel": "mobile", "version": 1, "why": "destination"}]


@pytest.mark.parametrize(
    ("reason", "state"), [(FaultReason.DESTINATION, "unreachable"), (FaultReason.CONTENT, "failed")]
)
async def test_what_no_gateway_takes_ends_with_the_last_reason(
    reminded: Reminded, reason: FaultReason, state: str
) -> None:
    await reminded.certificate(DAN, FRIDAY)  # has no mail address
    reminded.sms.answers = [GatewayFault(reason, Verdict.FINAL)]
    await reminded.until(2026, 7, 1)
    rows = await reminded.world.rows("SELECT state, why FROM reminders")
    assert rows == [{"state": state, "why": reason.value}]


async def test_a_report_that_nothing_arrived_marks_the_contact_and_one_that_it_did_frees_it(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.at(2026, 7, 28, 3)
    await reminded.plan()
    await reminded.at(2026, 7, 28, 19, 59)
    await reminded.send()
    store = DeliveryRepository(reminded.world.engine)
    now = reminded.world.clock.now()
    assert await store.reported("sms", Report("sms-1", ReportState.FAILED), now)
    rows = await reminded.world.rows("SELECT customer, channel, why FROM unreachable_contacts")
    assert rows == [{"customer": ANN, "channel": "mobile", "why": "reported"}]
    assert await store.reported("sms", Report("sms-1", ReportState.DELIVERED), now)
    assert await reminded.world.count("unreachable_contacts") == 0


async def test_a_failed_code_says_nothing_about_a_contact_and_a_failed_notice_does(reminded: Reminded) -> None:
    for kind in ("code", "notice"):
        await reminded.world.change(
            "INSERT INTO work (id, kind, customer, channel, contact_version, facts, attempts, not_before, "
            "leased_until, done_at, outcome) "
            f"VALUES ('{kind}', '{kind}', 'C1', 'mobile', 1, '{{}}', 0, 0, 0, 0, 'sent')"
        )
        await reminded.world.change(
            "INSERT INTO deliveries (message, gateway, fate, tries, begun_at, provider_id) "
            f"VALUES ('{kind}', 'sms', 'taken', 1, 0, '{kind}')"
        )
    store, now = DeliveryRepository(reminded.world.engine), reminded.world.clock.now()
    assert await store.reported("sms", Report("code", ReportState.FAILED), now)
    assert await reminded.world.count("unreachable_contacts") == 0
    assert await store.reported("sms", Report("notice", ReportState.FAILED), now)
    assert await reminded.world.count("unreachable_contacts") == 1


async def test_a_lost_answer_is_shown_and_not_repeated_by_any_gateway(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    reminded.sms.answers = [LOST]
    await reminded.at(2026, 7, 28, 3)
    await reminded.plan()
    await reminded.until(2026, 7, 29)
    assert [(day, way) for day, way, _ in reminded.sent] == [("2026-07-28", "sms")]
    rows = await reminded.world.rows("SELECT state, why, channel FROM reminders WHERE day = '2026-07-28'")
    assert rows == [{"state": "unknown", "why": "timeout", "channel": "mobile"}]


async def test_a_mail_that_may_have_been_taken_is_not_sent_again_either(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    reminded.mail.answers = [GatewayFault(FaultReason.DROPPED, Verdict.LATER, perhaps=True)]
    await reminded.until(2026, 7, 2)
    assert [(day, way) for day, way, _ in reminded.sent] == [("2026-06-30", "mail")]
    assert await reminded.states() == {"unknown": 1}


async def test_a_busy_gateway_is_asked_again_and_after_a_while_the_other_channel_carries_the_message(
    reminded: Reminded,
) -> None:
    await reminded.certificate(ANN, FRIDAY)
    reminded.mail.answers = [BUSY] * 9
    await reminded.at(2026, 6, 30, 3)
    await reminded.plan()
    await reminded.at(2026, 6, 30, 19, 30)
    for _ in range(40):
        await reminded.send()
        reminded.world.clock.later(seconds=30)
    assert (len(reminded.mail.got), len(reminded.sms.got)) == (3, 1)
    assert await reminded.states() == {"sent": 1}


async def asked(reminded: Reminded, wishes: Wishes) -> None:
    """Store what Ann asks for, with its record."""
    preferences, now = ReminderPreferenceRepository(reminded.world.engine), reminded.world.clock.now()

    async def attempt(builder: RecordBuilder) -> None:
        record = builder.record(Event.RA_REMINDERS_ASKED, customer=ANN)
        await preferences.put(CustomerId(ANN), wishes, now, record)

    assert isinstance(reminded.world, World)
    await reminded.world.services.foundation.audit_log.write(customer_stream(CustomerId(ANN)), attempt)


async def test_a_pause_holds_early_steps_back_and_not_the_last_ones(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await asked(reminded, Wishes(Channel.MOBILE, "en", taipei(2026, 8, 20)))
    await reminded.until(2026, 8, 2)
    assert [day for day, _, _ in reminded.sent] == ["2026-07-28", "2026-07-30", "2026-07-31"]
    assert await reminded.states() == {"sent": 3, "skipped": 3}
    assert "Demo Securities" in reminded.sms.got[0].text.reveal()


async def test_the_channel_that_the_customer_wants_comes_first(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    preferences = ReminderPreferenceRepository(reminded.world.engine)
    await asked(reminded, Wishes(Channel.MOBILE))
    assert await preferences.of(CustomerId(ANN)) == Wishes(Channel.MOBILE)
    await reminded.until(2026, 8, 2)
    assert {way for _, way, _ in reminded.sent} == {"sms"}


async def test_no_reminder_is_claimed_while_a_code_waits(reminded: Reminded) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.at(2026, 6, 30, 3)
    await reminded.plan()
    await reminded.at(2026, 6, 30, 19, 59)
    await reminded.world.change(
        "INSERT INTO work (id, kind, facts, attempts, not_before, leased_until) VALUES ('w', 'code', '{}', 0, 0, 0)"
    )
    assert await reminded.reminding().once() == 0
    assert reminded.sent == []
    await reminded.world.change("UPDATE work SET done_at = 0 WHERE id = 'w'")
    assert await reminded.reminding().once() == 1


@pytest.mark.parametrize("job", ["remind-plan", "remind"])
async def test_the_worker_has_the_jobs_of_reminders_and_a_firm_may_switch_them_off(world: World, job: str) -> None:
    assert await world.once(job) == 0
    foundation = world.services.foundation
    silent = foundation.settings.model_copy(update={"reminders": Reminders(send="no")})
    services = replace(world.services, foundation=replace(foundation, settings=silent))
    assert job not in {task.name for task in tasks(services)}


async def test_reminders_leave_a_part_of_each_gateways_day_for_codes(reminded: Reminded) -> None:
    await reminded.crowd(9, FRIDAY)
    limited = replace(reminded, people=Plain(), limits={"sms": SendLimits(per_day=6)})
    await limited.at(2026, 7, 28, 3)
    await limited.plan()
    await limited.at(2026, 7, 28, 19, 59)
    await limited.send()
    assert len(limited.sms.got) == 3
    used = await limited.world.rows("SELECT used FROM counters WHERE name = 'gateway:sms:1d'")
    assert used == [{"used": 3}]
    assert len(limited.mail.got) == 6


async def test_a_minute_and_a_day_have_no_more_than_the_settings_say_and_urgent_steps_do_not_yield(
    reminded: Reminded,
) -> None:
    small = with_policy(replace(reminded, people=Plain()), capacity=4, per_minute=3)
    people = await small.crowd(12, FRIDAY)
    await small.until(2026, 6, 30, 4)
    await small.at(2026, 6, 30, 19, 59)
    await small.send()
    assert len(small.sent) == 3
    small.world.clock.later(minutes=1)
    await small.at(2026, 7, 1, 19, 50)
    for _ in range(4):
        small.world.clock.later(seconds=61)
        await small.send()
    planned = await small.world.rows("SELECT day, COUNT(*) AS n FROM reminders GROUP BY day ORDER BY day")
    assert [int(row["n"]) for row in planned] == [4, 4, 4]
    await small.until(2026, 7, 28, 9)
    rows = await small.world.rows("SELECT day, COUNT(*) AS n FROM reminders WHERE step = '3' GROUP BY day ORDER BY day")
    assert sum(int(row["n"]) for row in rows) == len(people)
    assert [int(row["n"]) for row in rows] == [4, 4, 4]
    assert max(row["day"] for row in rows) == "2026-07-28"


async def test_quiet_hours_and_the_opening_are_kept_by_planning_and_by_sending(reminded: Reminded) -> None:
    early = with_policy(reminded, sending=Hours(time(8), time(20)))
    await early.crowd(20, FRIDAY)
    await early.at(2026, 6, 30, 3)
    await early.plan()
    for hour, minute in ((7, 59), (8, 30), (9, 0), (13, 34), (20, 0), (23, 0)):
        await early.at(2026, 6, 30, hour, minute)
        before = len(early.sent)
        await early.send()
        assert len(early.sent) == before
    due = await early.world.rows("SELECT due_at FROM reminders")
    minutes = [int(row["due_at"]) // 60000 % 1440 + 480 for row in due]
    assert all(480 <= one % 1440 < 510 or 815 <= one % 1440 < 1200 for one in minutes)


async def test_a_restore_closes_what_may_have_been_sent_as_unknown_and_goes_on_with_later_steps(
    reminded: Reminded,
) -> None:
    await reminded.certificate(ANN, FRIDAY)
    await reminded.at(2026, 6, 29, 3)
    await reminded.plan()
    await reminded.at(2026, 7, 17, 20, 30)  # the copy that was restored is of 29 June
    await RestoredRepository(reminded.world.engine).renew_status(reminded.world.clock.now())
    await reminded.until(2026, 8, 2)
    assert [day for day, _, _ in reminded.sent] == ["2026-07-24", "2026-07-28", "2026-07-30", "2026-07-31"]
    rows = await reminded.world.rows("SELECT state, COUNT(*) AS n FROM reminders GROUP BY state ORDER BY state")
    assert rows == [{"state": "sent", "n": 4}, {"state": "unknown", "n": 2}]
