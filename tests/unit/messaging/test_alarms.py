"""What a process tells of a fault and how often, what operators read of it, and what is logged when nobody takes it."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import structlog.testing

from chopmark.app.logs import LOGGED
from chopmark.jobs.alarms import tell
from chopmark.messaging.alarms import Alarm, Alarming, AlarmKind, Due, Note, ending_alarm, gateway_alarm, written
from chopmark.messaging.ports import FaultReason

NOW = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
HERE = "https://portal.example"
DOWN = Alarm(AlarmKind.GATEWAY_DOWN, "gateway:a", {"gateway": "a", "reason": "timeout", "detail": "-"})
REFUSED = Alarm(AlarmKind.GATEWAY_ACCOUNT, "gateway:a", DOWN.facts)


class Book:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def raised(self, alarm: Alarm, now: datetime) -> None:
        """Keep what is wrong, and when."""
        self.told.append(f"{alarm.kind.value} {(now - NOW).total_seconds():g}")

    async def well(self, subject: str, now: datetime) -> None:
        """Keep what is well, and when."""
        self.told.append(f"well {(now - NOW).total_seconds():g}")


@pytest.fixture
def book() -> Book:
    return Book()


async def test_what_lasts_is_stored_once_a_minute_and_so_is_that_nothing_is_wrong(book: Book) -> None:
    alarming = Alarming(book)
    for second in (0, 0, 1, 59, 60, 61, 119, 120):
        await alarming.raised(DOWN, NOW + second * SECOND)
    assert book.told == ["gateway_down 0", "gateway_down 60", "gateway_down 120"]
    book.told.clear()
    for second in (121, 122, 180, 181, 240, 241):
        await alarming.well(DOWN.subject, NOW + second * SECOND)
    assert book.told == ["well 121", "well 181", "well 241"]


async def test_a_change_is_stored_at_once_however_short_it_is(book: Book) -> None:
    alarming = Alarming(book)
    await alarming.raised(DOWN, NOW)
    await alarming.raised(REFUSED, NOW + SECOND)
    await alarming.well(DOWN.subject, NOW + 2 * SECOND)
    await alarming.raised(DOWN, NOW + 3 * SECOND)
    await alarming.well(DOWN.subject, NOW + 4 * SECOND)
    await alarming.raised(REFUSED, NOW + 5 * SECOND)
    assert book.told == [
        "gateway_down 0",
        "gateway_account 1",
        "well 2",
        "gateway_down 3",
        "well 4",
        "gateway_account 5",
    ]


async def test_a_clock_that_was_ahead_silences_nothing(book: Book) -> None:
    alarming = Alarming(book)
    await alarming.raised(DOWN, NOW + DAY)
    await alarming.raised(DOWN, NOW)
    assert book.told == ["gateway_down 86400", "gateway_down 0"]


@pytest.mark.parametrize(
    ("kind", "subject"), [(AlarmKind.GATEWAY_DOWN, "gateway:a"), (AlarmKind.PUMPING, "sms-pumping")]
)
def test_a_gateways_alarm_names_its_reason_and_the_code_that_it_gave(kind: AlarmKind, subject: str) -> None:
    alarm = gateway_alarm(kind, "a", FaultReason.TIMEOUT, "E17")
    assert (alarm.kind, alarm.subject) == (kind, subject)  # pumping is not one gateway's
    assert alarm.facts == {"gateway": "a", "reason": FaultReason.TIMEOUT.value, "detail": "E17"}
    assert gateway_alarm(kind, "a", FaultReason.TIMEOUT).facts["detail"] == "-"


@pytest.mark.parametrize(
    ("left", "grade"),
    [
        (-DAY, 0), (timedelta(0), 0), (SECOND, 1), (DAY, 1), (DAY + SECOND, 7), (7 * DAY, 7), (7 * DAY + SECOND, 14),
        (14 * DAY, 14), (14 * DAY + SECOND, 30), (30 * DAY, 30),
    ],
)  # fmt: skip
def test_the_end_of_a_certificate_becomes_more_urgent_step_by_step(left: timedelta, grade: int) -> None:
    found = ending_alarm("the CA", NOW + left, NOW, "renew it")
    assert found is not None
    assert found.grade == grade
    words = ("has ended on", "已於") if grade == 0 else ("ends on", "將於")
    note = written(Due(found, NOW, over=False, told=False), HERE)
    assert all(word in note.text for word in words)
    assert ("has ended" in note.text) is (grade == 0)
    assert note.subject == "[Chopmark ALARM] ending: the CA"


def test_an_end_that_is_further_off_than_asked_for_is_no_alarm() -> None:
    assert ending_alarm("the CA", NOW + 30 * DAY + SECOND, NOW, "renew it") is None
    assert ending_alarm("the CA", NOW + 8 * DAY, NOW, "renew it", first=7) is None
    assert ending_alarm("the CA", NOW + 7 * DAY, NOW, "renew it", first=7) is not None


def _names(alarm: Alarm) -> str:
    return written(Due(alarm, NOW, over=False, told=False), HERE).subject.partition(": ")[2]


def test_a_note_says_whether_it_is_over_and_what_it_is_about() -> None:
    lasting, over = (written(Due(DOWN, NOW, over=one, told=True), HERE) for one in (False, True))
    assert lasting.subject == "[Chopmark ALARM] gateway down: a"
    assert over.subject == "[Chopmark OK] gateway down: a"
    assert [word for word in ("well again", "已恢復") if word in over.text] == ["well again", "已恢復"]
    assert not [word for word in ("well again", "已恢復") if word in lasting.text]
    for note in (lasting, over):
        assert "timeout" in note.text
        assert "2026-11-29 02:00 UTC" in note.text
        assert HERE in note.text
    job = {"job": "publish", "place": "worker", "error": "OSError"}
    assert _names(Alarm(AlarmKind.JOB, "job:publish@worker", job)) == "publish"
    assert _names(Alarm(AlarmKind.PUMPING, "sms-pumping")) == "sms-pumping"


def test_whatever_a_fact_holds_a_notes_subject_stays_one_line() -> None:
    note = written(
        Due(gateway_alarm(AlarmKind.GATEWAY_DOWN, "a\r\nBcc: x", FaultReason.TIMEOUT), NOW, False, False), HERE
    )
    assert note.subject == "[Chopmark ALARM] gateway down: a Bcc: x"


class Way:
    """A way to operators that takes notes, or says why it does not."""

    def __init__(self, name: str, fault: str | None) -> None:
        self.name: Final = name
        self._fault = fault
        self.numbers: list[str] = []

    async def tell(self, note: Note, number: str, at: datetime) -> str | None:
        """Take the note, or do not."""
        self.numbers.append(number)
        return self._fault


async def test_the_log_says_which_of_the_ways_did_not_take_an_alarm_and_why() -> None:
    note, ways = Note("s", "t"), [Way("mail", None), Way("pager", "unreachable")]
    with structlog.testing.capture_logs() as logs:
        assert await tell(ways, note, NOW) == [("mail", None), ("pager", "unreachable")]
    assert [(one["code"], one["kind"], one["count"]) for one in logs] == [("alarm.not_taken", "unreachable", 2)]
    assert logs[0].keys() - {"event", "log_level"} <= LOGGED
    assert ways[0].numbers == ways[1].numbers
    with structlog.testing.capture_logs() as logs:
        await tell(ways[:1], note, NOW)
    assert logs == []
