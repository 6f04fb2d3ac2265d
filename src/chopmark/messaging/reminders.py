"""The texts of reminders that a certificate ends, and the calendar entry attached to the mail.

A reminder says until when the customer can trade and what to do. It has no link, and on a phone no telephone number. It
asks the customer to renew outside the opening hours of the market, and to ignore it after renewing. Where a certificate
of a former issuer cannot be renewed, it asks them to apply for a new one instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.ports import Attachment
from chopmark.messaging.templates import Language, Sender, Written, account_words

_LINE_OCTETS: Final = 75
"""The most octets of a line of a calendar, without its line end (RFC 5545 s.3.1)."""
MOST_CERTIFICATES: Final = 999


@dataclass(frozen=True, slots=True)
class Ends:
    """The last trading day and the last day of the certificate that ends first, and how many certificates end."""

    last_trading_day: date
    last_day: date
    certificates: int
    over: bool = False
    """Whether the last session has begun already, so that the certificate can only be used to renew."""
    apply: bool = False
    """Whether the customer has to apply for a new one, because what they have cannot be renewed."""

    def __post_init__(self) -> None:
        if not 1 <= self.certificates <= MOST_CERTIFICATES:
            raise ValueError(f"a reminder is about 1 to {MOST_CERTIFICATES} certificates")


def write_reminder(
    sender: Sender, language: Language, channel: Channel, ends: Ends, *, account_last3: str | None
) -> Written:
    """Return the reminder. Raises ValueError if `account_last3` is malformed."""
    many = ends.certificates > 1
    parts = {
        "firm": sender.name(language),
        "hotline": sender.hotline,
        "account": "" if many else account_words(account_last3, language, channel),
        "trading": _shown(ends.last_trading_day),
        "ends": _shown(ends.last_day),
        "many": str(ends.certificates),
    }
    parts["calendar"] = "" if ends.over else _CALENDAR[language]
    parts["what"] = _WHAT[language, channel][many, ends.over] % parts
    parts.update(_DO[language, channel][ends.apply])
    return Written(_SUBJECT[language] % parts, Secret(_TEXT[language, channel] % parts))


def _shown(day: date) -> str:
    return f"{day.year:04}/{day.month:02}/{day.day:02}"


_SUBJECT: Final[Mapping[Language, str]] = {
    Language.ZH: "【%(firm)s】電子憑證即將到期，最後可交易日 %(trading)s",
    Language.EN: "%(firm)s: your e-certificate ends, last trading day %(trading)s",
}

_WHAT: Final[Mapping[tuple[Language, Channel], Mapping[tuple[bool, bool], str]]] = {
    (Language.ZH, Channel.MOBILE): {
        (False, False): "電子憑證%(account)s最後可交易日為%(trading)s",
        (False, True): "電子憑證%(account)s將於%(ends)s到期，已無可交易日",
        (True, False): "您有%(many)s張電子憑證將到期，最早者最後可交易日為%(trading)s",
        (True, True): "您有%(many)s張電子憑證將到期，最早者%(ends)s到期，已無可交易日",
    },
    (Language.EN, Channel.MOBILE): {
        (False, False): "the last trading day of your e-certificate%(account)s is %(trading)s.",
        (False, True): "your e-certificate%(account)s ends on %(ends)s, before the next trading day.",
        (True, False): "%(many)s of your e-certificates end; the last trading day of the first is %(trading)s.",
        (True, True): "%(many)s of your e-certificates end, the first on %(ends)s, before the next trading day.",
    },
    (Language.ZH, Channel.EMAIL): {
        (False, False): "您的電子憑證%(account)s將於 %(ends)s 到期，最後可交易日為 %(trading)s。",
        (False, True): "您的電子憑證%(account)s將於 %(ends)s 到期，到期前已無可交易日。",
        (True, False): "您有 %(many)s 張電子憑證即將到期；最早的一張於 %(ends)s 到期，最後可交易日為 %(trading)s。",
        (True, True): "您有 %(many)s 張電子憑證即將到期；最早的一張於 %(ends)s 到期，到期前已無可交易日。",
    },
    (Language.EN, Channel.EMAIL): {
        (False, False): "Your e-certificate%(account)s ends on %(ends)s. Its last trading day is %(trading)s.",
        (False, True): "Your e-certificate%(account)s ends on %(ends)s, before the next trading day.",
        (True, False): (
            "%(many)s of your e-certificates end. The first ends on %(ends)s; its last trading day is %(trading)s."
        ),
        (True, True): "%(many)s of your e-certificates end. The first ends on %(ends)s, before the next trading day.",
    },
}

_CALENDAR: Final[Mapping[Language, str]] = {
    Language.ZH: "附件可將最後可交易日加入您的行事曆。",
    Language.EN: "The attachment adds the last trading day to your calendar. ",
}

_TEXT: Final[Mapping[tuple[Language, Channel], str]] = {
    (Language.ZH, Channel.MOBILE): "【%(firm)s】%(what)s，%(do)s。",
    (Language.EN, Channel.MOBILE): (
        "%(firm)s: %(what)s %(do)s in our customer area, not around the market opening; ignore this if done."
    ),
    (Language.ZH, Channel.EMAIL): (
        "您好：\n\n%(what)s到期後將無法以電子方式下單。\n\n"
        "%(do)s開盤前後使用人數較多，請於其他時段辦理。%(done)s，請略過此信。\n\n"
        "%(calendar)s為保障您的安全，此信不含任何連結。\n\n"
        "%(firm)s 客服專線：%(hotline)s\n此信由系統自動寄出，請勿直接回覆。\n"
    ),
    (Language.EN, Channel.EMAIL): (
        "Hello,\n\n%(what)s After that you cannot place orders electronically.\n\n"
        "%(do)s Many people use it before and during the opening of the market: please choose another time. "
        "If you have %(done)s already, ignore this message.\n\n"
        "%(calendar)sFor your safety this message has no link.\n\n"
        "%(firm)s, hotline: %(hotline)s\nThis message was sent automatically; please do not reply.\n"
    ),
}

_DO: Final[Mapping[tuple[Language, Channel], Mapping[bool, Mapping[str, str]]]] = {
    (Language.ZH, Channel.MOBILE): {
        False: {"do": "請於非開盤時段至客戶專區展延；已展延請略過"},
        True: {"do": "請於非開盤時段至客戶專區申請新憑證；已申請請略過"},
    },
    (Language.EN, Channel.MOBILE): {
        False: {"do": "Please renew"},
        True: {"do": "Please apply for a new one"},
    },
    (Language.ZH, Channel.EMAIL): {
        False: {
            "do": "請登入本公司客戶服務專區，於「電子憑證」辦理展延，約需一分鐘。",
            "done": "如您已完成展延",
        },
        True: {
            "do": (
                "此憑證無法展延，請登入本公司客戶服務專區，於「電子憑證」申請新憑證，約需數分鐘，"
                "並以您留存的手機或電子郵件接收驗證碼。"
            ),
            "done": "如您已取得新憑證",
        },
    },
    (Language.EN, Channel.EMAIL): {
        False: {
            "do": 'Please sign in to our customer area and renew under "e-certificate"; it takes a minute.',
            "done": "renewed",
        },
        True: {
            "do": (
                "This certificate cannot be renewed. Please sign in to our customer area and apply for a new one under "
                '"e-certificate"; it takes a few minutes, and a code is sent to your phone or mail box.'
            ),
            "done": "a new one",
        },
    },
}
"""What the customer has to do: renew, or apply for a new certificate."""

_EVENT: Final[Mapping[Language, str]] = {
    Language.ZH: "電子憑證最後可交易日（%(firm)s）",
    Language.EN: "Last trading day of your e-certificate (%(firm)s)",
}
_BEFORE: Final[Mapping[Language, Mapping[bool, str]]] = {
    Language.ZH: {
        False: "請先登入客戶服務專區展延電子憑證；已展延者請刪除此行程。",
        True: "請先登入客戶服務專區申請新的電子憑證；已取得新憑證者請刪除此行程。",
    },
    Language.EN: {
        False: "Renew it in the customer area before; delete this entry if you have renewed.",
        True: "Apply for a new one in the customer area before; delete this entry if you have it.",
    },
}


def calendar_entry(sender: Sender, language: Language, certificate: str, ends: Ends, at: datetime) -> Attachment:
    """Return the entry for the customer's calendar (RFC 5545), with an alarm at 14:00 on the day before.

    The entry of one certificate has the same UID in every mail, so that a calendar replaces the earlier entry. The UID
    is a hash, so the entry reveals nothing about the certificate.
    """
    summary, description = _EVENT[language] % {"firm": sender.name(language)}, _BEFORE[language][ends.apply]
    last_trading_day = ends.last_trading_day
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Chopmark//Reminders//EN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        f"UID:{sha256(f'calendar|{certificate}'.encode()).hexdigest()[:32]}@chopmark",
        f"DTSTAMP:{at.astimezone(UTC):%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{last_trading_day:%Y%m%d}",
        f"DTEND;VALUE=DATE:{last_trading_day + timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{_escaped(summary)}",
        f"DESCRIPTION:{_escaped(description)}",
        "TRANSP:TRANSPARENT",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        f"DESCRIPTION:{_escaped(summary)}",
        "TRIGGER:-PT10H",
        "END:VALARM",
        "END:VEVENT",
        "END:VCALENDAR",
    )
    content = b"".join(_folded(line) for line in lines)
    return Attachment("reminder.ics", 'text/calendar; charset="utf-8"; method=PUBLISH', content)


def _escaped(text: str) -> str:
    """Return a text value escaped by RFC 5545 s.3.3.11."""
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\n", "\\n")


def _folded(line: str) -> bytes:
    """Return the line with its line end, folded at 75 octets without splitting a character (RFC 5545 s.3.1)."""
    parts: list[bytes] = []
    part = b""
    for character in line:
        octets = character.encode()
        if len(part) + len(octets) > _LINE_OCTETS:
            parts.append(part)
            part = b" "
        part += octets
    parts.append(part)
    return b"\r\n".join(parts) + b"\r\n"
