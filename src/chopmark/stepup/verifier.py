"""Send one-time codes and check answers, with the rules of `challenge` and the codes of `derive`.

The code is derived and never stored. An attempt is counted and committed before the answer is compared. So even with
many parallel requests, sessions and nodes, no more answers are compared than the limits allow (I10 to I14, I17).
"""

from dataclasses import dataclass
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.core.clock import Clock, Entropy, new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import ActingLogin, ChallengeId, Channel, CustomerId, Operation, OrderId, Secret, text
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.stepup import challenge as pure
from chopmark.stepup.challenge import Challenge, ChallengeState
from chopmark.stepup.derive import OtpKeys, derive_for
from chopmark.stepup.ports import Challenges, FailureLimits, SendLimits, Sequel

NOTHING = Sequel()
OF_BLOCK = "send-block:"
OF_COUNTRY = "send-country:"


@dataclass(frozen=True, slots=True)
class CodeRules:
    """The policy's numbers for codes: length, validity, attempts, and how often codes may be sent."""

    digits: int
    life: timedelta
    attempts: int
    resend_after: timedelta
    per_order: int
    per_hour: int
    per_day: int
    sends_span: timedelta
    failures: FailureLimits
    per_block: int = 0
    """Codes by SMS an hour for one block of addresses; 0: no limit."""
    abroad: int = 0
    """Codes by SMS a day for one country that is not the firm's own."""


@dataclass(frozen=True, slots=True)
class CodeFor:
    """What a code is bound to (OTP-04): the order, its operation, the key, the channel and the contact's version."""

    order: OrderId
    customer: CustomerId
    operation: Operation
    spki_sha256: str
    channel: Channel
    contact_version: int
    destination_hash: str
    account_last3: str
    language: str
    acting: ActingLogin
    block: str = ""
    """The block of addresses that asks by SMS; empty: not known, or not counted."""
    country: str = ""
    """The country of a mobile number, when it is not the firm's own; otherwise empty."""


def block_budgets(what: CodeFor, rules: CodeRules) -> tuple[RateLimit, ...]:
    """Return the rate limits against those who earn by each SMS: of a block of addresses, and of a country (I16)."""
    if what.channel is not Channel.MOBILE:
        return ()
    of_block = RateLimit(f"{OF_BLOCK}{what.block}:1h", rules.per_block, timedelta(hours=1))
    of_country = RateLimit(f"{OF_COUNTRY}{what.country}:1d", rules.abroad, timedelta(days=1))
    return (
        *((of_block,) if what.block and rules.per_block else ()),
        *((of_country,) if what.country else ()),
    )


def send_limits(customer: CustomerId, destination_hash: str, rules: CodeRules) -> tuple[RateLimit, ...]:
    """Return the rate limits that one message is charged to (OTP-06).

    They are the destination's and the customer's, by hour and by day, and the pause between two codes.
    """
    day, hour = timedelta(days=1), timedelta(hours=1)
    return (
        RateLimit(f"send:{destination_hash}:1h", rules.per_hour, hour),
        RateLimit(f"send:{destination_hash}:1d", rules.per_day, day),
        RateLimit(f"send-customer:{customer}:1h", rules.per_hour, hour),
        RateLimit(f"send-customer:{customer}:1d", rules.per_day, day),
        RateLimit(pause_of(customer), 1, rules.resend_after),
    )


def pause_of(customer: CustomerId) -> str:
    """Return the name of the rate limit that keeps two codes of a customer apart, whatever orders they are for."""
    return f"send-pause:{customer}"


