"""Budgets: each is one conditional statement; several are taken together or not at all."""

from __future__ import annotations

from datetime import datetime

from chopmark.limits.budgets import Budget, Spent
from chopmark.store.columns import ms, span
from chopmark.store.engine import Engine
from chopmark.store.script import Query, Script, at_once, guard, query

_TAKE = """
INSERT INTO counters (name, window_start, used) VALUES (:name, :now, 1)
ON CONFLICT (name) DO UPDATE SET
  used = CASE WHEN counters.window_start <= :since THEN 1 ELSE counters.used + 1 END,
  window_start = CASE WHEN counters.window_start <= :since THEN :now ELSE counters.window_start END
WHERE counters.window_start <= :since OR counters.used < :most
RETURNING used
"""
_GIVE_BACK = "UPDATE counters SET used = used - 1 WHERE name = :name AND used > 0"
_START = "SELECT window_start FROM counters WHERE name = :name"


class _SpentBudget(Exception):
    """Rolls back the budgets taken before the one that is used up."""

    def __init__(self, spent: Spent) -> None:
        super().__init__(spent.name)
        self.spent = spent


def take_each(budgets: tuple[Budget, ...], now: datetime) -> Script[Spent | None]:
    """Take the budgets in order; the first that is used up comes back, and those before it stay taken.

    For use inside a larger script; the caller gives back or rolls back.
    """
    for budget, take in zip(_in_order(budgets), taken(budgets, now), strict=True):
        rows = yield take
        if not rows:
            start = yield query(_START, name=budget.name)
            wait_ms = int(start[0]["window_start"]) + span(budget.window) - ms(now)
            return Spent(budget.name, max(1, -(-wait_ms // 1000)))
    return None


def taken(budgets: tuple[Budget, ...], now: datetime) -> tuple[Query, ...]:
    """Return the statements that take the budgets, for a bundle: guards, in the order in which all take them."""
    return tuple(
        guard(_TAKE, name=budget.name, now=ms(now), since=ms(now) - span(budget.window), most=budget.limit)
        for budget in _in_order(budgets)
    )


def _in_order(budgets: tuple[Budget, ...]) -> list[Budget]:
    return sorted(budgets, key=lambda b: b.name)


def give_back_each(budgets: tuple[Budget, ...]) -> Script[None]:
    """Return one use of each budget."""
    for budget in _in_order(budgets):
        yield give_back(budget.name)


def give_back(name: str) -> Query:
    """Return the statement that gives one use of a budget back; never below zero."""
    return query(_GIVE_BACK, name=name)


class CounterLedger:
    """Implements `limits.budgets.Counters`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take(self, budgets: tuple[Budget, ...], now: datetime) -> Spent | None:
        """Charge every budget once, or none of them."""

        def script() -> Script[None]:
            if (yield from at_once(*taken(budgets, now))) is not None:
                return
            spent = yield from take_each(budgets, now)
            if spent is not None:
                raise _SpentBudget(spent)

        try:
            await self._engine.run(script)
        except _SpentBudget as refused:
            return refused.spent
        return None

    async def give_back(self, budgets: tuple[Budget, ...]) -> None:
        """Return one use of each budget; a window that has closed meanwhile makes no difference."""
        await self._engine.run(give_back_each, budgets)
