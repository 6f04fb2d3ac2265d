"""The words of reminders, and the calendar entry that goes with the mail, read by two strangers' parsers."""

import email
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email import policy
from typing import Any

import icalendar
import pytest
import vobject  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from chopmark.core.types import Channel
from chopmark.messaging.letter import Letterhead
from chopmark.messaging.ports import Attachment, Purpose
from chopmark.messaging.preview import faults_of
from chopmark.messaging.reminders import Ends, calendar_entry, write_reminder
from chopmark.messaging.sms import segments
from chopmark.messaging.templates import Language, Sender
from tests.unit.messaging.test_letter import MESSAGE

SENDER = Sender("好景期貨", "Haojing Futures", "02-1234-5678")
AT = datetime(2027, 2, 24, 6, 0, tzinfo=UTC)
ENDS = Ends(date(2027, 3, 10), date(2027, 3, 12), 1)
EVERY = [
    pytest.param(
        language, channel, Ends(date(2027, 3, 10), date(2027, 3, 12), number, over, apply), id=f"{language}-{channel}"
    )
    for language in Language
    for channel in Channel
    for number in (1, 2, 999)
    for over in (False, True)
    for apply in (False, True)
]


def value(event: Any, name: str) -> Any:
    """Return the value of a property as the parser understood it."""
    found = event[name]
    return getattr(found, "dt", found)


def event_of(octets: bytes) -> Any:
    (event,) = icalendar.Calendar.from_ical(octets).walk("VEVENT")
    return event


def entry(language: Language = Language.ZH, sender: Sender = SENDER, at: datetime = AT) -> bytes:
    return calendar_entry(sender, language, "01AB", ENDS, at).content


@pytest.mark.parametrize(("language", "channel", "ends"), EVERY)
def test_every_reminder_says_when_and_what_to_do_and_has_no_link(
    language: Language, channel: Channel, ends: Ends
) -> None:
    written = write_reminder(SENDER, language, channel, ends, account_last3="456")
    text = written.text.reveal()
    assert SENDER.name(language) in text
    assert ("2027/03/12" if ends.over else "2027/03/10") in text
    renew, apply = (
        ("辦理展延|客戶專區展延", "申請新憑證")
        if language is Language.ZH
        else (r"[Pp]lease.* renew ", "apply for a new one")
    )
    assert bool(re.search(renew, text)) is not ends.apply
    assert (apply in text) is ends.apply
    assert "%" not in text
    assert not re.search(r"https?:|www\.|://", text + written.subject)
    assert ("456" in text) is (ends.certificates == 1)
    assert ("行事曆" in text or "calendar" in text) is (channel is Channel.EMAIL and not ends.over)
    if channel is Channel.MOBILE:
        assert SENDER.hotline not in text
        assert faults_of(text, segments(text), 1 if language is Language.ZH else 2, 6) == ()


def test_a_reminder_shows_of_an_account_only_its_last_three_characters() -> None:
    with pytest.raises(ValueError, match="last three"):
        write_reminder(SENDER, Language.ZH, Channel.MOBILE, ENDS, account_last3="F014000-0000456")
    assert "末3碼" not in write_reminder(SENDER, Language.ZH, Channel.MOBILE, ENDS, account_last3=None).text.reveal()


@pytest.mark.parametrize("language", Language)
def test_a_stranger_reads_the_calendar_entry(language: Language) -> None:
    assert icalendar.Calendar.from_ical(entry(language))["METHOD"] == "PUBLISH"
    event = event_of(entry(language))
    (alarm,) = event.walk("VALARM")
    assert value(event, "DTSTART") == date(2027, 3, 10)
    assert value(event, "DTEND") == date(2027, 3, 11)
    assert value(event, "DTSTAMP") == AT
    assert SENDER.name(language) in value(event, "SUMMARY")
    assert value(alarm, "ACTION") == "DISPLAY"
    assert value(alarm, "TRIGGER") == timedelta(hours=-10)
    assert event.errors == []


