"""Rate limits in the memory of one process, for requests that write nothing; counting them costs no database access."""

from datetime import datetime

from chopmark.limits.rate_limits import RateLimit


class Crowd:
    """Counts uses by name within a window; at most `most_names` names are kept, and the oldest is dropped first.

    Each server process counts for itself, so that several processes together allow several times the limit. It does no
    I/O and reads no clock.
    """

    def __init__(self, most_names: int = 4096) -> None:
        self._most_names = most_names
        self._used: dict[str, tuple[datetime, int]] = {}

    def take(self, limits: tuple[RateLimit, ...], now: datetime) -> int:
        """Charge every rate limit once and return 0; if one is used up, charge none and return the seconds to wait."""
        for limit in limits:
            started, used = self._of(limit, now)
            if used >= limit.limit:
                return max(1, -int(-(started + limit.window - now).total_seconds() // 1))
        for limit in limits:
            started, used = self._of(limit, now)
            self._used.pop(limit.name, None)
            self._used[limit.name] = started, used + 1
        while len(self._used) > self._most_names:
            del self._used[next(iter(self._used))]
        return 0

    def _of(self, limit: RateLimit, now: datetime) -> tuple[datetime, int]:
        started, used = self._used.get(limit.name, (now, 0))
        return (now, 0) if not started <= now < started + limit.window else (started, used)
