"""Records of refusals: keys and proofs that do not hold, and what one person at the firm tried alone.

Each has a rate limit, so that nobody floods the audit: beyond it the answer is the same and nothing is written (I41).
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import StreamId, order_stream, system_stream
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import OrderId
from chopmark.limits.budgets import RateLimit
from chopmark.ra.context import Caller, RaContext, assert_two

P = ParamSpec("P")
T = TypeVar("T")

A_CUSTOMER: Final = 20
"""Refused keys, and refused proofs, that are recorded for one customer in an hour, over all orders."""
THE_FIRM: Final = 60
"""Refused acts of staff that are recorded in an hour."""
_HOUR: Final = timedelta(hours=1)
_RECORDED: Final = frozenset({Kind.BAD_KEY, Kind.BAD_PROOF})


class AtDesk(Protocol):
    """A verb's home: it works with a context."""

    _context: RaContext


SelfT = TypeVar("SelfT", bound=AtDesk)
Verb = Callable[Concatenate[SelfT, Caller, OrderId, P], Awaitable[T]]


def refused_as(event: Event) -> Callable[[Verb[SelfT, P, T]], Verb[SelfT, P, T]]:
    """Have a verb's refusals of a key or a proof recorded as `event` in the order's chain; they go on as they are.

    The verb has looked the order up for its caller before it can refuse a key or a proof, so that nobody writes into
    somebody else's order.
    """

    def around(verb: Verb[SelfT, P, T]) -> Verb[SelfT, P, T]:
        @wraps(verb)
        async def recorded(self: SelfT, caller: Caller, order_id: OrderId, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return await verb(self, caller, order_id, *args, **kwargs)
            except Refused as refused:
                if refused.refusal.kind in _RECORDED:
                    limit = RateLimit(f"record:{event.value}:{caller.customer}", A_CUSTOMER, _HOUR)
                    await _record(self._context, order_stream(order_id), limit, event, refused, door=caller.interface)
                raise

        return recorded

    return around


async def two_people(context: RaContext, by: str, approved_by: str, act: str) -> None:
    """Raise Refused unless these are two different people at the firm (I32), and record what one tried alone."""
    try:
        assert_two(by, approved_by)
    except Refused as refused:
        limit = RateLimit("record:staff", THE_FIRM, _HOUR)
        facts = {"by": by, "approved_by": approved_by, "purpose": act}
        await _record(context, system_stream("staff"), limit, Event.STAFF_ACTION_REFUSED, refused, **facts)
        raise


async def _record(
    context: RaContext, chain: StreamId, limit: RateLimit, event: Event, refused: Refused, **facts: str | None
) -> None:
    if await context.rate_limits.take((limit,), context.now()) is not None:
        return
    refusal = refused.refusal

    async def attempt(builder: RecordBuilder) -> None:
        record = builder.record(event, kind=refusal.kind, code=refusal.code, field=refusal.field, **facts)
        await context.orders.note(record)

    await context.audit_log.write(chain, attempt)