@pytest.mark.parametrize("language", Language)
def test_another_stranger_reads_the_same(language: Language) -> None:
    event = vobject.readOne(entry(language).decode(), validate=True).vevent
    assert event.dtstart.value == date(2027, 3, 10)
    assert event.dtend.value == date(2027, 3, 11)
    assert event.valarm.trigger.value == timedelta(hours=-10)
    assert SENDER.name(language) in event.summary.value


def test_each_mail_about_a_certificate_has_the_entry_of_the_same_uid_which_does_not_tell_the_certificate() -> None:
    first, later = (event_of(entry(at=AT + timedelta(days=days))) for days in (0, 11))
    assert first["UID"] == later["UID"]
    assert value(later, "DTSTAMP") > value(first, "DTSTAMP")
    other = calendar_entry(SENDER, Language.ZH, "01AC", ENDS, AT).content
    assert event_of(other)["UID"] != first["UID"]
    assert b"01AB" not in entry()


@pytest.mark.parametrize(
    ("language", "renew", "apply"), [(Language.ZH, "展延", "申請"), (Language.EN, "Renew", "Apply")]
)
def test_the_calendar_entry_says_to_apply_where_the_mail_does(language: Language, renew: str, apply: str) -> None:
    for ends, does, does_not in ((ENDS, renew, apply), (replace(ENDS, apply=True), apply, renew)):
        event = event_of(calendar_entry(SENDER, language, "01AB", ends, AT).content)
        assert does in value(event, "DESCRIPTION")
        assert does_not not in value(event, "DESCRIPTION")
        assert SENDER.name(language) in value(event, "SUMMARY")


names = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=120).map(str.strip)


@given(name=names.filter(bool))
def test_whatever_a_firm_is_called_lines_are_folded_at_75_octets_and_both_strangers_read_its_name(name: str) -> None:
    try:
        sender = Sender(name, "Firm", "02")
    except ValueError:
        return  # looks like a link
    octets = entry(sender=sender)
    assert octets.endswith(b"\r\n")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    for line in octets.split(b"\r\n"):
        assert len(line) <= 75
        line.decode()
    assert name in event_of(octets)["SUMMARY"]
    assert name in vobject.readOne(octets.decode()).vevent.summary.value


def test_the_mail_has_the_text_and_the_entry_and_is_the_same_when_it_is_written_again() -> None:
    written = write_reminder(SENDER, Language.ZH, Channel.EMAIL, ENDS, account_last3="456")
    attached = calendar_entry(SENDER, Language.ZH, "01AB", ENDS, AT)
    message = replace(MESSAGE, subject=written.subject, text=written.text, purpose=Purpose.REMINDER)
    mail = Letterhead("no-reply@haojing.example", "好景期貨").letter(message, attached)
    assert mail == Letterhead("no-reply@haojing.example", "好景期貨").letter(message, attached)
    read = email.message_from_bytes(mail, policy=policy.default)
    assert read.defects == []
    body, calendar = list(read.iter_parts())
    assert body.get_content().replace("\r\n", "\n") == written.text.reveal()
    assert calendar.get_content_type() == "text/calendar"
    assert calendar.get_filename() == "reminder.ics"
    assert calendar.get_payload(decode=True) == attached.content
    assert calendar["Content-Type"].params["method"] == "PUBLISH"
    assert max(map(len, mail.split(b"\r\n"))) <= 78


def test_an_attachments_name_cannot_begin_a_header() -> None:
    with pytest.raises(ValueError, match="name"):
        Letterhead("a@b.example", "B").letter(MESSAGE, Attachment('a"\r\nBcc: x', "text/plain", b""))


def test_a_reminder_is_about_at_least_one_certificate() -> None:
    with pytest.raises(ValueError, match="1 to 999"):
        Ends(date(2027, 3, 10), date(2027, 3, 12), 0)
