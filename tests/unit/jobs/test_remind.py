"""What the sending of reminders does with what gateways answer: tried again, closed, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from chopmark.app.trading_calendar import trading_calendar
from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.identity.ports import ContactRow
from chopmark.jobs.remind import Reminding
from chopmark.messaging.attempts import Attempt, Fate, MemoryAttempts
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.templates import Sender
from chopmark.ra.reminders.policy import OPENING, ReminderPolicy, Step
from chopmark.ra.reminders.ports import (
    DeadContact,
    LivingCertificate,
    Outcome,
    Reminder,
    ReminderPapers,
    ReminderRules,
    ReminderState,
    Wishes,
)
from tests.tables import Clock

NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)  # Friday, two o'clock in Taipei
ANN = CustomerId("ann")
RULES = ReminderRules(ReminderPolicy(), trading_calendar(None), lambda ends: ends - timedelta(days=30))
BUSY = GatewayFault(FaultReason.TIMEOUT, Verdict.LATER)
NO_NUMBER = GatewayFault(FaultReason.DESTINATION, Verdict.FINAL)
CONTENT = GatewayFault(FaultReason.CONTENT, Verdict.OTHER)
LOST = GatewayFault(FaultReason.DROPPED, Verdict.UNKNOWN)


@dataclass
class Gateway:
    """Answers each message in the same way."""

    channel: Channel
    answer: GatewayFault | None = None
    repeats: bool = False
    got: list[Message] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.channel.value

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, message: Message) -> Receipt:
        self.got.append(message)
        if self.answer is not None:
            raise self.answer
        return Receipt(self.name, "1")


@dataclass
class Queue:
    """Gives these reminders out once, and keeps what became of each."""

    reminders: Sequence[Reminder]
    read: ReminderPapers
    ended: dict[str, Outcome] = field(default_factory=dict)
    later: dict[str, timedelta] = field(default_factory=dict)
    marked: list[tuple[Channel, FaultReason]] = field(default_factory=list)
    swept: int = 0
    broken: str = ""

    async def sweep(self, now: datetime, today: date, urgent: Step, most: int) -> int:
        self.swept += 1
        return 0

    async def claim(
        self, holder: str, now: datetime, today: date, urgent: Step, *, most: int, per_minute: int
    ) -> list[Reminder]:
        return list(self.reminders[:most])

    async def papers(self, reminders: Sequence[Reminder], now: datetime) -> ReminderPapers:
        return self.read

    async def end(self, reminder: Reminder, holder: str, outcome: Outcome, now: datetime) -> bool:
        if reminder.id == self.broken:
            raise ConnectionError
        self.ended[reminder.id] = outcome
        return True

    async def retry(self, reminder: Reminder, holder: str, at: datetime) -> bool:
        self.later[reminder.id] = at - NOW
        return True

    async def dead(self, customer: CustomerId, channel: Channel, version: int, why: FaultReason, now: datetime) -> None:
        self.marked.append((channel, why))


class Plain:
    """Contacts that are not sealed."""

    def opened(self, row: ContactRow) -> Secret:
        return Secret(row.value_sealed.decode())


def contact(channel: Channel, value: str, version: int = 4) -> ContactRow:
    return ContactRow(ANN, channel, version, value.encode(), "h", NOW, NOW, None)


MAIL, PHONE = contact(Channel.EMAIL, "ann@example.com"), contact(Channel.MOBILE, "+886912345678")
LIVING = LivingCertificate("S1", ANN, NOW + timedelta(days=5), None)
PAPERS = ReminderPapers([MAIL, PHONE], [], {}, {ANN: [LIVING]}, {})


def reminder(attempts: int = 1, name: str = "R1", step: Step = OPENING) -> Reminder:
    """A reminder of an early step: the mail is tried first, and then the phone."""
    return Reminder(name, ANN, NOW.date(), step, NOW + timedelta(hours=6), attempts, NOW)


@dataclass
class Round:
    """One turn of the job."""

    queue: Queue
    mail: Gateway = field(default_factory=lambda: Gateway(Channel.EMAIL))
    phone: Gateway = field(default_factory=lambda: Gateway(Channel.MOBILE))

    async def once(self) -> int:
        router = Router((self.mail, self.phone), MemoryAttempts(), breaker=Breaker(threshold=99), once=True)
        sender = Sender("示範證券", "Demo Securities", "02-1234-5678")
        return await Reminding(self.queue, RULES, Plain(), router, sender, Clock(NOW), "one").once()


def round_of(*reminders: Reminder, papers: ReminderPapers = PAPERS) -> Round:
    return Round(Queue(reminders or (reminder(),), papers))


async def test_a_reminder_that_is_taken_is_closed_with_what_took_it() -> None:
    turn = round_of()
    assert await turn.once() == 1
    assert turn.queue.ended == {"R1": Outcome(ReminderState.SENT, None, Channel.EMAIL, 4, "email", 1)}
    assert (len(turn.mail.got), turn.phone.got) == (1, [])
    (message,) = turn.mail.got
    assert message.destination.reveal() == "ann@example.com"
    assert message.ttl_s == 6 * 3600  # it is of no use after its day's hours of sending
    assert message.attachment is not None


@pytest.mark.parametrize(
    ("attempts", "wait_s", "channels"), [(1, 30, 1), (2, 60, 1), (3, 120, 2), (5, 480, 2), (7, 1800, 2)]
)
async def test_a_busy_gateway_is_tried_again_ever_later_and_from_the_third_time_on_the_other_channel_too(
    attempts: int, wait_s: int, channels: int
) -> None:
    turn = round_of(reminder(attempts))
    turn.mail.answer = turn.phone.answer = BUSY
    await turn.once()
    assert turn.queue.later == {"R1": timedelta(seconds=wait_s)}
    assert turn.queue.ended == {}
    assert len(turn.mail.got) + len(turn.phone.got) == channels


async def test_after_eight_times_it_has_failed_with_the_last_reason() -> None:
    turn = round_of(reminder(8))
    turn.mail.answer = turn.phone.answer = BUSY
    await turn.once()
    assert turn.queue.ended == {"R1": Outcome(ReminderState.FAILED, "timeout")}
    assert turn.queue.later == {}


@pytest.mark.parametrize(
    ("mail", "phone", "outcome", "marked"),
    [
        (NO_NUMBER, NO_NUMBER, Outcome(ReminderState.UNREACHABLE, "destination"), [Channel.EMAIL, Channel.MOBILE]),
        (CONTENT, NO_NUMBER, Outcome(ReminderState.FAILED, "destination"), [Channel.MOBILE]),
        (CONTENT, CONTENT, Outcome(ReminderState.FAILED, "content"), []),
        (NO_NUMBER, None, Outcome(ReminderState.SENT, None, Channel.MOBILE, 4, "mobile", 1), [Channel.EMAIL]),
        (LOST, None, Outcome(ReminderState.UNKNOWN, "dropped", Channel.EMAIL, 4), []),
    ],
)
async def test_what_gateways_say_decides_how_a_reminder_ends_and_which_contact_is_dead(
    mail: GatewayFault | None, phone: GatewayFault | None, outcome: Outcome, marked: list[Channel]
) -> None:
    turn = round_of()
    turn.mail.answer, turn.phone.answer = mail, phone
    await turn.once()
    assert turn.queue.ended == {"R1": outcome}
    assert turn.queue.marked == [(channel, FaultReason.DESTINATION) for channel in marked]
    if mail is LOST:
        assert turn.phone.got == []  # perhaps the customer has it


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [
        (Fate.TAKEN, Outcome(ReminderState.SENT, gateway="sms")),
        (Fate.BEGUN, Outcome(ReminderState.UNKNOWN, "crashed")),
        (Fate.UNKNOWN, Outcome(ReminderState.UNKNOWN, "crashed")),
        (Fate.LATER, None),
        (Fate.REFUSED, None),
    ],
)
async def test_what_an_earlier_attempt_may_have_sent_is_closed_and_not_sent_again(
    fate: Fate, outcome: Outcome | None
) -> None:
    turn = round_of(papers=replace(PAPERS, attempts={"R1": [Attempt("R1", "sms", fate, None, None)]}))
    await turn.once()
    assert len(turn.mail.got) == (outcome is None)
    assert outcome is None or turn.queue.ended == {"R1": outcome}


def dead(version: int, days: int) -> DeadContact:
    return DeadContact(ANN, Channel.EMAIL, version, "reported", NOW - timedelta(days=days))


@pytest.mark.parametrize(
    ("papers", "by_mail", "by_phone"),
    [
        pytest.param(PAPERS, 1, 0, id="mail first"),
        pytest.param(replace(PAPERS, contacts=[PHONE]), 0, 1, id="no mail"),
        pytest.param(replace(PAPERS, contacts=[replace(MAIL, disputed_at=NOW), PHONE]), 0, 1, id="not theirs"),
        pytest.param(replace(PAPERS, dead=[dead(4, 59)]), 0, 1, id="nothing arrives"),
        pytest.param(replace(PAPERS, dead=[dead(4, 60)]), 1, 0, id="long ago"),
        pytest.param(replace(PAPERS, dead=[dead(3, 1)]), 1, 0, id="another address then"),
        pytest.param(replace(PAPERS, dead=[replace(dead(4, 1), customer=CustomerId("ben"))]), 1, 0, id="another's"),
        pytest.param(replace(PAPERS, wishes={ANN: Wishes(Channel.MOBILE)}), 0, 1, id="as wished"),
        pytest.param(replace(PAPERS, living={}), 0, 0, id="nothing to renew"),
        pytest.param(
            replace(PAPERS, living={ANN: [replace(LIVING, not_after=NOW + timedelta(days=31))]}), 0, 0, id="too early"
        ),
    ],
)
async def test_the_first_contact_at_which_messages_arrive_is_used(
    papers: ReminderPapers, by_mail: int, by_phone: int
) -> None:
    turn = round_of(papers=papers)
    await turn.once()
    assert (len(turn.mail.got), len(turn.phone.got)) == (by_mail, by_phone)
    state = ReminderState.SENT if by_mail or by_phone else ReminderState.STOPPED
    assert turn.queue.ended["R1"].state is state


@pytest.mark.parametrize(
    ("papers", "why"),
    [
        (replace(PAPERS, contacts=[]), "no_contact"),
        (replace(PAPERS, contacts=[replace(MAIL, disputed_at=NOW)]), "disputed"),
        (replace(PAPERS, contacts=[MAIL], dead=[dead(4, 1)]), "reported"),
    ],
)
async def test_a_customer_without_a_contact_is_unreachable_for_the_first_ones_reason(
    papers: ReminderPapers, why: str
) -> None:
    turn = round_of(papers=papers)
    await turn.once()
    assert turn.queue.ended == {"R1": Outcome(ReminderState.UNREACHABLE, why)}


async def test_a_fault_of_one_reminder_stops_the_job_after_the_others_are_closed() -> None:
    turn = round_of(*(reminder(name=f"R{number}") for number in range(3)))
    turn.queue.broken = "R0"
    with pytest.raises(ConnectionError):
        await turn.once()
    assert sorted(turn.queue.ended) == ["R1", "R2"]


@pytest.mark.parametrize(("number", "worked", "swept"), [(0, 0, 1), (9, 9, 1), (10, 10, 0), (11, 10, 0)])
async def test_ten_are_sent_at_a_time_and_what_is_not_to_be_sent_is_closed_after_the_last(
    number: int, worked: int, swept: int
) -> None:
    turn = Round(Queue([reminder(name=f"R{one}") for one in range(number)], PAPERS))
    assert await turn.once() == worked
    assert (len(turn.queue.ended), turn.queue.swept) == (worked, swept)


@pytest.mark.parametrize(("language", "words"), [("en", "Demo Securities"), (None, "示範證券")])
async def test_a_reminder_is_written_in_the_customers_language(language: str | None, words: str) -> None:
    turn = round_of(papers=replace(PAPERS, wishes={ANN: Wishes(None, language)}))
    await turn.once()
    assert words in turn.mail.got[0].text.reveal()
