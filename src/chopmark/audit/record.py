"""One audit record: it names the hash of the record before it in its stream, and a MAC protects it.

A stream is a sequence of records, for example all records of one order. The key of the MAC is outside the database. A
record's canonical bytes are JSON (RFC 8259), keys sorted, no spaces, UTF-8, without the MAC. Its MAC is HMAC-SHA-256
over a label and those bytes. Its hash is the leaf hash of RFC 9162 s.2.1.1 over bytes and MAC together, so that a
change of either changes the Merkle tree.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import NamedTuple, NewType

import msgspec

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact, clean_facts
from chopmark.audit.tree import hash_leaf
from chopmark.core.types import CustomerId, OrderId

StreamId = NewType("StreamId", str)
"""Which stream a record belongs to: an order id, or customer:ID, staff:ID, stranger:HASH, system:NAME."""

GENESIS = bytes(32)
"""The value of `previous` in the first record of a stream."""
_MAC_LABEL = b"chopmark-leaf-1\n"
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,99}")


def order_stream(order: OrderId) -> StreamId:
    """Return the stream of an order."""
    return StreamId(str(order))


def customer_stream(customer: CustomerId) -> StreamId:
    """Return the stream for what a customer does outside an order."""
    return StreamId(f"customer:{customer}")


def staff_stream(staff_id: str) -> StreamId:
    """Return the stream of a person at the firm."""
    return StreamId(f"staff:{staff_id}")


def stranger_stream(keyed_hash: str) -> StreamId:
    """Return the stream for a person whom the directory does not know, by the keyed hash of the name they gave."""
    return StreamId(f"stranger:{keyed_hash}")


def system_stream(name: str) -> StreamId:
    """Return the stream of a job or a ceremony."""
    return StreamId(f"system:{name}")


@dataclass(frozen=True, slots=True)
class AuditKey:
    """A MAC key, which is kept outside the database: its public name, and at least 32 random bytes."""

    kid: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < 32 or not self.kid:
            raise ValueError("an audit key has a name and at least 32 bytes")

    def mac(self, canonical: bytes) -> bytes:
        """Return HMAC-SHA-256 over the label and the canonical bytes: 32 octets."""
        return hmac.digest(self.secret, _MAC_LABEL + canonical, "sha256")


class AuditKeys:
    """The audit keys that the verifier knows, by name: the present one and former ones."""

    __slots__ = ("_by_kid",)

    def __init__(self, keys: Iterable[AuditKey]) -> None:
        self._by_kid: dict[str, AuditKey] = {}
        for key in keys:
            if key.kid in self._by_kid:
                raise ValueError(f"two audit keys are called {key.kid!r}")
            self._by_kid[key.kid] = key

    def get(self, kid: str) -> AuditKey | None:
        """Return the key of this name, or None."""
        return self._by_kid.get(kid)


@dataclass(frozen=True, slots=True)
class Tip:
    """The version and hash of a stream's newest record; 0 and GENESIS when it has no record yet."""

    stream: StreamId
    version: int
    leaf_hash: bytes


def new_stream(stream: StreamId) -> Tip:
    """Return the tip of a stream that has no record yet."""
    return Tip(stream, 0, GENESIS)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as a table or an export holds it: the columns as they are, not checked yet.

    `at` is text made by `stamp`, `facts` is canonical JSON text. `index` is the place in the tree, or None until the
    sequencer gives the record a place. The store does not parse the columns, so that a tampered row becomes a finding
    of the verifier and not a crash.
    """

    stream: str
    version: int
    previous: bytes
    at: str
    event: str
    facts: str
    kid: str
    mac: bytes
    index: int | None = None

    @property
    def leaf_id(self) -> str:
        """The record's name: stream@version."""
        return f"{self.stream}@{self.version}"

    def canonical(self) -> bytes:
        """Return the bytes that the MAC covers; raises ValueError when a column is malformed."""
        return self.opened().canonical

    def opened(self) -> "Opened":
        """Return the record's contents and the bytes that the MAC covers; raises ValueError when one is malformed."""
        self._check()
        try:
            facts = msgspec.json.decode(self.facts)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ValueError("the facts are not JSON") from error
        if not isinstance(facts, dict) or _compact(facts) != self.facts:
            raise ValueError("the facts are not a canonical JSON object")
        at = parse_stamp(self.at)
        canonical = _canonical(self.at, self.stream, self.event, self.facts, self.kid, self.previous, self.version)
        return Opened(canonical, at, facts)

    def leaf_hash(self) -> bytes:
        """Return SHA-256(0x00 || canonical || MAC) (RFC 9162 s.2.1.1); ValueError when malformed."""
        return hash_leaf(self.canonical() + self.mac)

    def record(self) -> "AuditRecord":
        """Return the record with typed values; raises ValueError when it is malformed or its event is unknown."""
        opened = self.opened()
        return AuditRecord(
            stream=StreamId(self.stream),
            version=self.version,
            previous=self.previous,
            at=opened.at,
            event=Event(self.event),
            facts=opened.facts,
            kid=self.kid,
            mac=self.mac,
        )

    def _check(self) -> None:
        texts: tuple[object, ...] = (self.stream, self.at, self.event, self.facts, self.kid)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a text column holds something else")
        hashes: tuple[object, ...] = (self.previous, self.mac)
        if not all(isinstance(octets, bytes) and len(octets) == 32 for octets in hashes):
            raise ValueError("a hash column does not hold 32 octets")
        if not is_count(self.version) or self.version < 1:
            raise ValueError("the version is not a positive integer")


