"""Launch tickets: how a trading program hands its signed-in customer over (I20).

The program proves itself with a client credential and gets a one-time ticket; the customer's browser takes the
ticket, shows whose it is, and only the customer's yes opens a session.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.leaf import ChainId, customer_chain, new_chain, staff_chain, stranger_chain
from chopmark.audit.recorder import Pen, Recorder
from chopmark.clock import Clock, Entropy
from chopmark.errors import Kind, Refusal, Refused
from chopmark.identity.people import People
from chopmark.identity.ports import Client, Launch, Launches, Records
from chopmark.identity.sessions import Door, Opened, bearer, digest
from chopmark.words import AccountNumber, CustomerId, FactorClass, Secret, text

TICKET_LIFE = timedelta(seconds=60)
ROTATION_OVERLAP = timedelta(days=7)
_CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A client's new secret; shown once."""

    client: str
    secret: Secret


class LaunchDesk:
    """Makes and redeems launch tickets, and keeps the clients that may ask for them."""

    def __init__(
        self,
        launches: Launches,
        records: Records,
        people: People,
        door: Door,
        recorder: Recorder,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._launches = launches
        self._records = records
        self._people = people
        self._door = door
        self._recorder = recorder
        self._clock = clock
        self._entropy = entropy

    async def authenticate(self, client_id: str, secret: Secret, customer: CustomerId) -> Client:
        """Return the client whose secret this is; raise Refused otherwise. Old secrets live a week after rotation.

        `customer` is whom it asks for.
        """
        client, tip = await self._launches.asked(client_id, customer)
        self._recorder.know(tip)
        given = digest(secret.reveal())
        now = self._clock.now()
        if client is not None and client.disabled_at is None:
            if hmac.compare_digest(client.secret_hash, given):
                return client
            overlap = client.previous_until is not None and now < client.previous_until
            if overlap and client.previous_hash and hmac.compare_digest(client.previous_hash, given):
                return client
        await self._recorder.write(
            stranger_chain(f"client-{digest(client_id).hex()[:16]}"),
            lambda pen: self._records.note(pen.leaf(Event.PORTAL_CLIENT_REFUSED)),
        )
        raise Refused(Refusal(Kind.UNAUTHENTICATED, text("The client credential is not valid."), code="client"))

    async def create(
        self,
        client: Client,
        customer: CustomerId,
        account: AccountNumber,
        factors: frozenset[FactorClass],
        wanted: str | None,
    ) -> Secret:
        """Return a ticket for the client's signed-in customer: opaque, 256 bits, 60 seconds, single use."""
        if not factors:
            raise Refused(
                Refusal(Kind.MALFORMED, text("Say which factors the login used."), field="factors", code="factors")
            )
        now = self._clock.now()
        ticket = bearer(self._entropy)
        launch = Launch(digest(ticket), client.id, customer, account, factors, wanted, now, now + TICKET_LIFE)

        async def attempt(pen: Pen) -> bool:
            facts = {"client": client.id, "account": account, "factor": "+".join(sorted(factors))}
            return await self._launches.create(launch, pen.leaf(Event.PORTAL_LAUNCH_CREATED, **facts))

        if not await self._recorder.write(customer_chain(customer), attempt):
            raise Refused(
                Refusal(Kind.NOT_FOUND, text("This customer has no such account."), field="account", code="account")
            )
        return Secret(ticket)

    async def take(self, ticket: Secret, visitor: str) -> Launch:
        """Return what a ticket is for and bind it to this visitor; every further use is refused and recorded."""
        hashed, now = digest(ticket.reveal()), self._clock.now()
        self._recorder.know(new_chain(_ticket_chain(hashed)))

        async def attempt(pen: Pen) -> Launch | Refusal:
            yes, no = pen.leaf(Event.PORTAL_LAUNCH_TAKEN), pen.leaf(Event.PORTAL_LAUNCH_REFUSED)
            return await self._launches.use(hashed, digest(visitor), now, yes, no)

        return await self._settle(hashed, attempt)

    async def _settle(self, hashed: bytes, attempt: Callable[[Pen], Awaitable[Launch | Refusal]]) -> Launch:
        found = await self._recorder.write(_ticket_chain(hashed), attempt)
        if isinstance(found, Refusal):
            raise Refused(found)
        return found

    async def confirm(self, ticket: Secret, visitor: str, replaces: str | None) -> tuple[Opened, str | None]:
        """Open the session after the customer's yes, once, by the same visitor; return it and the wanted step."""
        hashed, now = digest(ticket.reveal()), self._clock.now()

        async def attempt(pen: Pen) -> Launch | Refusal:
            yes, no = pen.leaf(Event.PORTAL_LAUNCH_USED), pen.leaf(Event.PORTAL_LAUNCH_REFUSED)
            return await self._launches.confirm(hashed, digest(visitor), now, yes, no)

        found = await self._settle(hashed, attempt)
        opened = await self._door.open(found.customer, found.factors, found.account, "launch", replaces)
        return opened, found.wanted

    async def put_client(self, client_id: str, name: str, by: str) -> Credential:
        """Create a client or rotate its secret; the previous one stays valid for a week. The secret is shown once."""
        if not _CLIENT_ID.fullmatch(client_id):
            raise Refused(
                Refusal(
                    Kind.MALFORMED,
                    text("A client id is 2 to 40 of a-z, 0-9 and '-'."),
                    field="client",
                    code="client_id",
                )
            )
        now = self._clock.now()
        secret = bearer(self._entropy)
        known = await self._launches.client(client_id)
        if known is None:
            client = Client(client_id, name, digest(secret), None, None, None)
        else:
            client = replace(
                known,
                secret_hash=digest(secret),
                previous_hash=known.secret_hash,
                previous_until=now + ROTATION_OVERLAP,
            )

        async def attempt(pen: Pen) -> None:
            leaf = pen.leaf(Event.STAFF_CLIENT_CREATED, client=client_id, by=by)
            await self._launches.put_client(client, now, leaf)

        await self._recorder.write(staff_chain(by), attempt)
        return Credential(client_id, Secret(secret))

    async def clients(self) -> list[Client]:
        """Return the clients, without their secrets."""
        return await self._launches.clients()


def _ticket_chain(hashed: bytes) -> ChainId:
    return stranger_chain(f"ticket-{hashed.hex()[:16]}")
