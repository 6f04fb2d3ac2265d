"""A preview of every text message that customers can get, with what is wrong with it.

A carrier drops a text with a web address or a telephone number that was not registered with it. A gateway that uses
Big5 loses the characters that Big5 lacks. A second SMS may arrive late or never. So every text is checked when the
process starts, and not when the first customer waits for one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.ports import Purpose
from chopmark.messaging.reminders import MOST_CERTIFICATES, Ends, write_reminder
from chopmark.messaging.sms import big5_gaps, is_gsm7, segments
from chopmark.messaging.templates import CodeParts, Language, Sender, write_code, write_notice

MOST_OF_CODE: Final = 1
MOST_OF_NOTICE: Final = 2
"""A code must fit one SMS, so that it arrives completely or not at all; a notice may take two."""
_SAMPLE_AT: Final = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
_LINK: Final = re.compile(
    r"[a-z]+://|www\.|(?<![a-z0-9-])[a-z0-9-]+\.(?:com|net|org|tw|io|ly|me|cc|gl)(?![a-z0-9])", re.IGNORECASE
)
_TELEPHONE: Final = re.compile(
    r"\+?\(\d{1,4}\)[- ]?\d{3,4}[- ]?\d{3,4}|\+?\d{1,4}[- ]\d{3,4}[- ]?\d{3,4}|(?<!\d)0\d{7,9}(?!\d)"
)
_ENDS: Final = tuple(
    Ends(_SAMPLE_AT.date(), _SAMPLE_AT.date(), number, over, apply)
    for number in (1, MOST_CERTIFICATES)
    for over in (False, True)
    for apply in (False, True)
)
_SHOWN_TIME: Final = re.compile(r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class Preview:
    """One text with made-up values; its code was never sent to anybody."""

    purpose: Purpose
    language: Language
    text: str
    segments: int
    charset: str
    faults: tuple[str, ...]


def previews(sender: Sender, digits: int, life: timedelta) -> Iterator[Preview]:
    """Yield every text for a phone in both languages, with the longest values that are possible."""
    for purpose in Purpose:
        for language in Language:
            text = _sample(sender, purpose, language, digits, life)
            count = segments(text)
            yield Preview(
                purpose,
                language,
                text,
                count,
                "GSM-7" if is_gsm7(text) else "UCS-2",
                faults_of(text, count, MOST_OF_CODE if purpose.is_code else MOST_OF_NOTICE, digits),
            )


def text_faults(sender: Sender, digits: int, life: timedelta) -> list[str]:
    """Return the faults that can keep texts from arriving, one sentence for each; empty if there are none."""
    return [
        f"the text {one.purpose.value} in {one.language.value} {fault}"
        for one in previews(sender, digits, life)
        for fault in one.faults
    ]


def faults_of(text: str, count: int, most: int, digits: int) -> tuple[str, ...]:
    """Return what is wrong with a text that takes `count` SMS, if `most` are allowed."""
    found: list[str] = []
    if count > most:
        found.append(f"takes {count} SMS, more than {most}: shorten the firm's name in the brand file")
    gaps = big5_gaps(text)
    if gaps and not is_gsm7(text):
        found.append(f"has characters that Big5 does not have: {' '.join(gaps)}")
    if _LINK.search(text):
        found.append("has a web address")
    if _TELEPHONE.search(_SHOWN_TIME.sub("", text.replace("0" * digits, ""))):
        found.append("has a telephone number")
    return tuple(found)


def _sample(sender: Sender, purpose: Purpose, language: Language, digits: int, life: timedelta) -> str:
    if purpose is Purpose.REMINDER:
        variants = (write_reminder(sender, language, Channel.MOBILE, ends, account_last3="000") for ends in _ENDS)
        return max((one.text.reveal() for one in variants), key=lambda text: (segments(text), len(text)))
    if purpose.is_code:
        key = None if purpose is Purpose.CODE_REVOCATION else "BDFG"
        parts = CodeParts(Secret("0" * digits), "BDFG", key, life)
        return write_code(sender, purpose, language, Channel.MOBILE, parts, account_last3="000").text.reveal()
    stop = Secret("BDFGH-BDFGH") if purpose is Purpose.REPLACING else None
    written = write_notice(sender, purpose, language, Channel.MOBILE, at=_SAMPLE_AT, account_last3="000", stop=stop)
    return written.text.reveal()
