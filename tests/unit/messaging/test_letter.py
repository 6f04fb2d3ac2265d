"""A mail's octets: what a stranger's parser reads out of them is what was put in, and no value begins a header."""

import email
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.messaging.letter import Letterhead
from chopmark.messaging.ports import Message, Purpose
from chopmark.messaging.templates import CodeParts, Language, Sender, write_code, write_notice

AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
FROM, NAME = "no-reply@haojing.example", "好景期貨"
MESSAGE = Message(
    message_id="W1ABC",
    channel=Channel.EMAIL,
    destination=Secret("zhang.san@example.com"),
    subject="【好景期貨】展延電子憑證驗證碼（參考碼 BDFG）",
    text=Secret("您好：\n\n驗證碼：0123456789\n參考碼：BDFG\n"),
    purpose=Purpose.CODE_RENEWAL,
    at=AT,
    ttl_s=300,
    customer=CustomerId("C-1"),
)
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
]
printable = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=200)


def letter(message: Message = MESSAGE) -> bytes:
    return Letterhead(FROM, NAME).letter(message)


def parsed(mail: bytes) -> EmailMessage:
    """Read a mail as Python's own parser does."""
    read = email.message_from_bytes(mail, policy=policy.default)
    assert isinstance(read, EmailMessage)
    assert read.defects == []
    assert all(not value.defects for value in read.values())
    return read


def stranger(message: Message) -> bytes:
    """The same mail written by Python's own library."""
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = Address(NAME, addr_spec=FROM)
    mail["To"] = Address(addr_spec=message.destination.reveal())
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(message.at.astimezone(UTC))
    mail["Message-ID"] = f"<{message.message_id}@haojing.example>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text.reveal(), charset="utf-8", cte="base64")
    return mail.as_bytes()


def every_message() -> list[Message]:
    """Every text that there is, as a mail."""
    sender, made = Sender(NAME, "Haojing Futures", "02-1234-5678"), []
    for language in Language:
        for purpose in (each for each in Purpose if each is not Purpose.REMINDER):
            if purpose.is_code:
                written = write_code(
                    sender,
                    purpose,
                    language,
                    Channel.EMAIL,
                    CodeParts(Secret("0123456789"), "BDFG", "HJKL", timedelta(minutes=5)),
                    account_last3="000",
                )
            else:
                stop = Secret("BDFGH-JKLMN") if purpose is Purpose.REPLACING else None
                written = write_notice(sender, purpose, language, Channel.EMAIL, at=AT, account_last3="000", stop=stop)
            made.append(replace(MESSAGE, subject=written.subject, text=written.text, purpose=purpose))
    return made


@pytest.mark.parametrize("message", every_message(), ids=lambda m: f"{m.purpose}-{m.subject[:3]}")
def test_every_text_reads_as_the_librarys_own_mail_does_and_differs_in_the_folding_of_the_subject_at_most(
    message: Message,
) -> None:
    ours, theirs = parsed(letter(message)), parsed(stranger(message))
    assert {**ours, "Subject": ours["Subject"]} == {**theirs, "Subject": theirs["Subject"].strip()}  # it may fold first
    assert ours["Subject"] == message.subject
    assert [name for name, _ in ours.items()] == HEADERS
    assert ours.get_content() == theirs.get_content()
    head, _, body = letter(message).partition(b"\r\n\r\n")
    assert body == stranger(message).partition(b"\r\n\r\n")[2]
    assert all(len(line) <= 76 for line in head.split(b"\r\n"))
    assert b"\n" not in (head + body).replace(b"\r\n", b"")


@given(subject=printable, text=st.text(max_size=500).map(lambda value: value.replace("\r", "")))
def test_any_subject_and_text_come_out_as_they_went_in(subject: str, text: str) -> None:
    mail = parsed(letter(replace(MESSAGE, subject=subject, text=Secret(text))))
    assert mail["Subject"] == subject
    assert [name for name, _ in mail.items()] == HEADERS
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    assert body.decode().replace("\r\n", "\n") == whole


def test_the_same_message_is_the_same_octets_and_its_time_is_told_in_utc() -> None:
    assert letter() == letter()
    taipei = replace(MESSAGE, at=AT.astimezone(timezone(timedelta(hours=8))))
    assert letter(taipei) == letter()
    assert parsed(letter())["Date"] == "Sun, 22 Nov 2026 02:00:00 +0000"


@pytest.mark.parametrize("bad", ["\r\nBcc: x@example.com", "\n", "\r", "\0", "\x1b", "\u2028", "\x85", "a\tb"])
def test_a_subject_that_could_begin_another_header_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        letter(replace(MESSAGE, subject=f"Code{bad}"))


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nBcc: x", "a>b", "a@b", "x" * 65, "é"])
def test_a_message_id_that_could_end_its_header_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="Message-ID"):
        letter(replace(MESSAGE, message_id=bad))


@pytest.mark.parametrize("bad", ["a@b\r\nBcc: x@y", "a@b, c@d", "<a@b>", "張@example.com", "nobody", ""])
def test_an_address_that_a_header_could_misread_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="destination"):
        letter(replace(MESSAGE, destination=Secret(bad)))
