"""Turn values into what columns hold, and back: moments into epoch milliseconds, sets of words into sorted text."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
SKEW_MS: Final = 60_000
"""The clocks of two machines may differ by so much. A stored moment that lies further in the future was written by a
machine whose clock was wrong, and is ignored."""
AHEAD: Final = f"CAST(:now AS BIGINT) + {SKEW_MS}"
"""In SQL: the latest moment that a row may have; a later one comes from a wrong clock."""


def ms(moment: datetime) -> int:
    """Return an aware moment as epoch milliseconds; what is below a millisecond is dropped."""
    return (moment - _EPOCH) // _MS


def ms_or_none(moment: datetime | None) -> int | None:
    """Return epoch milliseconds, or None for no moment."""
    return None if moment is None else ms(moment)


def moment(epoch_ms: int) -> datetime:
    """Return the aware UTC moment of epoch milliseconds."""
    return _EPOCH + epoch_ms * _MS


def moment_or_none(epoch_ms: int | None) -> datetime | None:
    """Return the moment, or None."""
    return None if epoch_ms is None else moment(epoch_ms)


def span(length: timedelta) -> int:
    """Return a length of time in milliseconds."""
    return length // _MS


def words(values: frozenset[str]) -> str:
    """Return a set of words as one sorted text."""
    return "+".join(sorted(values))


def blobs(parts: tuple[bytes, ...]) -> bytes:
    """Return several byte strings as one, each behind its length (4 octets)."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unblobs(joined: bytes) -> tuple[bytes, ...]:
    """Return what `blobs` joined."""
    parts: list[bytes] = []
    at = 0
    while at < len(joined):
        size = int.from_bytes(joined[at : at + 4], "big")
        parts.append(joined[at + 4 : at + 4 + size])
        at += 4 + size
    return tuple(parts)
