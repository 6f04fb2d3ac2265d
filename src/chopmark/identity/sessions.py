"""Sign in with the trading password, and keep the session that follows.

An attempt is counted before the password is compared. It counts for the customer that the typed name means, and for the
kind of browser: unknown ones in all networks together, known ones, and launches, each with a counter of its own
(`entries`). So a stranger's wrong passwords can only close the way for unknown browsers (I11, I18, I19).
"""

import hashlib
import ipaddress
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import customer_stream, stranger_stream
from chopmark.core.clock import Clock, Entropy, new_id
from chopmark.core.counted import in_seconds
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId, FactorClass, LoginId, Secret, text
from chopmark.identity.entries import CLOSES_AT, Entries, Entry, Way, signin_limits, spare_limits
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.password import PasswordGate
from chopmark.identity.people import People
from chopmark.identity.ports import Binding, Claim, Claimant, LostAnswer, PasswordRow, Records, Session, Sessions
from chopmark.limits.rate_limits import RateLimit, Spent
from chopmark.messaging.ports import OutboxJob

IDLE = timedelta(seconds=600)
ABSOLUTE = timedelta(minutes=30)
REPEATABLE = timedelta(seconds=60)
"""How long a request whose answer was lost may be repeated with the session id that its answer has replaced."""


UNKNOWN = "unknown"


def network_of(address: str) -> str:
    """Return the network for which an address counts: /24 for IPv4, /56 for IPv6; UNKNOWN for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = 24 if parsed.version == 4 else 56
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def digest(token: str) -> bytes:
    """Return the SHA-256 under which a bearer token is stored."""
    return hashlib.sha256(token.encode()).digest()


def bearer(entropy: Entropy) -> str:
    """Return a fresh 256-bit token, base64url."""
    return urlsafe_b64encode(entropy.token(32)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session and the token for its cookie; only the token's hash is stored."""

    token: Secret
    session: Session


@dataclass(frozen=True, slots=True)
class SteppedUp:
    """A session after a right code: its new token, and the cookie's value that makes its browser a known one."""

    token: Secret
    known: Secret


REFUSALS = RateLimit("record:sign-in", 600, timedelta(minutes=10))
"""How many refused sign-ins are recorded, so that strangers cannot fill the disk. Further ones are refused and counted
in the same way, without a record."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What checks passwords and the cookies of known browsers."""

    gate: PasswordGate
    known: KnownBrowsers


