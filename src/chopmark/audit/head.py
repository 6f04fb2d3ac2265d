"""The signed tree head (RFC 9162), in short *head*: the tree's size, its root, and the hash of the head before.

A head is one line of JSON, keys sorted, no spaces. The signature covers a label and the line
without its signature, so an auditor needs only the public key to check it. A time-stamp token (RFC 3161) over
the head has `head_hash` as its message imprint.

A **successor** is a head that is signed after an older copy of the database was restored; it has one more member,
`lost`. It continues the restored ledger's tree from the head whose hash is `lost.base`. In `previous` it names the last
head of the lost tree, so that each head in the heads file outside the database still names the one before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chopmark.audit.record import is_count, parse_stamp, stamp

_LABEL = b"chopmark-head-1\n"
_MEMBERS = {"at", "fencing", "previous", "root", "signature", "size"}
_LOST_MEMBERS = {"base", "root", "size"}

FIRST_HEAD = bytes(32)
"""The value of `previous` in the very first head, which has no head before it."""

HeadPublicKey = Ed25519PublicKey | EllipticCurvePublicKey
"""Ed25519 (RFC 8032), or ECDSA with SHA-256 over P-256 in DER."""


class HeadSigner(Protocol):
    """Signs heads with a key outside the database."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature: Ed25519, or ECDSA with SHA-256 in DER."""
        ...

    @property
    def public_key(self) -> HeadPublicKey:
        """The key with which an auditor checks the signatures."""
        ...


@dataclass(frozen=True, slots=True)
class Lost:
    """What a restore has lost: a tree of `size` leaves with `root`.

    `base` is the hash of the last head of the restored ledger.
    """

    base: bytes
    root: bytes
    size: int


@dataclass(frozen=True, slots=True)
class HeadDraft:
    """A head without its signature: a tree of `size` leaves with `root`, at an aware UTC time.

    `previous` is the hash of the head before, `fencing` the fencing number of the sequencer's lease. `lost` is set in a
    successor only.
    """

    size: int
    root: bytes
    at: datetime
    previous: bytes
    fencing: int
    lost: Lost | None = None

    @property
    def continues(self) -> bytes:
        """The hash of the head before this one in the same ledger."""
        return self.previous if self.lost is None else self.lost.base

    def message(self) -> bytes:
        """Return the bytes that the signature covers."""
        return _LABEL + _compact(self._members()).encode()

    def signed(self, signature: bytes) -> "Head":
        """Return the head with this signature; it is not verified here."""
        return Head(self, signature)

    def _members(self) -> dict[str, object]:
        members: dict[str, object] = {
            "at": stamp(self.at),
            "fencing": self.fencing,
            "previous": self.previous.hex(),
            "root": self.root.hex(),
            "size": self.size,
        }
        if self.lost is not None:
            lost = self.lost
            members["lost"] = {"base": lost.base.hex(), "root": lost.root.hex(), "size": lost.size}
        return members


@dataclass(frozen=True, slots=True)
class Head:
    """A draft and its signature, which nobody has verified yet: call `verify_head`."""

    draft: HeadDraft
    signature: bytes

    @property
    def size(self) -> int:
        """How many leaves the tree has; each is one record."""
        return self.draft.size

    @property
    def root(self) -> bytes:
        """The Merkle tree hash over these leaves."""
        return self.draft.root


def encode_head(head: Head) -> str:
    """Return the head as one line of JSON, without a line end."""
    return _compact({**json.loads(head.draft.message()[len(_LABEL) :]), "signature": head.signature.hex()})


def decode_head(line: str) -> Head:
    """Return the head that `encode_head` wrote; raises ValueError for any other spelling."""
    try:
        members = json.loads(line)
        if not isinstance(members, dict) or members.keys() - {"lost"} != _MEMBERS:
            raise ValueError("not the members of a head")
        head = Head(
            HeadDraft(
                size=_count(members["size"]),
                root=bytes.fromhex(members["root"]),
                at=parse_stamp(members["at"]),
                previous=bytes.fromhex(members["previous"]),
                fencing=_count(members["fencing"]),
                lost=_lost(members["lost"]) if "lost" in members else None,
            ),
            bytes.fromhex(members["signature"]),
        )
    except (TypeError, RecursionError) as error:
        raise ValueError("a member of the head has the wrong type") from error
    if encode_head(head) != line:
        raise ValueError("the head is not spelled canonically")
    return head


def head_hash(head: Head) -> bytes:
    """Return SHA-256 of the head's line; the next head has it in `previous`."""
    return sha256(encode_head(head).encode()).digest()


def verify_head(head: Head, public_keys: Sequence[HeadPublicKey]) -> bool:
    """Tell whether one of the keys made the signature."""
    return any(_holds(head, key) for key in public_keys)


def _holds(head: Head, key: HeadPublicKey) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(head.signature, head.draft.message())
        else:
            key.verify(head.signature, head.draft.message(), ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _lost(members: object) -> Lost:
    if not isinstance(members, dict) or members.keys() != _LOST_MEMBERS:
        raise ValueError("not the members of what was lost")
    return Lost(bytes.fromhex(members["base"]), bytes.fromhex(members["root"]), _count(members["size"]))


def _count(value: object) -> int:
    if not isinstance(value, int) or not is_count(value):
        raise ValueError("a count of the head is not an integer of zero or more")
    return value


def _compact(members: Mapping[str, object]) -> str:
    return json.dumps(members, separators=(",", ":"), sort_keys=True)
