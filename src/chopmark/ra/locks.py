"""Locks after too many failures. Lifting one: two people at the firm, recorded, and the customer is told."""

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, text
from chopmark.ra.context import RaContext
from chopmark.ra.refusals import two_people
from chopmark.stepup.ports import Failures


class CustomerLocks:
    """Releases customers whose factors are on hold."""

    def __init__(self, context: RaContext, failures: Failures) -> None:
        self._context = context
        self._failures = failures

    async def release(self, customer: CustomerId, by: str, approved_by: str) -> int:
        """Lift the customer's holds; return how many. Two different people are needed (I32).

        What was sent counts anew as well: somebody may have used up the customer's codes.

        Raises Refused: MALFORMED for what is no staff id, so that another spelling is no other person.
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
        """Return what is on hold and why: "code" for every channel and order, "birth_date"."""
        return await self._failures.held(customer)
