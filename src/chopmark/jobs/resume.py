"""Finishing orders that a crash or a slow CA left submitted, and ending orders whose time is over."""

import asyncio
from datetime import timedelta

from chopmark.core.clock import Clock
from chopmark.core.each import each
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import OrderId, OrderState
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.policy import Policy
from chopmark.ra.ports import Orders, Submissions
from chopmark.ra.rekey import Rekey

AFTER = timedelta(seconds=20)
BATCH = 50


class Resume:
    """Repairs of orders that are safe to repeat; any number of workers may run them at the same time."""

    def __init__(
        self,
        orders: Orders,
        submissions: Submissions,
        rekey: Rekey,
        enrolment: Enrolment,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._orders = orders
        self._submissions = submissions
        self._behind = OrderId("")
        self._rekey = rekey
        self._enrolment = enrolment
        self._policy = policy
        self._clock = clock

    async def orders(self) -> int:
        """Resume orders that have been with the CA for longer than a request lasts (I4: within 60 s).

        Return how many were decided; orders that the CA still keeps pending do not count, because there is no reason
        to ask for them again at once. If there are more orders than one batch holds, the next call takes the next
        batch by id, so that orders which never end, even forged ones, do not keep the others from being resumed.
        """
        stuck = await self._submissions.stuck(self._clock.now() - AFTER, self._behind, BATCH)
        self._behind = stuck[-1] if len(stuck) == BATCH else OrderId("")
        outcomes = await asyncio.gather(*(self._issue(order) for order in stuck), return_exceptions=True)
        bugs = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if bugs:  # raised only after all orders of the batch were tried: one fault must not hold up the others
            raise bugs[0]
        return sum(outcome is True for outcome in outcomes)

    async def _issue(self, order: OrderId) -> bool:
        try:
            return await self._rekey.resume(order)
        except Refused as refused:
            return refused.refusal.kind is not Kind.UNAVAILABLE

    async def overdue(self) -> int:
        """End orders that have expired, and those whose certificate was never proved; return how many were ended.

        The customer's earlier certificate stays as it is. An order that cannot be ended keeps no other from it.
        """
        now = self._clock.now()
        unsubmitted = tuple(
            state.value
            for state in (OrderState.OPEN, OrderState.BOUND, OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED)
        )
        late = await self._orders.stuck(unsubmitted, now, BATCH)
        unproven = await self._orders.stuck((OrderState.ISSUED.value,), now - self._policy.unproven_after, BATCH)
        return len(await each((*late, *unproven), self._enrolment.expire))
