"""Signing in with the trading password, and the sessions that follow.

Attempts are charged before the password is compared, counted by (claimed id, network) and by network only, so that
nobody on another network can lock a customer out (I18, I19).
"""

import hashlib
import ipaddress
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.events import Event
from chopmark.audit.leaf import customer_chain, stranger_chain
from chopmark.audit.recorder import Pen, Recorder
from chopmark.clock import Clock, Entropy, new_id
from chopmark.errors import Kind, Refusal, Refused
from chopmark.identity.password import PasswordGate
from chopmark.identity.people import People
from chopmark.identity.ports import LostAnswer, PasswordRow, Records, Session, Sessions
from chopmark.limits.budgets import Budget, Counters
from chopmark.tw.text import fold
from chopmark.words import AccountNumber, CustomerId, FactorClass, LoginId, Secret, text

IDLE = timedelta(seconds=600)
ABSOLUTE = timedelta(minutes=30)
REPEATABLE = timedelta(seconds=60)
"""How long a request whose answer was lost may be repeated with the session id that its answer has replaced."""


def network_of(address: str) -> str:
    """Return the network an address is counted by: /24 for IPv4, /56 for IPv6; `unknown` for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
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
    """A new session and the token that its cookie carries; the token exists nowhere else."""

    token: Secret
    session: Session


def signin_budgets(claim: str, network: str) -> tuple[Budget, ...]:
    """Return what one attempt is charged to: slow after three, stopped after ten, and a cap for the network."""
    pair = f"signin:{claim}:{network}"
    return (
        Budget(f"{pair}:30s", 3, timedelta(seconds=30)),
        Budget(f"{pair}:5m", 5, timedelta(minutes=5)),
        Budget(f"{pair}:1h", 10, timedelta(hours=1)),
        Budget(f"signin-network:{network}", 200, timedelta(minutes=15)),
    )


class Door:
    """Opens, keeps and ends sessions."""

    def __init__(
        self,
        people: People,
        records: Records,
        sessions: Sessions,
        counters: Counters,
        gate: PasswordGate,
        recorder: Recorder,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._people = people
        self._records = records
        self._sessions = sessions
        self._counters = counters
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._entropy = entropy

    async def sign_in(self, claimed: str, password: Secret, address: str, replaces: str | None) -> Opened:
        """Return a session for the right customer and password; raise Refused otherwise.

        1 charge the budgets  2 compare, at the same cost for an unknown customer  3 a wrong one is recorded under
        the claimed id's keyed hash  4 a lapsed slip is refused only after it was right  5 open the session.
        """
        now = self._clock.now()
        claim = self._people.claim_hash(fold(claimed).upper())
        network = network_of(address)
        budgets = signin_budgets(claim, network)
        spent = await self._counters.take(budgets, now)
        if spent is not None:
            raise Refused(_slow_down(spent.retry_after_s))
        row = await self._people.find(claimed)
        stored = None if row is None else await self._records.password(row.id)
        right = await self._gate.verify(None if stored is None else stored.phc, password)
        if isinstance(right, Refusal):
            raise Refused(right)
        if row is None or stored is None or not right:
            await self._recorder.write(
                stranger_chain(claim),
                lambda pen: self._records.note(pen.leaf(Event.PORTAL_SIGNIN_REFUSED, network=network, door="portal")),
            )
            raise Refused(_WRONG)
        if stored.expires_at is not None and now >= stored.expires_at:
            raise Refused(_LAPSED)
        await self._counters.give_back(budgets)
        return await self.open(row.id, frozenset({FactorClass.PASSWORD}), None, "portal", replaces)

    async def open(
        self,
        customer: CustomerId,
        factors: frozenset[FactorClass],
        account: AccountNumber | None,
        door: str,
        replaces: str | None,
    ) -> Opened:
        """Return a new session for a customer whom a door has recognised; the replaced session is dead."""
        now = self._clock.now()
        token = bearer(self._entropy)
        login = LoginId(new_id(self._entropy))
        session = Session(digest(token), login, customer, factors, account, door, now, now, now + ABSOLUTE)
        old = None if replaces is None else digest(replaces)

        async def attempt(pen: Pen) -> None:
            facts = {"door": door, "factor": "+".join(sorted(factors)), "account": account, "login": login}
            await self._sessions.open(session, old, pen.leaf(Event.PORTAL_SESSION_OPENED, **facts))

        await self._recorder.write(customer_chain(customer), attempt)
        return Opened(Secret(token), session)

    async def seen(self, token: str) -> Session | None:
        """Return the session that a cookie names, when it still counts at this moment."""
        now = self._clock.now()
        return await self._sessions.seen(digest(token), now, now - IDLE)

    async def step_up(self, session: Session, repeat: bytes | None = None) -> Secret:
        """Return the new token of a session after a step up; the old one is dead on all nodes (I21).

        `repeat` names the request that this answers: for a minute it may be made once more with the old token.
        """
        fresh = bearer(self._entropy)
        lost = None if repeat is None else LostAnswer(repeat, self._clock.now() + REPEATABLE)

        async def attempt(pen: Pen) -> bool:
            leaf = pen.leaf(Event.PORTAL_SESSION_RENEWED, login=session.login)
            return await self._sessions.rotate(session.id_hash, digest(fresh), lost, leaf)

        if not await self._recorder.write(customer_chain(session.customer), attempt):
            raise Refused(SIGN_IN_AGAIN)
        return Secret(fresh)

    async def before(self, token: str, repeat: bytes) -> Session | None:
        """Return the session that had this token until the request `repeat` was answered, a minute ago at most."""
        return await self._sessions.before(digest(token), repeat, self._clock.now())

    async def step_up_again(self, session: Session, token: str, repeat: bytes) -> Secret:
        """Return another token of a session whose last one never arrived; once, else Refused (UNAUTHENTICATED)."""
        fresh, now = bearer(self._entropy), self._clock.now()

        async def attempt(pen: Pen) -> bool:
            leaf = pen.leaf(Event.PORTAL_SESSION_RENEWED, login=session.login, code="answer_lost")
            return await self._sessions.rotate_again(digest(token), repeat, digest(fresh), now, leaf)

        if not await self._recorder.write(customer_chain(session.customer), attempt):
            raise Refused(SIGN_IN_AGAIN)
        return Secret(fresh)

    async def sign_out(self, token: str) -> None:
        """End the session; unknown ones are ended already."""
        session = await self.seen(token)
        if session is None:
            return
        await self._recorder.write(
            customer_chain(session.customer),
            lambda pen: self._sessions.close(session.id_hash, pen.leaf(Event.PORTAL_SESSION_CLOSED)),
        )

    async def set_password(self, row: PasswordRow, by: str) -> None:
        """Replace a customer's verifier and record who did it."""
        now: datetime = self._clock.now()

        async def attempt(pen: Pen) -> None:
            await self._records.set_password(row, now, pen.leaf(Event.STAFF_PASSWORD_PRINTED, by=by, kind=row.kind))

        await self._recorder.write(customer_chain(row.customer), attempt)


def _slow_down(retry_after_s: int) -> Refusal:
    return Refusal(
        Kind.TOO_MANY,
        text("There were several wrong attempts from here. Please wait %(seconds)s seconds.", seconds=retry_after_s),
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
