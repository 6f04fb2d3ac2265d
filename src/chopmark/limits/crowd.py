"""Rate limits in this process's memory, for answers that write nothing: a flood of them must not reach the database."""

from datetime import datetime

from chopmark.limits.budgets import RateLimit


class Crowd:
    """Counts uses by name within a window; at most `most_names` names are remembered, the oldest is forgotten first.

    A server process has a crowd of its own: with several the limits are theirs together. No I/O and no clock.
    """

    def __init__(self, most_names: int = 4096) -> None:
        self._most_names = most_names
        self._used: dict[str, tuple[datetime, int]] = {}

    def take(self, limits: tuple[RateLimit, ...], now: datetime) -> int:
        """Charge every rate limit once, or none of them; return 0, or in how many seconds to come again."""
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
