"""The verifier's check of the time-stamps (RFC 3161 tokens) over signed tree heads.

It compares each time-stamp with its tree head, with its audit record and with its copy in the heads file. The names in
this code call the time-stamp of a tree head an *anchor*.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from chopmark.audit.checks import Losses, Part, Seen, SeenHead
from chopmark.audit.events import Event
from chopmark.audit.findings import Anchored, Code, Finding, Level
from chopmark.audit.head import Head, head_hash
from chopmark.audit.ports import StoredAnchor
from chopmark.audit.record import system_stream
from chopmark.core.counted import counted
from chopmark.pki import tsp_token
from chopmark.pki.tsp_token import Fault, Stamp, TokenError

ANCHOR_STREAM = system_stream("anchor")
LATE = timedelta(hours=2)
"""How long tree heads may go without a time-stamp before the verifier warns."""
_WHOLE_SECOND = timedelta(seconds=1)
_SENTENCES = {
    Fault.MALFORMED: "The token cannot be read: it was edited.",
    Fault.IMPRINT: "The token is over something else than this head: it was moved, or the head exchanged.",
    Fault.SIGNER: "The token does not contain the certificate that signed it.",
    Fault.PURPOSE: "The token was signed by a certificate that is not for time-stamping alone.",
    Fault.ATTRIBUTES: "The token's signed attributes do not name what it says, or who signed it.",
    Fault.SIGNATURE: "The token's signature does not hold: it was edited.",
    Fault.CHAIN: "No given root stands behind the certificate that signed the token.",
}


class AnchorCheck(Part):
    """Check that each time-stamp is valid for its tree head, is not earlier than it, and has an audit record.

    Each audit record of a time-stamp must have its time-stamp, too. `roots` are the trusted certificates, DER; with
    None the check leaves open who signed the tokens. `filed` are the time-stamps in the heads file. When the database
    lacks one of them and its record, a restore has lost it, provided that its token is valid for a tree head that the
    restore gave up or for one from before the restore. In every other case the check reports it as deleted.
    """

    def __init__(self, roots: Sequence[bytes] | None, filed: Iterable[StoredAnchor], losses: Losses) -> None:
        self._roots = roots
        self._filed = {_digest(anchor): anchor for anchor in filed}
        self._losses = losses
        self._heads: dict[int, Head | None] = {anchor.size: None for anchor in self._filed.values()}
        self._told: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._newest: Stamp | None = None
        self._holding = self._size = 0
        self._open: tuple[datetime, datetime] | None = None

    @property
    def anchored(self) -> Anchored:
        """What the valid time-stamps prove."""
        checked = self._roots is not None or not self._stored
        at = None if self._newest is None else self._newest.at
        return Anchored(self._holding, self._size, at, checked)

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Remember the time-stamp that this record reports, if it reports one."""
        if seen.record.stream == ANCHOR_STREAM and seen.record.event == Event.VA_ANCHOR_MADE:
            facts = json.loads(seen.record.facts)
            self._told[str(facts.get("anchor_sha256"))] = facts.get("count", 0)
        return ()

    def head(self, seen: SeenHead, /) -> Iterable[Finding]:
        """Remember the heads that the heads file has time-stamps of, and since when heads have had no time-stamp."""
        at = seen.head.draft.at
        if seen.head.size in self._heads:
            self._heads[seen.head.size] = seen.head
        self._open = (at if self._open is None else self._open[0], at)
        return ()

    def anchor(self, anchor: StoredAnchor, head: Head | None, /) -> Iterator[Finding]:
        """Check the time-stamp's token against the head."""
        place = f"anchor of size {anchor.size}"
        self._stored[_digest(anchor)] = anchor.size
        if head is None:
            yield Finding(Code.ANCHOR_WITHOUT_HEAD, place, "There is no head of this size.")
            return
        self._open = None
        try:
            stamp = tsp_token.verify(_octets(anchor.token), head_hash(head), self._roots)
        except TokenError as error:
            yield Finding(Code.ANCHOR_WRONG, place, _SENTENCES[error.fault])
            return
        # A token may give its time without fractions of a second, and the time may be wrong by the stated accuracy.
        if stamp.at + stamp.accuracy + _WHOLE_SECOND < head.draft.at:
            yield Finding(Code.ANCHOR_TIME_WRONG, place, "The token is earlier than the head that it stamps.")
        if self._newest is not None and stamp.at + stamp.accuracy < self._newest.at - self._newest.accuracy:
            yield Finding(Code.ANCHOR_TIME_WRONG, place, "The token is earlier than that of a smaller tree.")
        self._holding, self._size, self._newest = self._holding + 1, anchor.size, stamp

    def finish(self) -> Iterator[Finding]:
        """Compare the time-stamps with their records and with the heads file."""
        for digest, size in self._told.items():
            if self._stored.get(digest) != size:
                sentence = "The trail tells of this anchor, and it is not here: it was deleted or exchanged."
                yield Finding(Code.ANCHOR_MISSING, f"anchor of size {size}", sentence)
        for digest, size in self._stored.items():
            if self._told.get(digest) != size:
                yield Finding(Code.ANCHOR_UNTOLD, f"anchor of size {size}", "The trail does not tell of this anchor.")
        yield from self._only_filed()
        if self._newest is not None and self._open is not None and self._open[1] - self._open[0] > LATE:
            sentence = "The heads from here on have no anchor: does the time-stamp authority answer?"
            yield Finding(Code.ANCHOR_LATE, f"after size {self._size}", sentence, Level.WARNING)

    def _only_filed(self) -> Iterator[Finding]:
        lost = 0
        for digest, anchor in self._filed.items():
            if self._stored.get(digest) == anchor.size:
                continue
            if digest not in self._told and self._is_lost(anchor):
                lost += 1
            else:
                sentence = "The heads file has this anchor, and it is not here: it was deleted or exchanged."
                yield Finding(Code.FILE_ANCHOR_MISSING, f"anchor of size {anchor.size}", sentence)
        if lost:
            gone = counted(lost, "anchor of the heads file was", "anchors of the heads file were")
            sentence = f"{gone} lost with a restore; "
            yield Finding(
                Code.ANCHORS_LOST, "the heads file", f"{sentence}each holds over the head that it stamps.", Level.NOTICE
            )

    def _is_lost(self, anchor: StoredAnchor) -> bool:
        """Tell whether the token is valid for a head that a restore gave up or for one from before the last restore."""
        own = self._heads[anchor.size]
        heads = [head for head in self._losses.given_up.values() if head.size == anchor.size]
        heads += [own] if own is not None and own.size <= self._losses.kept else []
        return any(self._holds(anchor, head) for head in heads)

    def _holds(self, anchor: StoredAnchor, head: Head) -> bool:
        try:
            tsp_token.verify(_octets(anchor.token), head_hash(head), self._roots)
        except TokenError:
            return False
        return True


def _digest(anchor: StoredAnchor) -> str:
    """Return SHA-256 of the token, hexadecimal."""
    return sha256(_octets(anchor.token)).hexdigest()


def _octets(token: object) -> bytes:
    """Return the token, or empty bytes for a column of another type, which no check accepts."""
    return token if isinstance(token, bytes) else b""