class Opened(NamedTuple):
    """What a stored record says, parsed once: the bytes that its MAC covers, its time and its facts."""

    canonical: bytes
    at: datetime
    facts: dict[str, Fact]


class _Written(NamedTuple):
    """A record as it is written: two of its columns, the bytes that its MAC covers, and its hash."""

    at: str
    facts: str
    canonical: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One recorded event: `at` is aware UTC in whole milliseconds, `mac` 32 octets under `kid`."""

    stream: StreamId
    version: int
    previous: bytes
    at: datetime
    event: Event
    facts: Mapping[str, Fact]
    kid: str
    mac: bytes
    memo: list[_Written] = field(default_factory=list, init=False, repr=False, compare=False)
    """How the record is written, once it was computed; a changed copy computes its own."""

    @property
    def leaf_id(self) -> str:
        """The record's name: stream@version."""
        return f"{self.stream}@{self.version}"

    def stored(self, index: int | None = None) -> StoredRecord:
        """Return the columns to write; `index` is None until the sequencer gives the record a place."""
        return StoredRecord(
            stream=self.stream,
            version=self.version,
            previous=self.previous,
            at=_written(self).at,
            event=self.event.value,
            facts=_written(self).facts,
            kid=self.kid,
            mac=self.mac,
            index=index,
        )


def make_record(tip: Tip, event: Event, facts: Mapping[str, Fact], at: datetime, key: AuditKey) -> AuditRecord:
    """Return the record that continues `tip`, with its MAC under `key`.

    The caller writes it in the transaction of the change, and only if the stream still has `tip.version`. Raises
    ValueError for a malformed stream id, a fact outside the allow-list or a naive time.
    """
    if not _STREAM.fullmatch(tip.stream):
        raise ValueError("a chain id is 1 to 100 letters, digits and : . _ -")
    if at.tzinfo is None:
        raise ValueError("an audit time is aware")
    whole_ms = at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)
    clean = clean_facts(facts)
    at_text, facts_text = stamp(whole_ms), _compact(dict(clean))
    canonical = _canonical(at_text, tip.stream, event, facts_text, key.kid, tip.leaf_hash, tip.version + 1)
    sealed = AuditRecord(
        stream=tip.stream,
        version=tip.version + 1,
        previous=tip.leaf_hash,
        at=whole_ms,
        event=event,
        facts=clean,
        kid=key.kid,
        mac=key.mac(canonical),
    )
    sealed.memo.append(_Written(at_text, facts_text, canonical, hash_leaf(canonical + sealed.mac)))
    return sealed


def _written(record: AuditRecord) -> _Written:
    if not record.memo:
        at, facts = stamp(record.at), _compact(dict(record.facts))
        canonical = _canonical(at, record.stream, record.event, facts, record.kid, record.previous, record.version)
        record.memo.append(_Written(at, facts, canonical, hash_leaf(canonical + record.mac)))
    return record.memo[0]


def encode(record: AuditRecord) -> bytes:
    """Return the canonical bytes, without the MAC."""
    return _written(record).canonical


def leaf_hash(record: AuditRecord) -> bytes:
    """Return SHA-256(0x00 || canonical || MAC) (RFC 9162 s.2.1.1)."""
    return _written(record).leaf_hash


def next_tip(record: AuditRecord) -> Tip:
    """Return the tip of the stream after this record was written."""
    return Tip(record.stream, record.version, leaf_hash(record))


def stamp(at: datetime) -> str:
    """Return RFC 3339 text, UTC, three decimals; parts of a millisecond are dropped."""
    if at.tzinfo is None:
        raise ValueError("an audit time is aware")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_stamp(text: str) -> datetime:
    """Return the aware UTC time of a `stamp`; raises ValueError for any other spelling."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or stamp(at) != text:
        raise ValueError("the time is not RFC 3339 in UTC with milliseconds")
    return at


def is_count(value: object) -> bool:
    """Tell whether a value is an integer of zero or more, and not a boolean."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _compact(facts: Mapping[str, object]) -> str:
    """Return canonical JSON text."""
    return _ENCODER.encode(facts).decode()


_ENCODER = msgspec.json.Encoder(order="sorted")


def _canonical(at: str, stream: str, event: str, facts: str, kid: str, previous: bytes, version: int) -> bytes:
    """Return the canonical bytes. `facts` is canonical JSON text, which stands in them as it is.

    The members are written here in the order of their names; JSON's own quoting escapes each text.
    """
    quoted = encode_basestring
    return (
        f'{{"at":{quoted(at)},"chain":{quoted(stream)},"event":{quoted(event)},"facts":{facts},'
        f'"kid":{quoted(kid)},"previous":"{previous.hex()}","version":{version}}}'
    ).encode()
