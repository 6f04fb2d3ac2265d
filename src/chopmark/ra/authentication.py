"""Finding out who sends a request: session, Idempotency-Key and the order's snapshot are read in one go."""

from dataclasses import dataclass

from chopmark.core.types import OrderId
from chopmark.identity.ports import Session
from chopmark.identity.sessions import IDLE, digest
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.snapshots import Repeat


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """A request of a signed-in customer: its session token, the session, and the caller for the RA's verbs.

    `repeat` identifies a change that the client may send twice; `begun` is True when this request is the first with its
    Idempotency-Key, which is now in use.
    """

    token: str
    session: Session
    caller: Caller
    repeat: Repeat | None = None
    begun: bool = False


class RequestAuthentication:
    """Finds out who sends a request, and reads at the same moment the snapshot that the request works on."""

    def __init__(self, context: RaContext) -> None:
        self._context = context

    async def authenticate(
        self, token: str, language: str, order: OrderId | None = None, repeat: Repeat | None = None
    ) -> AuthenticatedRequest | None:
        """Return the request of the customer who has this session; None if no live session has this token.

        The request's caller carries the snapshot of `order`, or of the customer if no order is named.
        """
        now = self._context.now()
        found = await self._context.snapshots.enter(digest(token), order, repeat, now, now - IDLE)
        if found is None:
            return None
        session = found.session
        caller = Caller(session.customer, session.factors, session.interface, session.login, language, found.snapshot)
        return AuthenticatedRequest(token, session, caller, repeat, begun=found.begun)
