"""Who comes in, and what for: session, Idempotency-Key and the order's snapshot, read at one moment."""

from dataclasses import dataclass

from chopmark.core.types import OrderId
from chopmark.identity.ports import Session
from chopmark.identity.sessions import IDLE, digest
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.snapshots import Repeat


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """A request of a signed-in customer: the session token it carried, the session, and whom the RA's verbs see.

    `repeat` is the change that may be asked for twice; `begun` says that its Idempotency-Key is new, and is taken now.
    """

    token: str
    session: Session
    caller: Caller
    repeat: Repeat | None = None
    begun: bool = False


class RequestAuthentication:
    """Finds out who sends a request, and reads what its step works on, in one go."""

    def __init__(self, context: RaContext) -> None:
        self._context = context

    async def authenticate(
        self, token: str, language: str, order: OrderId | None = None, repeat: Repeat | None = None
    ) -> AuthenticatedRequest | None:
        """Return the request of whoever has this session; None without a live session.

        Its caller carries the snapshot of `order`, or of the customer where no order is named.
        """
        now = self._context.now()
        found = await self._context.snapshots.enter(digest(token), order, repeat, now, now - IDLE)
        if found is None:
            return None
        session = found.session
        caller = Caller(session.customer, session.factors, session.door, session.login, language, found.snapshot)
        return AuthenticatedRequest(token, session, caller, repeat, begun=found.begun)
