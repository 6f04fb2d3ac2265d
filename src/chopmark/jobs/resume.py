"""Finishing what a crash or a slow CA left: submitted orders, overdue orders."""

import asyncio
from datetime import timedelta

from chopmark.clock import Clock
from chopmark.errors import Kind, Refused
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.model import Order
from chopmark.ra.policy import Policy
from chopmark.ra.ports import Orders
from chopmark.ra.rekey import Rekey
from chopmark.words import OrderState

AFTER = timedelta(seconds=20)
BATCH = 50


class Resume:
    """Idempotent repairs; any number of workers may run them."""

    def __init__(
        self,
        orders: Orders,
        rekey: Rekey,
        enrolment: Enrolment,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._orders = orders
        self._rekey = rekey
        self._enrolment = enrolment
        self._policy = policy
        self._clock = clock

    async def orders(self) -> int:
        """Resume orders that have been with the CA for longer than a request lasts (I4: within 60 s).

        Return how many have left the CA: those that still wait there are no reason to ask again at once.
        """
        waiting = (OrderState.SUBMITTED.value, OrderState.PENDING.value)
        stuck = await self._orders.stuck(waiting, self._clock.now() - AFTER, BATCH)
        outcomes = await asyncio.gather(*(self._issue(order) for order in stuck), return_exceptions=True)
        bugs = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if bugs:  # one order's fault does not keep the others waiting, and is not swallowed
            raise bugs[0]
        return sum(outcome is True for outcome in outcomes)

    async def _issue(self, order: Order) -> bool:
        try:
            return await self._rekey.resume(order)
        except Refused as refused:
            return refused.refusal.kind is not Kind.UNAVAILABLE

    async def overdue(self) -> int:
        """End orders whose day is over, and those whose certificate was never proved; the old one is untouched."""
        now = self._clock.now()
        unsubmitted = tuple(
            state.value for state in (OrderState.OPEN, OrderState.BOUND, OrderState.CODED, OrderState.CHECKED)
        )
        late = await self._orders.stuck(unsubmitted, now, BATCH)
        unproven = await self._orders.stuck((OrderState.ISSUED.value,), now - self._policy.unproven_after, BATCH)
        for order in (*late, *unproven):
            await self._enrolment.expire(order)
        return len(late) + len(unproven)
