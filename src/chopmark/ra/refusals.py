"""Records of refusals: of bad keys and proofs, and of acts of staff that need two people and named only one.

Each kind has a rate limit, so that nobody can flood the audit log: beyond it the answer is the same, but nothing is
written (I41).
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
from chopmark.limits.rate_limits import RateLimit
from chopmark.ra.context import Caller, RaContext, assert_two

P = ParamSpec("P")
T = TypeVar("T")

A_CUSTOMER: Final = 20
"""How many refused keys, and how many refused proofs, are recorded for one customer in an hour, over all orders."""
THE_FIRM: Final = 60
"""How many refused acts of staff are recorded in an hour, over the whole firm."""
_HOUR: Final = timedelta(hours=1)
_RECORDED: Final = frozenset({Kind.BAD_KEY, Kind.BAD_PROOF})


class AtDesk(Protocol):
    """A class of RA verbs, which has a context."""

    _context: RaContext


SelfT = TypeVar("SelfT", bound=AtDesk)
Verb = Callable[Concatenate[SelfT, Caller, OrderId, P], Awaitable[T]]


def refused_as(event: Event) -> Callable[[Verb[SelfT, P, T]], Verb[SelfT, P, T]]:
    """Decorate a verb so that its refusals of a key or a proof are recorded as `event`; they are raised unchanged.

    The record goes to the order's stream. That is safe, because the verb looks the order up for its caller before it
    can refuse a key or a proof: nobody can write into another customer's order.
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
    """Raise Refused unless these are two different people at the firm (I32); record the refusal with the name `act`."""
    try:
        assert_two(by, approved_by)
    except Refused as refused:
        limit = RateLimit("record:staff", THE_FIRM, _HOUR)
        facts = {"by": by, "approved_by": approved_by, "purpose": act}
        await _record(context, system_stream("staff"), limit, Event.STAFF_ACTION_REFUSED, refused, **facts)
        raise


async def _record(
    context: RaContext, stream: StreamId, limit: RateLimit, event: Event, refused: Refused, **facts: str | None
) -> None:
    if await context.rate_limits.take((limit,), context.now()) is not None:
        return
    refusal = refused.refusal

    async def attempt(builder: RecordBuilder) -> None:
        record = builder.record(event, kind=refusal.kind, code=refusal.code, field=refusal.field, **facts)
        await context.orders.note(record)

    await context.audit_log.write(stream, attempt)
