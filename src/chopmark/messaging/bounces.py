"""Delivery status notifications (RFC 3464): what mail servers say of a mail that they took and could not deliver.

Anybody can send a mail to the address of bounces. So one counts only if it has the mark of a message
(`messaging.return_paths`), and it says only that this message did not arrive; nothing else in it is believed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message as Mail
from email.parser import BytesParser
from email.policy import compat32
from enum import StrEnum
from typing import Any, Final

from chopmark.core.clock import Clock
from chopmark.messaging.reports import Report, ReportState, ReportStore
from chopmark.messaging.return_paths import ReturnPaths, is_mark

MOST_OCTETS: Final = 1 << 18
"""Our mails are small, and so is what comes back of them."""
MOST_PARTS: Final = 16
"""A mail that may have more parts than this within each other is not read."""
_LONGEST_TYPE: Final = 500
"""Only so much of a field is looked at: the time that Python takes for a Content-Type grows with its square."""
_MOST_FIELDS: Final = 20
_LONGEST_FIELD: Final = 2000
_INNER: Final = re.compile(rb"multipart/|message/", re.IGNORECASE)
_ACTION: Final = re.compile(r"\s*([a-z-]{1,20})", re.ASCII | re.IGNORECASE)
_STATUS: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)", re.ASCII)
_ADDRESSED: Final = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")
# RFC 3463: the mail as such was refused (too big, content, policy, protocol, their system). The address may be good.
_NOT_OF_ADDRESS: Final = re.compile(r"5\.(2\.3|[3567]\.\d+)", re.ASCII)


class _Bounded(Mail):
    """A mail or a part of one, whose parser reads only the beginning of its fields."""

    def get(self, name: str, failobj: Any = None) -> Any:
        """Return a field's beginning; `failobj` if there is none."""
        value = super().get(name, failobj)
        return value if value is failobj else str(value)[:_LONGEST_TYPE]


class Unread(StrEnum):
    """Why a mail is no bounce of ours."""

    TOO_BIG = "too big"
    TOO_DEEP = "too many parts"
    NO_REPORT = "no delivery status notification"
    NOT_OURS = "of another mail"
    FORGED = "with a mark that is not ours"


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a mail server says of a message.

    FAILED: nothing arrives at this address. UNDELIVERED: this message did not arrive. WAITING: it is still being tried,
    or it did arrive. `status` is the code of RFC 3463, as 5.1.1, or empty.
    """

    message: str
    state: ReportState
    status: str


def read_bounce(octets: bytes, paths: ReturnPaths) -> Bounce | Unread:
    """Read a mail. It comes from anybody, so any octets are allowed."""
    # 1. Python's parser takes long for parts within parts, and each of them names its type. With these bounds the worst
    #    mail takes less than a second.
    if len(octets) > MOST_OCTETS:
        return Unread.TOO_BIG
    if sum(1 for _ in _INNER.finditer(octets)) > MOST_PARTS:
        return Unread.TOO_DEEP
    # 2. Without a report it is a reply of a person, or of an out-of-office program.
    mail = BytesParser(_Bounded, policy=compat32).parsebytes(octets)
    groups = _groups(mail)
    if groups is None:
        return Unread.NO_REPORT
    # 3. Whose message is it? The envelope id, or the address that the notification was sent to.
    marks = [*_marks(mail, groups[0], paths)]
    if not marks:
        return Unread.NOT_OURS
    message = next((found for found in map(paths.message_of, marks) if found is not None), None)
    if message is None:
        return Unread.FORGED
    # 4. What became of it?
    state, status = _state([group for group in groups if "Action" in group])
    return Bounce(message, state, status)


def _groups(mail: Mail) -> list[Mail] | None:
    """Return the groups of fields of the report: those of the message, then those of each recipient.

    A group of a recipient has an Action (RFC 3464 s.2.3.3). None: this is no report, or one of nobody.
    """
    if mail.get_content_type() != "multipart/report" or not mail.is_multipart():
        return None
    for part in mail.get_payload():
        if isinstance(part, Mail) and part.get_content_type() == "message/delivery-status":
            groups = part.get_payload()
            if isinstance(groups, list):
                read = [group for group in groups[: 1 + _MOST_FIELDS] if isinstance(group, Mail)]
                return read if any("Action" in group for group in read) else None
    return None


def _marks(mail: Mail, of_message: Mail, paths: ReturnPaths) -> Iterator[str]:
    yield from filter(is_mark, (mark.strip() for mark in _fields(of_message, "Original-Envelope-Id")))
    for name in _ADDRESSED:
        for field in _fields(mail, name):
            yield from paths.marks_in(field)


def _fields(mail: Mail, name: str) -> list[str]:
    return [str(value)[:_LONGEST_FIELD] for value in mail.get_all(name, [])[:_MOST_FIELDS]]


def _state(recipients: list[Mail]) -> tuple[ReportState, str]:
    """Return what the report means. Where an address stands for several, one that got the mail is enough."""
    ends = [(_first(_ACTION, one, "Action").lower(), _first(_STATUS, one, "Status")) for one in recipients]
    status = ends[0][1]
    if any(action != "failed" for action, _ in ends):
        return ReportState.WAITING, status
    dead = all(code.startswith("5.") and _NOT_OF_ADDRESS.fullmatch(code) is None for _, code in ends)
    return (ReportState.FAILED if dead else ReportState.UNDELIVERED), status


def _first(pattern: re.Pattern[str], group: Mail, name: str) -> str:
    found = pattern.match(next(iter(_fields(group, name)), ""))
    return "" if found is None else found[1]


class Came(StrEnum):
    """What was done about a mail that came to the address of bounces."""

    RECORDED = "recorded"
    KNOWN = "known already"
    DELAYED = "of a mail that is still being tried"
    OTHER = "no bounce of ours"


class Bounces:
    """Takes the mails that come to the address of bounces. Taking one twice does no harm."""

    def __init__(self, paths: ReturnPaths, store: ReportStore, clock: Clock, gateway: str) -> None:
        self._paths = paths
        self._store = store
        self._clock = clock
        self._gateway = gateway

    async def take(self, octets: bytes) -> tuple[Came, Bounce | Unread]:
        """Read a mail, and end the message that it is about where it says that it did not arrive."""
        bounce = read_bounce(octets, self._paths)
        if isinstance(bounce, Unread):
            return Came.OTHER, bounce
        if bounce.state is ReportState.WAITING:
            return Came.DELAYED, bounce
        report = Report(bounce.message, bounce.state, bounce.status)
        new = await self._store.returned(self._gateway, bounce.message, report, self._clock.now())
        return (Came.RECORDED if new else Came.KNOWN), bounce
