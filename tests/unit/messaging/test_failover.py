"""The next gateway carries the same message; one that keeps failing rests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing

from chopmark.app.logs import LOGGED
from chopmark.core.types import ChallengeId, Channel, CustomerId, Secret
from chopmark.messaging.attempts import MemoryAttempts
from chopmark.messaging.demo import CODE_GAP, DemoGateway, InboxEntry
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Message, Purpose, Receipt, Verdict

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
REST = timedelta(seconds=30)
MESSAGE = Message(
    message_id="W1",
    channel=Channel.MOBILE,
    destination=Secret("+886912345678"),
    subject="code",
    text=Secret("code 012345 ref BDFG"),
    purpose=Purpose.CODE_RENEWAL,
    at=NOW,
    ttl_s=300,
    customer=CustomerId("C-1"),
    challenge=ChallengeId("A" * 26),
    code=Secret("012345"),
)


class Scripted:
    """A gateway that answers as told: a fault, or taking the message."""

    def __init__(self, name: str, *answers: GatewayFault | None, channel: Channel = Channel.MOBILE) -> None:
        self.channel = channel
        self.name = name
        self.repeats = True
        self.answers = list(answers)
        self.seen: list[Message] = []

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, message: Message) -> Receipt:
        self.seen.append(message)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return Receipt(self.name, "7")


async def test_what_goes_out_once_is_not_given_to_another_gateway_after_a_lost_answer_nor_to_the_same_one_again() -> (
    None
):
    perhaps = GatewayFault(FaultReason.DROPPED, Verdict.LATER, perhaps=True)
    first, second = Scripted("a", perhaps), Scripted("b")
    router = Router([first, second], MemoryAttempts(), once=True)
    for _ in range(2):
        fault = await refused(router)
        assert fault.verdict is Verdict.UNKNOWN
    assert (len(first.seen), len(second.seen)) == (1, 0)
    ordinary = Router([Scripted("a", perhaps), second], MemoryAttempts())
    assert (await ordinary.send(MESSAGE, NOW)).gateway == "b"


async def test_what_goes_out_once_is_given_to_the_next_gateway_if_the_first_certainly_does_not_have_it() -> None:
    router = Router([Scripted("a", down()), Scripted("b")], MemoryAttempts(), once=True)
    assert (await router.send(MESSAGE, NOW)).gateway == "b"


def test_what_goes_out_once_needs_attempts_on_record() -> None:
    with pytest.raises(ValueError, match="on record"):
        Router([Scripted("a")], once=True)


def down() -> GatewayFault:
    return GatewayFault(FaultReason.UNREACHABLE, Verdict.LATER)


async def refused(router: Router, message: Message = MESSAGE, now: datetime = NOW) -> GatewayFault:
    with pytest.raises(GatewayFault) as raised:
        await router.send(message, now)
    return raised.value


async def test_the_first_gateway_that_takes_it_is_the_only_one_asked() -> None:
    first, second = Scripted("a"), Scripted("b")
    assert await Router([first, second]).send(MESSAGE, NOW) == Receipt("a", "7")
    assert second.seen == []


async def test_after_a_retryable_fault_the_next_gateway_gets_the_same_id_and_text() -> None:
    first, mail, second = Scripted("a", down()), Scripted("m", channel=Channel.EMAIL), Scripted("b")
    assert (await Router([first, mail, second]).send(MESSAGE, NOW)).gateway == "b"
    assert second.seen[0] is first.seen[0] is MESSAGE
    assert mail.seen == []


async def test_a_wrong_number_is_final_asks_nobody_else_and_does_not_count_against_the_gateway() -> None:
    final = [GatewayFault(FaultReason.DESTINATION, Verdict.FINAL) for _ in range(9)]
    first, second = Scripted("a", *final), Scripted("b")
    router = Router([first, second])
    for _ in range(9):
        assert (await refused(router)).reason is FaultReason.DESTINATION
    assert second.seen == []
    assert (await router.send(MESSAGE, NOW)).gateway == "a"


async def test_when_all_fail_the_fault_is_retryable_and_the_breakers_open() -> None:
    first, second = Scripted("a", *[down() for _ in range(3)]), Scripted("b", *[down() for _ in range(3)])
    router = Router([first, second])
    for _ in range(3):
        assert (await refused(router)).reason is FaultReason.UNREACHABLE
    fault = await refused(router)
    assert (fault.reason, fault.retryable) == (FaultReason.BREAKERS_OPEN, True)
    assert fault.named is FaultReason.UNREACHABLE
    assert len(first.seen) == len(second.seen) == 3


async def test_a_gateway_that_rested_is_probed_and_closes_when_it_answers() -> None:
    first, second = Scripted("a", *[down() for _ in range(4)]), Scripted("b")
    router = Router([first, second])
    for _ in range(4):
        assert (await router.send(MESSAGE, NOW)).gateway == "b"
    assert len(first.seen) == 3
    assert (await router.send(MESSAGE, NOW + REST)).gateway == "b"  # the probe fails
    assert (await router.send(MESSAGE, NOW + REST)).gateway == "b"  # and it rests again, unasked
    assert len(first.seen) == 4
    assert (await router.send(MESSAGE, NOW + 2 * REST)).gateway == "a"
    assert (await router.send(MESSAGE, NOW + 2 * REST)).gateway == "a"


async def test_a_message_whose_life_is_over_is_not_sent() -> None:
    gateway = Scripted("a")
    fault = await refused(Router([gateway]), now=NOW + timedelta(seconds=300))
    assert (fault.reason, fault.retryable) == (FaultReason.TOO_LATE, False)
    assert gateway.seen == []


async def test_a_channel_without_a_gateway_says_so_and_names_are_unique() -> None:
    assert (await refused(Router([]))).reason is FaultReason.NO_GATEWAY
    with pytest.raises(ValueError, match="share a name"):
        Router([Scripted("a"), Scripted("a")])


@pytest.mark.parametrize("reason", [FaultReason.DEFERRED, FaultReason.DESTINATION])
async def test_what_is_wrong_with_a_recipient_opens_no_breaker_and_is_tried_by_the_next_gateway(
    reason: FaultReason,
) -> None:
    faults = [
        GatewayFault(reason, Verdict.LATER if reason is FaultReason.DEFERRED else Verdict.FINAL) for _ in range(9)
    ]
    first = Scripted("a", *faults)
    router = Router([first])
    for _ in range(9):
        assert (await refused(router)).reason is reason
    assert (await router.send(MESSAGE, NOW)).gateway == "a"


async def test_each_reason_is_one_line_in_the_log_however_many_messages_meet_it() -> None:
    reasons = [FaultReason.TLS, FaultReason.TIMEOUT, FaultReason.DEFERRED] * 4
    router = Router([Scripted("a", *(GatewayFault(r, Verdict.LATER) for r in reasons))], breaker=Breaker(threshold=99))
    with structlog.testing.capture_logs() as lines:
        for minute in (0, 1, 2, 9.9):
            for _ in range(3):
                message = replace(MESSAGE, ttl_s=3600)
                with pytest.raises(GatewayFault):
                    await router.send(message, NOW + timedelta(minutes=minute))
    assert [(line["gateway"], line["kind"]) for line in lines] == [("a", "tls"), ("a", "timeout"), ("a", "deferred")]
    assert all(line["code"] == "post.not_taken" for line in lines)
    assert all(set(line) - {"log_level"} <= LOGGED for line in lines)
    assert "912345678" not in repr(lines)


async def test_a_reason_that_lasts_is_said_again_after_ten_minutes() -> None:
    router = Router([Scripted("a", *[down() for _ in range(2)])], breaker=Breaker(threshold=99))
    with structlog.testing.capture_logs() as lines:
        for minutes in (0, 10):
            with pytest.raises(GatewayFault):
                await router.send(replace(MESSAGE, ttl_s=3600), NOW + timedelta(minutes=minutes))
    assert len(lines) == 2


def test_a_breaker_opens_after_its_threshold_in_a_row_and_admits_one_probe_after_its_rest() -> None:
    breaker = Breaker(threshold=2, rest=REST).failed(NOW)
    assert breaker.admit(NOW) is breaker
    assert breaker.succeeded().failed(NOW).admit(NOW) is not None
    opened = breaker.failed(NOW)
    assert opened.admit(NOW + REST - timedelta(microseconds=1)) is None
    probing = opened.admit(NOW + REST)
    assert probing is not None
    assert probing.admit(NOW + REST) is None
    assert probing.admit(NOW + 2 * REST) is not None  # a probe of unknown fate is forgotten
    assert probing.failed(NOW + REST).admit(NOW + REST) is None
    assert probing.succeeded() == Breaker(threshold=2, rest=REST)


def test_a_fault_shows_codes_only() -> None:
    assert str(down()) == "unreachable, later"
    assert "012345" not in repr(MESSAGE)
    assert "912345678" not in repr(MESSAGE)


class Inbox:
    def __init__(self) -> None:
        self.entries: list[InboxEntry] = []

    async def store(self, entry: InboxEntry) -> None:
        self.entries.append(entry)


async def test_the_demo_inbox_keeps_the_text_without_the_code_and_a_mask_for_the_number() -> None:
    inbox = Inbox()
    gateway: Gateway = DemoGateway(Channel.MOBILE, inbox, lambda number: "•••" + number[-3:])
    assert await Router([gateway]).send(MESSAGE, NOW) == Receipt("demo-mobile", "W1", NOW)
    entry = inbox.entries[0]
    assert (entry.body, entry.masked) == (f"code {CODE_GAP} ref BDFG", "•••678")
    assert (entry.message_id, entry.challenge, entry.at) == ("W1", "A" * 26, NOW)
    assert "012345" not in repr(entry)
    assert "912345678" not in repr(entry)


async def test_the_demo_refuses_a_code_that_it_could_not_leave_out() -> None:
    inbox = Inbox()
    blind = Message("W1", Channel.MOBILE, Secret("+1"), "", Secret("x"), Purpose.CODE_RENEWAL, NOW, 1, CustomerId("C"))
    with pytest.raises(ValueError, match="apart"):
        await DemoGateway(Channel.MOBILE, inbox, str).send(blind)
    assert inbox.entries == []


async def test_what_only_an_operator_can_mend_is_an_alarm_rests_the_gateway_at_once_and_is_tried_again() -> None:
    first, second = Scripted("a", GatewayFault(FaultReason.AUTHENTICATION, Verdict.ALARM)), Scripted("b")
    router = Router([first, second])
    with structlog.testing.capture_logs() as lines:
        assert (await router.send(MESSAGE, NOW)).gateway == "b"
        assert (await router.send(MESSAGE, NOW)).gateway == "b"
    assert len(first.seen) == 1
    alarms = [line for line in lines if line["code"] == "gateway.alarm"]
    assert [(line["gateway"], line["kind"]) for line in alarms] == [("a", "authentication")]
    assert (await router.send(MESSAGE, NOW + REST)).gateway == "a"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.OTHER, Verdict.LATER), Verdict.LATER),
        ((Verdict.LATER, Verdict.UNKNOWN), Verdict.LATER),
        ((Verdict.UNKNOWN, Verdict.OTHER), Verdict.UNKNOWN),
        ((Verdict.OTHER, Verdict.OTHER), Verdict.OTHER),
        ((Verdict.UNKNOWN, Verdict.FINAL), Verdict.FINAL),
        ((Verdict.ALARM, Verdict.UNKNOWN), Verdict.ALARM),
    ],
)
async def test_what_the_faults_of_all_gateways_come_to(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    gateways = [Scripted(f"g{n}", GatewayFault(FaultReason.BUSY, verdict)) for n, verdict in enumerate(verdicts)]
    assert (await refused(Router(gateways))).verdict is expected


def test_a_gateway_that_must_not_get_a_message_twice_needs_attempts_on_record() -> None:
    gateway = Scripted("a")
    gateway.repeats = False
    with pytest.raises(ValueError, match="on record"):
        Router([gateway])
    Router([gateway], MemoryAttempts())
