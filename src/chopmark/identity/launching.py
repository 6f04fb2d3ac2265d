"""Launch tickets: a trading program sends its signed-in customer to the portal (I20).

The program authenticates with its client secret and gets a one-time ticket. The customer's browser redeems the ticket,
and the page shows whose it is. A session is opened only after the customer has confirmed. A client can ask for tickets
within its scope and its rate. When a client is disabled, it and its unconfirmed tickets end at once.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import StreamId, customer_stream, new_stream, staff_stream, stranger_stream
from chopmark.core.clock import Clock, Entropy
from chopmark.core.counted import in_seconds
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, Secret, text
from chopmark.identity import ports
from chopmark.identity.ports import Client, Launch, Launches, Records
from chopmark.identity.scope import Scope
from chopmark.identity.sessions import Opened, SessionService, bearer, digest
from chopmark.limits.rate_limits import RateLimit, RateLimits
from chopmark.tw.text import is_one_line

TICKET_LIFE = timedelta(seconds=60)
ROTATION_OVERLAP = timedelta(days=7)
_MINUTE = timedelta(minutes=1)
CROWD = 60
"""How many unknown tickets, or wrong client secrets, one network may send in a minute, and how many of all networks
together are recorded in a minute, so that strangers cannot fill the audit (I41)."""
REPLAYS = 60
"""How many refused uses of one ticket are recorded in an hour."""
LONGEST_NAME = 80
_CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A client's new secret; it is shown to the operator once."""

    client: str
    secret: Secret