class Verifier:
    """Opens challenges and checks answers."""

    def __init__(
        self,
        challenges: Challenges,
        keys: OtpKeys,
        tenant: str,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._challenges = challenges
        self.keys = keys
        self._tenant = tenant
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy

    async def open(self, what: CodeFor, rules: CodeRules) -> Challenge:
        """Return a new challenge whose message is queued; the order's earlier one is not valid any more (I14, I16).

        Raises Refused when no code may be sent now.
        """
        now = self._clock.now()
        challenge = Challenge(
            id=ChallengeId(new_id(self._entropy)),
            order=what.order,
            customer=what.customer,
            channel=what.channel,
            contact_version=what.contact_version,
            nonce=self._entropy.token(16),
            kid=self.keys.current.kid,
            operation=what.operation,
            spki=what.spki_sha256,
            digits=rules.digits,
            reference=pure.reference(self._entropy.token(8)),
            attempts=0,
            max_attempts=rules.attempts,
            created_at=now,
            expires_at=now + rules.life,
            resend_at=now + rules.resend_after,
            state=ChallengeState.LIVE,
        )
        work = OutboxJob(
            id=challenge.id,  # so that the message of a code can be found by its challenge
            kind=OutboxJobKind.CODE,
            customer=what.customer,
            order=what.order,
            challenge=challenge.id,
            channel=what.channel,
            contact_version=what.contact_version,
            facts={"account_last3": what.account_last3, "language": what.language, "operation": what.operation.value},
            attempts=0,
            not_before=now,
            expires_at=challenge.expires_at,
        )
        budgets = (*send_limits(what.customer, what.destination_hash, rules), *block_budgets(what, rules))
        limits = SendLimits(rules.per_order, rules.sends_span, budgets)

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            facts: dict[str, Fact] = {
                "challenge": challenge.id,
                "channel": what.channel,
                "contact_version": what.contact_version,
            }
            yes = builder.record(
                Event.RA_CHALLENGE_OPENED, **facts, destination=what.destination_hash, login=what.acting.id
            )
            no = builder.record(Event.RA_CHALLENGE_REFUSED, channel=what.channel)
            return await self._challenges.open(challenge, what.acting, limits, work, yes, no)

        refused = await self._audit_log.write(order_stream(what.order), attempt)
        if refused is not None:
            raise Refused(refused)
        return challenge

    async def latest(self, order: OrderId) -> tuple[Challenge, int] | None:
        """Return the order's newest challenge and how many codes were sent for the order; None before the first."""
        return await self._challenges.latest(order)

    async def answer(
        self,
        sent: Challenge | None,
        raw: str,
        acting: ActingLogin,
        rules: CodeRules,
        on_hold: tuple[OutboxJob, ...] = (),
        when_right: Sequel = NOTHING,
    ) -> Challenge:
        """Return the consumed challenge after the right code; raise Refused otherwise.

        `sent` is the order's newest challenge, as it was read. `on_hold` are the notices to the customer when a wrong
        code shuts the lock. `when_right` is stored together with a right code.
        """
        # 1. Read the code. An entry that is no code does not count as an attempt.
        given = pure.parse_code(raw, rules.digits)
        if isinstance(given, Refusal):
            raise Refused(given)
        if sent is None:
            raise Refused(_NONE_SENT)
        # 2. [tx] Count one attempt and one failure.
        challenge = await self.charge(sent, acting, rules, on_hold)
        # 3. Derive the code and compare in constant time. [tx] Right: consume the challenge, mark the order coded, take
        #    the failure back.
        expected = self.code_of(challenge)
        if expected is not None and pure.matches(expected, given):
            await self.right(challenge, acting, when_right)
            return challenge
        # 4. [tx] Wrong: record it, and shut the lock when no failure is left.
        raise Refused(await self._wrong(challenge, acting, rules, on_hold))

    async def charge(
        self, challenge: Challenge, acting: ActingLogin, rules: CodeRules, on_hold: tuple[OutboxJob, ...]
    ) -> Challenge:
        """Count an attempt before anything is compared (step 2 of `answer`); raises Refused when none is left."""
        now = self._clock.now()

        async def attempt(builder: RecordBuilder) -> Challenge | Refusal:
            facts: dict[str, Fact] = {"challenge": challenge.id, "channel": challenge.channel, "login": acting.id}
            yes, no = builder.record(Event.RA_CODE_CHARGED, **facts), builder.record(Event.RA_CODE_DEAD, **facts)
            charged = await self._challenges.charge(challenge, rules.failures, now, yes, no, on_hold)
            return charged if isinstance(charged, Refusal) else charged.challenge

        result = await self._audit_log.write(order_stream(challenge.order), attempt)
        if isinstance(result, Refusal):
            raise Refused(result)
        return result

    async def right(self, challenge: Challenge, acting: ActingLogin, sequel: Sequel) -> None:
        """Consume a challenge whose attempt was counted, and store `sequel` with it; raises Refused."""
        now = self._clock.now()

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            facts: dict[str, Fact] = {"challenge": challenge.id, "channel": challenge.channel, "login": acting.id}
            record = builder.record(Event.RA_CODE_RIGHT, **facts, factor="+".join(sorted(acting.union)))
            no = builder.record(Event.RA_CODE_DEAD, **facts)
            return await self._challenges.right(challenge, acting, now, sequel, record, no)

        refused = await self._audit_log.write(order_stream(challenge.order), attempt)
        if refused is not None:
            raise Refused(refused)

    async def _wrong(
        self, challenge: Challenge, acting: ActingLogin, rules: CodeRules, on_hold: tuple[OutboxJob, ...]
    ) -> Refusal:
        now = self._clock.now()
        left = challenge.max_attempts - challenge.attempts

        async def attempt(builder: RecordBuilder) -> bool:
            facts: dict[str, Fact] = {"challenge": challenge.id, "channel": challenge.channel, "login": acting.id}
            record = builder.record(Event.RA_CODE_WRONG, **facts, attempts_left=left)
            return await self._challenges.wrong(challenge, rules.failures, now, on_hold, record)

        held = await self._audit_log.write(order_stream(challenge.order), attempt)
        if held:
            return HELD
        return pure.wrong_code(left) if left else pure.dead(challenge.max_attempts)

    def code_of(self, challenge: Challenge) -> Secret | None:
        """Return the code of a challenge, for delivery and comparison; None when its key is not here any more."""
        key = self.keys.find(challenge.kid)
        return None if key is None else derive_for(challenge, key, self._tenant)


HELD = Refusal(
    Kind.LOCKED,
    text("There were too many wrong entries. For your safety this is on hold; please call us."),
    code="held",
)
_NONE_SENT = Refusal(
    Kind.STEP_REQUIRED, text("No code has been sent for this order yet. Please have one sent first."), code="channel"
)
