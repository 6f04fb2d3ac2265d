"""Lifting the lock of a customer after too many failures: two people at the firm do it, and the customer is told."""

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, text
from chopmark.ra.context import RaContext
from chopmark.ra.refusals import two_people
from chopmark.stepup.ports import Failures


class CustomerLocks:
    """Lifts and lists the locks on customers' factors."""

    def __init__(self, context: RaContext, failures: Failures) -> None:
        self._context = context
        self._failures = failures

    async def release(self, customer: CustomerId, by: str, approved_by: str) -> int:
        """Lift the customer's locks and return how many there were; two different people are needed (I32).

        The number of codes that may be sent to the customer starts again too, because somebody else may have used it
        up. Raises Refused: MALFORMED for a name that is no staff id, FORBIDDEN for the same person twice, NOT_FOUND for
        an unknown customer.
        """
        await two_people(self._context, by, approved_by, "hold_release")
        if await self._context.people.person(customer) is None:
            raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such customer."), field="customer"))
        notices = await self._context.notice(customer, "hold_released", None)

        async def attempt(builder: RecordBuilder) -> int:
            record = builder.record(Event.STAFF_HOLD_RELEASED, by=by, approved_by=approved_by, customer=customer)
            return await self._failures.release(customer, self._context.now(), record, notices)

        return await self._context.audit_log.write(customer_stream(customer), attempt)

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return which factors are locked and why; "code" means every channel and order, "birth_date" that check."""
        return await self._failures.held(customer)