class SessionService:
    """Opens, keeps and ends sessions."""

    def __init__(
        self,
        people: People,
        records: Records,
        sessions: Sessions,
        entries: Entries,
        marks: Marks,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._people = people
        self._records = records
        self._sessions = sessions
        self._entries = entries
        self._gate = marks.gate
        self._known = marks.known
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy

    async def sign_in(
        self, claimed: str, password: Secret, address: str, replaces: str | None, known: str | None = None
    ) -> Opened:
        """Return a session for the right customer and password; raise Refused otherwise.

        `replaces` and `known` are the values of the browser's cookies: of a session to be replaced, of a known browser.
        """
        # 1. Find the customer that the typed name means, and the way: which kind of browser this is for them.
        now, network = self._clock.now(), network_of(address)
        claim = self._people.claim(claimed)
        found = await self._records.claimant(claim)
        way = await self._way(claim, found, replaces, known)
        # 2. Count the attempt for this way and its rate limits, before anything is compared.
        charged, limits = await self._charge(way, network)
        if isinstance(charged, Spent):
            raise Refused(_slow_down(charged.retry_after_s))
        if charged is None:
            raise Refused(_CLOSED)
        # 3. Compare. An unknown customer takes the same time.
        stored = None if found is None else found.password
        right = await self._gate.verify(None if stored is None else stored.phc, password)
        if isinstance(right, Refusal):
            await self._entries.uncharge(way, limits)
            raise Refused(right)
        # 4. A wrong password is recorded, and the hundredth in a row closes the way. Only who knows the right password
        #    learns that it has expired.
        if found is None or stored is None or not right:
            await self._wrong(claim, found, way, charged, network)
            raise Refused(_WRONG)
        if stored.expires_at is not None and now >= stored.expires_at:
            raise Refused(_LAPSED)
        # 5. Set the counter to 0 and open the session.
        await self._entries.right(way, limits)
        opened = await self.open(found.customer, frozenset({FactorClass.PASSWORD}), None, "portal", replaces)
        await self._not_rebound(found, opened)
        return opened

    async def _charge(self, way: Way, network: str) -> tuple[int | Spent | None, tuple[RateLimit, ...]]:
        """Count an attempt; return the result of `Entries.charge`, and the rate limits that it was charged to.

        When others in the network have used up its limit, the spare limits are charged instead.
        """
        now = self._clock.now()
        limits = signin_limits(way, "" if network == UNKNOWN else network)
        charged = await self._entries.charge(way, limits, now)
        spare = spare_limits(way, network, charged) if isinstance(charged, Spent) else None
        if spare is None:
            return charged, limits
        again = await self._entries.charge(way, spare, now)
        return (charged if isinstance(again, Spent) else again), spare

    async def _way(self, claim: Claim, found: Claimant | None, replaces: str | None, known: str | None) -> Way:
        """Return the counter that an attempt moves; cookies of another customer count as none."""
        session = None if replaces is None else await self.seen(replaces)
        if found is None:
            return Way(f"claim:{claim.hashed}", Entry.STRANGER)
        if session is not None and session.customer == found.customer and session.interface == "launch":
            return Way(found.customer, Entry.LAUNCH)
        recognised = self._known.recognises(known, found.customer, found.bound_at)
        return Way(found.customer, Entry.KNOWN if recognised else Entry.STRANGER)

    async def _wrong(self, claim: Claim, found: Claimant | None, way: Way, in_a_row: int, network: str) -> None:
        """Record a wrong password, and close the way after the hundredth in a row.

        The records of all customers and unknown names go to sixteen audit streams.
        """
        customer, now = None if found is None else found.customer, self._clock.now()
        named = {"customer": customer, "claim": claim.hashed if customer is None else None, "entry": way.entry}
        facts: dict[str, Fact] = {"network": network, "door": "portal", **named}
        stream = stranger_stream(f"sign-in-{claim.hashed[0]}")
        await self._audit_log.write(
            stream,
            lambda builder: self._records.note_within(
                builder.record(Event.PORTAL_SIGNIN_REFUSED, **facts), (REFUSALS,), now
            ),
        )
        if in_a_row >= CLOSES_AT:
            await self._audit_log.write(
                stream if customer is None else customer_stream(customer),
                lambda builder: self._entries.close(way, now, builder.record(Event.PORTAL_ENTRY_CLOSED, **named)),
            )

    async def _not_rebound(self, found: Claimant, opened: Opened) -> None:
        """End the session again, and raise Refused, when a new slip was printed while this password was compared."""
        if (await self._records.binding(found.customer)).bound_at != found.bound_at:
            await self._end(opened.session.id_hash, found.customer, "slip")
            raise Refused(_WRONG)

    async def recognise(self, session: Session, *, coded: bool = False) -> Secret:
        """Return the cookie's value that makes the browser of this session a known one.

        Call it after a sign-in with all factors: after the customer has confirmed a launch, or after a right password
        and a right code (`coded`) in one session. A right code in a session that a launch has opened also opens closed
        ways to sign in again.
        """
        return await self._recognised(session, await self._records.binding(session.customer), coded=coded)

    async def _recognised(self, session: Session, binding: Binding, *, coded: bool) -> Secret:
        if coded and binding.closed and session.interface == "launch":
            await self._audit_log.write(
                customer_stream(session.customer),
                lambda builder: self._entries.reopen(
                    session.customer, builder.record(Event.PORTAL_ENTRY_OPENED, door="launch")
                ),
            )
        return self._known.token(session.customer, binding.bound_at)

    async def open(
        self,
        customer: CustomerId,
        factors: frozenset[FactorClass],
        account: AccountNumber | None,
        interface: str,
        replaces: str | None,
    ) -> Opened:
        """Return a new session for a customer whom an interface has authenticated; end the replaced one."""
        await self._replaced(replaces)
        now = self._clock.now()
        token = bearer(self._entropy)
        login = LoginId(new_id(self._entropy))
        session = Session(digest(token), login, customer, factors, account, interface, now, now, now + ABSOLUTE)
        old = None if replaces is None else digest(replaces)

        async def attempt(builder: RecordBuilder) -> None:
            facts = {"door": interface, "factor": "+".join(sorted(factors)), "account": account, "login": login}
            await self._sessions.open(session, old, builder.record(Event.PORTAL_SESSION_OPENED, **facts))

        await self._audit_log.write(customer_stream(customer), attempt)
        return Opened(Secret(token), session)

    async def seen(self, token: str) -> Session | None:
        """Return the session with this token if it is live now, and store that it was used; None otherwise."""
        now = self._clock.now()
        return await self._sessions.seen(digest(token), now, now - IDLE)

    async def step_up(self, session: Session, repeat: bytes | None = None) -> SteppedUp:
        """Return the new token of a session after a right code; the old one is invalid on all nodes (I21).

        `repeat` names the request that is being answered. In case the answer is lost, this request may be repeated once
        with the old token within a minute.
        """
        fresh = bearer(self._entropy)
        lost = None if repeat is None else LostAnswer(repeat, self._clock.now() + REPEATABLE)

        async def attempt(builder: RecordBuilder) -> Binding | bool:
            record = builder.record(Event.PORTAL_SESSION_RENEWED, login=session.login)
            return await self._sessions.rotate(session.id_hash, digest(fresh), lost, record) or False

        binding = await self._audit_log.write(customer_stream(session.customer), attempt)
        if isinstance(binding, bool):
            raise Refused(SIGN_IN_AGAIN)
        return SteppedUp(Secret(fresh), await self._recognised(session, binding, coded=True))

    async def before(self, token: str, repeat: bytes) -> Session | None:
        """Return the session that had this token until the request `repeat` was answered, at most a minute ago."""
        return await self._sessions.before(digest(token), repeat, self._clock.now())

    async def step_up_again(self, session: Session, token: str, repeat: bytes) -> Secret:
        """Return another new token when the answer with the last one was lost.

        This works once for a lost answer; otherwise it raises Refused (UNAUTHENTICATED).
        """
        fresh, now = bearer(self._entropy), self._clock.now()

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.PORTAL_SESSION_RENEWED, login=session.login, code="answer_lost")
            return await self._sessions.rotate_again(digest(token), repeat, digest(fresh), now, record)

        if not await self._audit_log.write(customer_stream(session.customer), attempt):
            raise Refused(SIGN_IN_AGAIN)
        return Secret(fresh)

    async def sign_out(self, token: str) -> None:
        """End the session; do nothing for an unknown token."""
        session = await self.seen(token)
        if session is not None:
            await self._end(session.id_hash, session.customer, "signed_out")

    async def _replaced(self, token: str | None) -> None:
        """End the session that a new one replaces, with a record in the audit stream of the customer it belongs to."""
        customer = None if token is None else await self._sessions.owner(digest(token))
        if token is not None and customer is not None:
            await self._end(digest(token), customer, "replaced")

    async def _end(self, id_hash: bytes, customer: CustomerId, reason: str) -> None:
        await self._audit_log.write(
            customer_stream(customer),
            lambda builder: self._sessions.close(id_hash, builder.record(Event.PORTAL_SESSION_CLOSED, reason=reason)),
        )

    async def set_password(self, row: PasswordRow, by: str, works: tuple[OutboxJob, ...] = ()) -> None:
        """Replace a customer's password verifier, and record who did it.

        This also ends all sessions of the customer, makes the cookies of known browsers invalid, opens all ways to sign
        in again, and queues `works` (the notice to the customer).
        """
        now = self._clock.now()

        async def attempt(builder: RecordBuilder) -> None:
            record = builder.record(Event.STAFF_PASSWORD_PRINTED, by=by, kind=row.kind)
            await self._records.set_password(row, now, works, record)

        await self._audit_log.write(customer_stream(row.customer), attempt)


def _slow_down(retry_after_s: int) -> Refusal:
    return Refusal(
        Kind.TOO_MANY,
        text("There were several wrong attempts from here. Please wait %(wait)s.", wait=in_seconds(retry_after_s)),
        field="password",
        code="signin.slow",
        retry_after_s=retry_after_s,
    )


_WRONG = Refusal(
    Kind.UNAUTHENTICATED,
    text("The customer number (or id) and the trading password do not match. Please check both and try again."),
    field="password",
    code="signin.wrong",
)
_CLOSED = Refusal(
    Kind.FORBIDDEN,
    text(
        "After too many wrong attempts the password alone opens nothing here. Please come from your trading program "
        "and enter a code there once, sign in where you have done so before, or ask us for a new password slip."
    ),
    field="password",
    code="signin.closed",
)
_LAPSED = Refusal(
    Kind.FORBIDDEN,
    text("This initial password is older than a month and has lapsed. Please ask us for a new slip."),
    field="password",
    code="signin.lapsed",
)
SIGN_IN_AGAIN = Refusal(
    Kind.UNAUTHENTICATED,
    text("You are not signed in any more. Please sign in again; your order is kept."),
    code="signin.needed",
)
