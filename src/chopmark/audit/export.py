"""Exports the ledger as JSON Lines, for an auditor who has no access to the database, and reads such an export.

The first line names the format. Each further line is one signed tree head, `{"head": ...}`, the time-stamp of one,
`{"anchor": ...}`, an audit record, `{"leaf": ...}`, or a row of the table of streams, `{"chain": ...}`. The last line
is `{"end": true}`. The export does not interpret rows: it writes a tampered row as it is, so that the verifier finds in
the export what it would have found in the database.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TextIO

from chopmark.audit.ports import Source, StoredAnchor, StoredHead, Unreadable
from chopmark.audit.record import StoredRecord, StreamId, Tip

FORMAT = {"chopmark-audit-export": 1}


async def write_export(source: Source, out: TextIO) -> int:
    """Write the whole source to `out` and return the number of lines; raises OSError."""
    lines = 2
    out.write(_line(FORMAT))
    async for head in source.heads():
        out.write(_line({"head": _head_members(head)}))
        lines += 1
    async for anchor in source.anchors():
        out.write(_line({"anchor": {"size": anchor.size, "token": _base64(anchor.token)}}))
        lines += 1
    for stream in (source.sequenced(), source.unsequenced()):
        async for record in stream:
            out.write(_line({"leaf": _leaf_members(record)}))
            lines += 1
    async for tip in source.streams():
        members = {"chain": tip.stream, "hash": _hex(tip.leaf_hash), "version": tip.version}
        out.write(_line({"chain": members}))
        lines += 1
    out.write(_line({"end": True}))
    return lines


class ExportSource:
    """Implements `Source` over an export; `open_text` opens the same text again for each method.

    `sequenced` returns a line that cannot be read as Unreadable.
    """

    def __init__(self, open_text: Callable[[], AbstractContextManager[Iterable[str]]]) -> None:
        self._open = open_text

    async def sequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield the records that have an index, and every line that cannot be read."""
        for number, kind, members in self._records():
            if kind == "unreadable":
                yield Unreadable(f"line {number}", str(members["why"]))
            elif kind == "leaf" and members.get("index") is not None:
                yield _record(members)

    async def unsequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield the records that have no index."""
        for _, kind, members in self._records():
            if kind == "leaf" and members.get("index") is None:
                yield _record(members)

    async def streams(self) -> AsyncIterator[Tip]:
        """Yield the rows of the table of streams."""
        for _, kind, members in self._records():
            if kind == "chain":
                version: Any = members.get("version")
                yield Tip(StreamId(str(members.get("chain"))), version, _octets(members.get("hash")))

    async def heads(self) -> AsyncIterator[StoredHead]:
        """Yield the signed tree heads."""
        for _, kind, members in self._records():
            if kind == "head":
                size: Any = members.get("size")
                frontier = members.get("frontier")
                octets = None if frontier is None else _octets(frontier)
                yield StoredHead(size, str(members.get("line")), octets)

    async def anchors(self) -> AsyncIterator[StoredAnchor]:
        """Yield the time-stamps of tree heads."""
        for _, kind, members in self._records():
            if kind == "anchor":
                size: Any = members.get("size")
                yield StoredAnchor(size, _from_base64(members.get("token")))

    def _records(self) -> Iterator[tuple[int, str, dict[str, object]]]:
        """Yield (line number, kind, members) of every line; the kind of a malformed line is "unreadable"."""
        number, ended = 0, False
        with self._open() as lines:
            for number, line in enumerate(lines, start=1):
                if ended:
                    yield number, "unreadable", {"why": "there is text after the end"}
                    return
                kind, members = _line_members(line, first=number == 1)
                ended = kind == "end"
                yield number, kind, members
        if not ended:
            yield number + 1, "unreadable", {"why": "the export stops before its end"}


_KINDS = ("leaf", "chain", "head", "anchor")


def _line_members(line: str, *, first: bool) -> tuple[str, dict[str, object]]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return "unreadable", {"why": "the line is not JSON"}
    if first:
        return ("format", {}) if record == FORMAT else ("unreadable", {"why": "this is no audit export"})
    if record == {"end": True}:
        return "end", {}
    if isinstance(record, dict) and len(record) == 1:
        kind, members = next(iter(record.items()))
        if kind in _KINDS and isinstance(members, dict):
            return kind, members
    return "unreadable", {"why": "the line is neither a leaf, a chain, a head nor an anchor"}


def _leaf_members(record: StoredRecord | Unreadable) -> dict[str, object]:
    if isinstance(record, Unreadable):
        return {"place": record.place, "unreadable": record.why}
    return {
        "at": record.at,
        "chain": record.stream,
        "event": record.event,
        "facts": record.facts,
        "index": record.index,
        "kid": record.kid,
        "mac": _hex(record.mac),
        "previous": _hex(record.previous),
        "version": record.version,
    }


def _record(members: dict[str, object]) -> StoredRecord:
    """Return the record as it was exported; the verifier reports columns of a wrong type."""
    columns: dict[str, Any] = {name: members.get(name) for name in ("chain", "version", "at", "event", "facts", "kid")}
    index: Any = members.get("index")
    return StoredRecord(
        stream=columns["chain"],
        version=columns["version"],
        previous=_octets(members.get("previous")),
        at=columns["at"],
        event=columns["event"],
        facts=columns["facts"],
        kid=columns["kid"],
        mac=_octets(members.get("mac")),
        index=index,
    )


def _head_members(head: StoredHead) -> dict[str, object]:
    frontier = None if head.frontier is None else _hex(head.frontier)
    return {"frontier": frontier, "line": head.line, "size": head.size}


def _hex(octets: object) -> str:
    """Return hexadecimal; for a tampered column of another type, text that no reader accepts."""
    return octets.hex() if isinstance(octets, bytes) else f"not octets: {octets!r}"


def _octets(text: object) -> bytes:
    """Return the octets, or none for text that is not hexadecimal; no check accepts empty octets."""
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _base64(octets: object) -> str:
    """Return base64; for a tampered column of another type, text that no reader accepts, as `_hex` does."""
    return b64encode(octets).decode() if isinstance(octets, bytes) else _hex(octets)


def _from_base64(text: object) -> bytes:
    """Return the octets, or none for text that is not base64; no check accepts empty octets."""
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=repr) + "\n"
