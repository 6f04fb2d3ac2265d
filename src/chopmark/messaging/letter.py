"""A message as the octets of a mail (RFC 5322, RFC 2045, RFC 2047).

Mails are built here and not with `email.message`, which parses every header again and so takes half of the time of a
mail. This is safe: only an address and an id of a few allowed characters, a time and a subject differ from mail to
mail, so no value can add a header.
"""

import re
from base64 import b64encode, encodebytes
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from hashlib import sha256
from typing import Final, Protocol

from chopmark.core.types import Secret
from chopmark.messaging.ports import Attachment

_ADDRESS: Final = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)
_SPECIAL: Final = frozenset('<>()[]\\,;:"@')
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_WORD_OCTETS: Final = 39
"""The most octets of text in an encoded word.

Its line has at most 76 characters with the header's name (RFC 2047 s.2).
"""
_PLAIN_SUBJECT: Final = 66
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TEXT_PART: Final = b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
_CONTENT: Final = (
    b'Auto-Submitted: auto-generated\r\nContent-Type: text/plain; charset="utf-8"\r\n'
    b"Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n"
)


class Letter(Protocol):
    """The values from which a mail is built."""

    @property
    def message_id(self) -> str:
        """The id of the mail, the same if it is sent again."""
        ...

    @property
    def destination(self) -> Secret:
        """The address."""
        ...

    @property
    def subject(self) -> str:
        """The subject, with no secret in it."""
        ...

    @property
    def text(self) -> Secret:
        """The body."""
        ...

    @property
    def at(self) -> datetime:
        """The date in the header of the mail, aware."""
        ...


class Letterhead:
    """Writes the mails of one sender."""

    def __init__(self, address: str, name: str) -> None:
        head = EmailMessage(policy=WIRE)
        head["From"] = Address(name, addr_spec=address)
        self._from = head.as_bytes().partition(b"\r\n\r\n")[0]
        self._domain = address.rpartition("@")[2]

    def letter(self, message: Letter, attachment: Attachment | None = None) -> bytes:
        """Return the mail. The same message gives the same octets, so that a mailbox shows a repeated mail only once.

        Auto-Submitted keeps out-of-office programs from answering (RFC 3834 s.5). Raises ValueError if the message id
        is not 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-', if the destination is no plain address, or if the subject is not
        printable.
        """
        if _MESSAGE_ID.fullmatch(message.message_id) is None:
            raise ValueError("the message id does not fit into a Message-ID header")
        destination = message.destination.reveal()
        if not is_plain(destination):
            raise ValueError("the destination does not fit into a To header")
        head = (
            f"\r\nTo: {destination}\r\nSubject: {_subject(message.subject)}\r\n"
            f"Date: {format_datetime(message.at.astimezone(UTC))}\r\n"
            f"Message-ID: <{message.message_id}@{self._domain}>\r\n"
        )
        start = self._from + head.encode("ascii")
        if attachment is None:
            return start + _CONTENT + _body(message.text.reveal())
        return start + _with(attachment, _body(message.text.reveal()), message.message_id)


def _with(attachment: Attachment, body: bytes, message_id: str) -> bytes:
    """Return the rest of a mail with an attachment (RFC 2046 s.5.1).

    The boundary is derived from the message id, so that the same message gives the same octets. It has a `_`, which
    base64 never contains.
    """
    if _FILE_NAME.fullmatch(attachment.name) is None:
        raise ValueError("the attachment's name does not fit into a header")
    boundary = f"=_{sha256(message_id.encode()).hexdigest()[:32]}"
    head = f'Auto-Submitted: auto-generated\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n'
    second = (
        f"Content-Type: {attachment.content_type}\r\n"
        f'Content-Disposition: attachment; filename="{attachment.name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    between, last = f"--{boundary}\r\n".encode(), f"--{boundary}--\r\n".encode()
    parts = (head.encode(), b"MIME-Version: 1.0\r\n\r\n", between, _TEXT_PART, body, between, second.encode())
    return b"".join(parts) + _lines(attachment.content) + last


def is_plain(address: str) -> bool:
    """Whether this is one ASCII address, without characters that have a meaning in a header or an SMTP command."""
    local, at, _ = address.rpartition("@")
    return bool(at) and _ADDRESS.fullmatch(address) is not None and not _SPECIAL & set(local)


def _subject(text: str) -> str:
    """Return the subject unchanged if it is short ASCII, otherwise in encoded words, one per line (RFC 2047)."""
    if not text.isprintable():
        raise ValueError("a subject has printable characters only")
    if text.isascii() and len(text) <= _PLAIN_SUBJECT and "=?" not in text and text == text.strip():
        return text
    words: list[bytes] = []
    word = b""
    for character in text:
        octets = character.encode()
        if len(word) + len(octets) > _WORD_OCTETS:
            words.append(word)
            word = b""
        word += octets
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{b64encode(each).decode()}?=" for each in words)


def _body(text: str) -> bytes:
    """Return the text, with CRLF line ends, as lines of base64 (RFC 2045 s.6.8)."""
    lines = text.encode().splitlines()
    return _lines(b"".join(line + b"\r\n" for line in lines))


def _lines(octets: bytes) -> bytes:
    return encodebytes(octets).replace(b"\n", b"\r\n")
