"""Finishing what a crash or a slow CA left: submitted orders, overdue orders, certificates to be revoked."""

import asyncio
from datetime import timedelta

from chopmark.audit.leaf import Leaf
from chopmark.clock import Clock
from chopmark.errors import Kind, Refused
from chopmark.post.ports import Work, WorkKind, Works
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.model import Order
from chopmark.ra.policy import Policy
from chopmark.ra.ports import Orders
from chopmark.ra.rekey import Rekey
from chopmark.ra.revocation import Revocation
from chopmark.words import OrderState, Serial

AFTER = timedelta(seconds=20)
BATCH = 50
LEASE_S = 60


class Resume:
    """Idempotent repairs; any number of workers may run them."""

    def __init__(
        self,
        orders: Orders,
        works: Works[Leaf],
        rekey: Rekey,
        revocation: Revocation,
        enrolment: Enrolment,
        policy: Policy,
        clock: Clock,
        holder: str,
    ) -> None:
        self._orders = orders
        self._works = works
        self._rekey = rekey
        self._revocation = revocation
        self._enrolment = enrolment
        self._policy = policy
        self._clock = clock
        self._holder = holder

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
            return await self._rekey.issue(order, resumed=True)
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

    async def revocations(self) -> int:
        """Have the CA revoke what the RA has ended; a failure is tried again."""
        works = await self._works.claim((WorkKind.REVOKE,), BATCH, self._holder, self._clock.now(), LEASE_S)
        for work in works:
            await self._revoke(work)
        return len(works)

    async def _revoke(self, work: Work) -> None:
        try:
            await self._revocation.at_ca(Serial(str(work.facts["serial"])), str(work.facts["reason"]))
        except Refused as refused:
            wait = timedelta(seconds=min(300, 2**work.attempts))
            await self._works.retry(work, self._holder, self._clock.now() + wait, refused.refusal.kind.value)
            return
        await self._works.done(work, self._holder, self._clock.now(), "revoked", None)
