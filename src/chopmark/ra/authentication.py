"""Who comes in, and what for: session, Idempotency-Key and the order's snapshot, read at one moment."""

from dataclasses import dataclass

from chopmark.core.types import OrderId
from chopmark.identity.ports import Session
from chopmark.identity.sessions import IDLE, digest
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.snapshots import Repeat


@dataclass(frozen=True, slots=True)
class AuthenticatedRequest:
    """Somebody with a session; `begun`: the Idempotency-Key that they brought is new, and is taken."""

    session: Session
    caller: Caller
    begun: bool


class RequestAuthentication:
    """Lets customers in to one step each."""

    def __init__(self, context: RaContext) -> None:
        self._context = context

    async def enter(
        self, token: str, language: str, order: OrderId | None = None, repeat: Repeat | None = None
    ) -> AuthenticatedRequest | None:
        """Return who has this session, with the snapshot of `order` or of the customer; None without a live session."""
        now = self._context.now()
        found = await self._context.snapshots.enter(digest(token), order, repeat, now, now - IDLE)
        if found is None:
            return None
        session = found.session
        caller = Caller(session.customer, session.factors, session.door, session.login, language, found.snapshot)
        return AuthenticatedRequest(session, caller, found.begun)