class LaunchTickets:
    """Makes and redeems launch tickets, and keeps the clients that may ask for them."""

    def __init__(
        self,
        launches: Launches,
        records: Records,
        rate_limits: RateLimits,
        sessions: SessionService,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._launches = launches
        self._records = records
        self._rate_limits = rate_limits
        self._sessions = sessions
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy

    async def authenticate(
        self, client_id: str, secret: Secret, customer: CustomerId, network: str = "unknown"
    ) -> Client:
        """Return the client whose secret this is; raise Refused otherwise.

        The previous secret is accepted for a week after a rotation. `customer` is the customer that the client asks
        for. A right secret is accepted even when others in its network have tried too often.
        """
        client, tip = await self._launches.asked(client_id, customer)
        self._audit_log.know(tip)
        given = digest(secret.reveal())
        now = self._clock.now()
        if client is not None and client.disabled_at is None:
            if hmac.compare_digest(client.secret_hash, given):
                return client
            overlap = client.previous_until is not None and now < client.previous_until
            if overlap and client.previous_hash and hmac.compare_digest(client.previous_hash, given):
                return client
        raise Refused(await self._crowd("client", network, Event.PORTAL_CLIENT_REFUSED, _NO_CLIENT))

    async def _crowd(self, interface: str, network: str, event: Event, refusal: Refusal) -> Refusal:
        """Return `refusal` for a request from an unknown sender, or TOO_MANY when its network tries too often.

        `refusal` is recorded in one audit stream for all such senders, as long as the rate limit for records allows it.
        """
        now = self._clock.now()
        spent = await self._rate_limits.take((RateLimit(f"crowd:{interface}:{network}", CROWD, _MINUTE),), now)
        if spent is not None:
            return _later(spent.retry_after_s)
        record = (RateLimit(f"record:{interface}", CROWD, _MINUTE),)
        await self._audit_log.write(
            stranger_stream(interface),
            lambda builder: self._records.note_within(
                builder.record(event, network=network, code=refusal.code), record, now
            ),
        )
        return refusal

    async def create(
        self,
        client: Client,
        customer: CustomerId,
        account: AccountNumber,
        factors: frozenset[FactorClass],
        wanted: str | None,
    ) -> Secret:
        """Return a ticket for the client's signed-in customer: 256 random bits, valid for 60 seconds and one use.

        Raises Refused: FORBIDDEN outside the client's scope, TOO_MANY beyond its rate, NOT_FOUND for an account that
        is not the customer's, UNAUTHENTICATED when the client was disabled meanwhile.
        """
        if not factors:
            raise Refused(
                Refusal(Kind.MALFORMED, text("Say which factors the login used."), field="factors", code="factors")
            )
        now = self._clock.now()
        outside = client.scope.refusal(account, factors, wanted)
        if outside is not None:
            await self._outside(client, outside, now)
            raise Refused(outside)
        ticket = bearer(self._entropy)
        launch = Launch(digest(ticket), client.id, customer, account, factors, wanted, now, now + TICKET_LIFE)
        rate = (RateLimit(f"launches:{client.id}", client.scope.per_minute, _MINUTE),)

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            facts = {"client": client.id, "account": account, "factor": "+".join(sorted(factors))}
            return await self._launches.create(launch, rate, builder.record(Event.PORTAL_LAUNCH_CREATED, **facts))

        refused = await self._audit_log.write(customer_stream(customer), attempt)
        if refused is not None:
            raise Refused(refused)
        return Secret(ticket)

    async def _outside(self, client: Client, refusal: Refusal, now: datetime) -> None:
        record = (RateLimit(f"record:client:{client.id}", CROWD, _MINUTE),)
        facts = {"client": client.id, "code": refusal.code, "field": refusal.field}
        await self._audit_log.write(
            stranger_stream("client"),
            lambda builder: self._records.note_within(
                builder.record(Event.PORTAL_CLIENT_REFUSED, **facts), record, now
            ),
        )

    async def take(self, ticket: Secret, visitor: str, network: str = "unknown") -> Launch:
        """Redeem a ticket: return what it is for and bind it to this visitor; further uses are refused and recorded."""
        hashed, now = digest(ticket.reveal()), self._clock.now()
        self._audit_log.know(new_stream(_ticket_chain(hashed)))

        async def attempt(builder: RecordBuilder) -> Launch | Refusal:
            return await self._launches.use(hashed, digest(visitor), now, builder.record(Event.PORTAL_LAUNCH_TAKEN))

        return await self._settle(hashed, attempt, network)

    async def asked(self, ticket: Secret, visitor: str) -> Launch | None:
        """Return what a ticket is for that this visitor has redeemed and may still confirm; None for any other."""
        return await self._launches.taken(digest(ticket.reveal()), digest(visitor), self._clock.now())

    async def _settle(
        self, hashed: bytes, attempt: Callable[[RecordBuilder], Awaitable[Launch | Refusal]], network: str
    ) -> Launch:
        """Return the launch that `attempt` gives; record and raise its refusal otherwise.

        The refusal of a ticket is recorded in the ticket's own audit stream, that of an unknown one as in `_crowd`.
        """
        found = await self._audit_log.write(_ticket_chain(hashed), attempt)
        if not isinstance(found, Refusal):
            return found
        if found.code == ports.UNKNOWN:
            raise Refused(await self._crowd("launch", network, Event.PORTAL_LAUNCH_REFUSED, found))
        record = (RateLimit(f"record:{_ticket_chain(hashed)}", REPLAYS, timedelta(hours=1)),)
        now, facts = self._clock.now(), {"network": network, "code": found.code}
        await self._audit_log.write(
            _ticket_chain(hashed),
            lambda builder: self._records.note_within(
                builder.record(Event.PORTAL_LAUNCH_REFUSED, **facts), record, now
            ),
        )
        raise Refused(found)

    async def confirm(
        self, ticket: Secret, visitor: str, replaces: str | None, network: str = "unknown"
    ) -> tuple[Opened, str | None]:
        """Open the session after the customer has confirmed; return it and the page that the client asked for.

        This works once, and only for the visitor to whom `take` has bound the ticket.
        """
        hashed, now = digest(ticket.reveal()), self._clock.now()

        async def attempt(builder: RecordBuilder) -> Launch | Refusal:
            return await self._launches.confirm(hashed, digest(visitor), now, builder.record(Event.PORTAL_LAUNCH_USED))

        found = await self._settle(hashed, attempt, network)
        opened = await self._sessions.open(found.customer, found.factors, found.account, "launch", replaces)
        return opened, found.wanted

    async def put_client(self, client_id: str, name: str, by: str) -> Credential:
        """Create a client or rotate its secret; the previous secret stays valid for a week.

        A disabled client is enabled again with the new secret only. The new secret is returned here and never again,
        because only its hash is stored.
        """
        if not _CLIENT_ID.fullmatch(client_id):
            raise Refused(
                Refusal(
                    Kind.MALFORMED,
                    text("A client id is 2 to 40 of a-z, 0-9 and '-'."),
                    field="client",
                    code="client_id",
                )
            )
        if not is_one_line(name, LONGEST_NAME):
            said = text("A client's name is one line of 1 to %(most)s characters that can be seen.", most=LONGEST_NAME)
            raise Refused(Refusal(Kind.MALFORMED, said, field="name", code="name"))
        now = self._clock.now()
        secret = bearer(self._entropy)
        known = await self._launches.client(client_id)
        if known is None:
            client = Client(client_id, name, digest(secret), None, None, None)
        else:
            overlaps = known.disabled_at is None
            client = replace(
                known,
                secret_hash=digest(secret),
                previous_hash=known.secret_hash if overlaps else None,
                previous_until=now + ROTATION_OVERLAP if overlaps else None,
            )

        async def attempt(builder: RecordBuilder) -> None:
            record = builder.record(Event.STAFF_CLIENT_CREATED, client=client_id, by=by)
            await self._launches.put_client(client, now, record)

        await self._audit_log.write(staff_stream(by), attempt)
        return Credential(client_id, Secret(secret))

    async def limit(self, client_id: str, scope: Scope, by: str) -> None:
        """Set what a client may ask for from now on; this replaces its scope."""

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.STAFF_CLIENT_CHANGED, client=client_id, by=by, scope=str(scope))
            return await self._launches.put_scope(client_id, scope, record)

        if not await self._audit_log.write(staff_stream(by), attempt):
            raise Refused(_NO_SUCH_CLIENT)

    async def disable(self, client_id: str, by: str) -> None:
        """Disable a client at once, and its tickets that were not confirmed."""

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.STAFF_CLIENT_REMOVED, client=client_id, by=by, reason="disabled")
            return await self._launches.disable(client_id, self._clock.now(), record)

        if not await self._audit_log.write(staff_stream(by), attempt):
            raise Refused(_NO_SUCH_CLIENT)

    async def end_previous(self, client_id: str, by: str) -> None:
        """End a client's previous secret at once, and its tickets that were not confirmed."""

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.STAFF_CLIENT_REMOVED, client=client_id, by=by, reason="previous_secret")
            return await self._launches.end_previous(client_id, self._clock.now(), record)

        if not await self._audit_log.write(staff_stream(by), attempt):
            raise Refused(_NO_PREVIOUS)

    async def clients(self) -> list[Client]:
        """Return the clients, without their secrets."""
        return await self._launches.clients()


def _ticket_chain(hashed: bytes) -> StreamId:
    return stranger_stream(f"ticket-{hashed.hex()[:16]}")


def _later(seconds: int) -> Refusal:
    said = text("There were too many attempts from your network. Please wait %(wait)s.", wait=in_seconds(seconds))
    return Refusal(Kind.TOO_MANY, said, code="crowd", retry_after_s=seconds)


_NO_CLIENT = Refusal(Kind.UNAUTHENTICATED, text("The client credential is not valid."), code="client")
_NO_SUCH_CLIENT = Refusal(Kind.NOT_FOUND, text("There is no such client in force."), field="client", code="client")
_NO_PREVIOUS = Refusal(Kind.NOT_FOUND, text("This client has no previous secret."), field="client", code="client")
