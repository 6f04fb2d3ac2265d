"""Budgets in this process's memory, for answers that write nothing: a flood of them must not reach the database."""

from datetime import datetime

from chopmark.limits.budgets import Budget


class Crowd:
    """Counts uses by name within a window; at most `most_names` names are remembered, the oldest is forgotten first.

    A server process has a crowd of its own: with several the limits are theirs together. No I/O and no clock.
    """

    def __init__(self, most_names: int = 4096) -> None:
        self._most_names = most_names
        self._used: dict[str, tuple[datetime, int]] = {}

    def take(self, budgets: tuple[Budget, ...], now: datetime) -> int:
        """Charge every budget once, or none of them; return 0, or in how many seconds to come again."""
        for budget in budgets:
            started, used = self._of(budget, now)
            if used >= budget.limit:
                return max(1, -int(-(started + budget.window - now).total_seconds() // 1))
        for budget in budgets:
            started, used = self._of(budget, now)
            self._used.pop(budget.name, None)
            self._used[budget.name] = started, used + 1
        while len(self._used) > self._most_names:
            del self._used[next(iter(self._used))]
        return 0

    def _of(self, budget: Budget, now: datetime) -> tuple[datetime, int]:
        started, used = self._used.get(budget.name, (now, 0))
        return (now, 0) if not started <= now < started + budget.window else (started, used)
