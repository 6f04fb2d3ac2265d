"""The lines of a heads file: signed tree heads, and the time-stamps over some of them (*anchors* in names).

A head is the line that `encode_head` writes. A time-stamp is `{"anchor":{"size":N,"token":"..."}}` with the token in
base64, so that an auditor can check it with a shell, base64 and openssl alone.
"""

import binascii
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from chopmark.audit.head import Head, decode_head
from chopmark.audit.ports import StoredAnchor
from chopmark.audit.record import is_count

ANCHOR_BEGINS = b'{"anchor":'


def encode_anchor(anchor: StoredAnchor) -> str:
    """Return the time-stamp as one line of JSON, without a line end."""
    members = {"size": anchor.size, "token": b64encode(anchor.token).decode()}
    return json.dumps({"anchor": members}, separators=(",", ":"), sort_keys=True)


def decode_anchor(line: str) -> StoredAnchor:
    """Return the time-stamp that `encode_anchor` wrote; raises ValueError for any other spelling."""
    try:
        members = json.loads(line)["anchor"]
        size: object = members["size"]
        token = b64decode(members["token"], validate=True)
    except (KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ValueError("the line is no anchor") from error
    if not isinstance(size, int) or not is_count(size):
        raise ValueError("the anchor's size is not an integer of zero or more")
    anchor = StoredAnchor(size, token)
    if encode_anchor(anchor) != line:
        raise ValueError("the anchor is not spelled canonically")
    return anchor


@dataclass(frozen=True, slots=True)
class HeadLines:
    """The content of a heads file: heads and time-stamps in file order, and the numbers of the unreadable lines."""

    heads: tuple[Head, ...]
    unreadable: tuple[int, ...] = ()
    anchors: tuple[StoredAnchor, ...] = ()


def parse_head_lines(text: str) -> HeadLines:
    """Return the lines of a heads file, without lines that a crash left incomplete.

    An incomplete line is the last one in the file, or the beginning of a later line: the same one, written again in
    full, at once or after lines of the other kind. Any other line that is neither a head nor a time-stamp counts as
    unreadable.
    """
    lines = text.split("\n")
    heads: list[Head] = []
    anchors: list[StoredAnchor] = []
    unreadable: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            if line.startswith(ANCHOR_BEGINS.decode()):
                anchors.append(decode_anchor(line))
            else:
                heads.append(decode_head(line))
        except ValueError:
            rest = lines[number:]
            if line and any(rest) and not any(later.startswith(line) for later in rest):
                unreadable.append(number)
    return HeadLines(tuple(heads), tuple(unreadable), tuple(anchors))
