"""The envelope senders of mails, to which mail servers return what they cannot deliver (bounces).

Each mail to a customer has an envelope sender of its own, and says the same mark as its envelope id (RFC 3461 s.4.4)
where the mail server takes one. The mark is the id of the message with a MAC, so that whoever did not get the mail
cannot make up a bounce of it. Nothing else is in it: neither the customer nor the address.
"""

import hmac
import re
from base64 import b32encode
from hashlib import sha256
from typing import Final

from chopmark.messaging.letter import is_plain

PLACE: Final = "*"
_LABEL: Final = b"chopmark-bounces-1"
_MAC_OCTETS: Final = 10
_LONGEST_LOCAL: Final = 64
"""RFC 5321 s.4.5.3.1.1."""
# Ids are base32 in capitals (`core.clock.new_id`), those of reminders with an R before it. A notice that goes to the
# other contact has its channel behind it. In an address capitals may be lost, so all is written small.
_ID: Final = re.compile(r"([A-Z2-7]{26,27})(-mobile|-email)?", re.ASCII)
_MARK: Final = re.compile(r"([a-z2-7]{26,27})([01]?)([a-z2-7]{16})", re.ASCII)
_LONGEST_MARK: Final = 27 + 1 + 16
_ENDINGS: Final = {"": "", "-mobile": "0", "-email": "1"}
_CHANNELS: Final = {digit: ending for ending, digit in _ENDINGS.items()}


class ReturnPaths:
    """Writes and reads the marks of messages.

    `address` is where bounces come to. A `*` in its local part stands for the mark; without one all mails have this
    envelope sender, and only the envelope id tells them apart. Raises ValueError for an address that cannot be used.
    """

    def __init__(self, address: str, key: bytes) -> None:
        require_usable(address)
        self._address = address
        self._key = hmac.digest(key, _LABEL, sha256)
        before, _, after = address.partition(PLACE)
        marked = rf"(?<![\w.+=-]){re.escape(before)}([a-z0-7]{{42,44}}){re.escape(after)}"
        self._written = re.compile(marked, re.ASCII | re.IGNORECASE) if PLACE in address else None

    def mark(self, message_id: str) -> str | None:
        """Return the mark of a message; None if its id is not one of ours."""
        found = _ID.fullmatch(message_id)
        if found is None:
            return None
        return f"{found[1].lower()}{_ENDINGS[found[2] or '']}{self._mac(message_id)}"

    def sender(self, message_id: str) -> str | None:
        """Return the envelope sender of a mail; None if its id is not one of ours."""
        mark = self.mark(message_id)
        return None if mark is None else self._address.replace(PLACE, mark)

    def marks_in(self, addresses: str) -> list[str]:
        """Return what stands at the place of a mark in the addresses of a header."""
        return [] if self._written is None else [mark for mark in self._written.findall(addresses) if is_mark(mark)]

    def message_of(self, mark: str) -> str | None:
        """Return the id of the message that this mark was written for; None if it is not our mark."""
        found = _MARK.fullmatch(mark.lower())
        if found is None:
            return None
        message_id = found[1].upper() + _CHANNELS[found[2]]
        return message_id if hmac.compare_digest(self._mac(message_id).encode(), found[3].encode()) else None

    def _mac(self, message_id: str) -> str:
        return b32encode(hmac.digest(self._key, message_id.encode(), sha256)[:_MAC_OCTETS]).decode().lower()


def is_mark(written: str) -> bool:
    """Whether this has the form of a mark, whoever wrote it."""
    return _MARK.fullmatch(written.lower()) is not None


def require_usable(address: str) -> None:
    """Raise ValueError if bounces cannot come to this address."""
    longest = address.replace(PLACE, "a" * _LONGEST_MARK)
    local = longest.rpartition("@")[0]
    if address.count(PLACE) > 1 or PLACE in address.rpartition("@")[2] or not is_plain(longest):
        raise ValueError("is one plain e-mail address, with at most one * before the @, as bounces+*@mail.example.com")
    if len(local) > _LONGEST_LOCAL:
        most = _LONGEST_LOCAL - _LONGEST_MARK
        raise ValueError(f"has at most {most} characters besides the * before the @ (RFC 5321 s.4.5.3.1.1)")
