"""Challenges and the failure ledger: what is charged before a comparison (I10 to I14)."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.leaf import Leaf
from chopmark.errors import Kind, Refusal
from chopmark.post.ports import Work
from chopmark.stepup import challenge as pure
from chopmark.stepup.challenge import Challenge, ChallengeState
from chopmark.stepup.ports import Charged, FailureLimits, SendLimits
from chopmark.stepup.verifier import HELD
from chopmark.store.columns import moment, ms, span
from chopmark.store.engine import Engine
from chopmark.store.leaves import append, note, record
from chopmark.store.limits import give_back_each, take_each, taken
from chopmark.store.orders import HELD_HERE, by
from chopmark.store.post import queue, queued, wake
from chopmark.store.script import Query, Row, Script, at_once, guard, in_turn, query, whole
from chopmark.words import ActingLogin, ChallengeId, Channel, CustomerId, Operation, OrderId, text

_COLUMNS = """id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, digits, reference,
  attempts, max_attempts, created_at, expires_at, resend_at, state"""
_LOCK_ORDER = f"""
UPDATE orders SET challenge = :challenge, login_factors = :union
WHERE id = :order_id AND (state = 'bound' OR (state IN ('coded', 'checked') AND operation <> 'revoke')
  OR (operation = 'revoke' AND state IN ('open', 'coded'))) AND expires_at > :now
  AND login_factors = :known AND {HELD_HERE}
RETURNING customer
"""
SENT = f"SELECT {_COLUMNS} FROM challenges WHERE order_id = :order_id ORDER BY created_at DESC, id DESC"
_KILL = "UPDATE challenges SET state = 'dead' WHERE order_id = :order_id AND state = 'live' RETURNING id"
_INSERT = f"""
INSERT INTO challenges ({_COLUMNS})
VALUES (:id, :order_id, :customer, :channel, :contact_version, :nonce, :kid, :operation, :spki, :digits, :reference,
  0, :max_attempts, :created_at, :expires_at, :resend_at, 'live')
"""
_MAY_SEND = """
SELECT 1 AS may
WHERE NOT EXISTS (SELECT 1 FROM failures WHERE customer = :customer AND factor = :factor AND held_at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM challenges WHERE order_id = :order_id AND resend_at > :now)
  AND (SELECT COUNT(*) FROM challenges WHERE order_id = :order_id) < :per_order
"""
_CHARGE = f"""
UPDATE challenges SET attempts = attempts + 1
WHERE id = :id AND id = (SELECT challenge FROM orders WHERE id = :order_id) AND state = 'live'
  AND attempts < max_attempts AND expires_at > :now
RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM challenges WHERE id = :id"
_CONSUME = (
    "UPDATE challenges SET state = 'consumed' WHERE id = :id AND state = 'live' AND expires_at > :now RETURNING id"
)
_EXHAUST = "UPDATE challenges SET state = 'dead' WHERE id = :id AND state = 'live' AND attempts >= max_attempts"
_CODED = f"""
UPDATE orders SET state = 'coded', coded_at = :now, checked_at = NULL, code_channel = :channel,
  approved_login = :login, login_factors = :union
WHERE id = :order_id AND challenge = :challenge AND state IN ('open', 'bound', 'coded', 'checked') AND expires_at > :now
  AND login_factors = :known AND {HELD_HERE}
RETURNING id
"""
_HOLD_LOST = """
UPDATE holdings SET state = 'held', ended_at = :now, reason = 'lost'
WHERE state = 'active' AND serial = (
  SELECT old_serial FROM orders WHERE id = :order_id AND operation = 'replace' AND reason IN ('lost', 'compromised')
)
"""
_FAIL = """
INSERT INTO failures (customer, factor, window_start, in_window, ever) VALUES (:customer, :factor, :now, 1, 1)
ON CONFLICT (customer, factor) DO UPDATE SET
  in_window = CASE WHEN failures.window_start <= :since THEN 1 ELSE failures.in_window + 1 END,
  window_start = CASE WHEN failures.window_start <= :since THEN :now ELSE failures.window_start END,
  ever = failures.ever + 1
WHERE failures.held_at IS NULL AND failures.ever < :ever
  AND (failures.window_start <= :since OR failures.in_window < :most)
RETURNING in_window, ever
"""
_HOLD = """
UPDATE failures SET held_at = :now, hold = CASE WHEN ever >= :ever THEN 'disabled' ELSE 'held' END
WHERE customer = :customer AND factor = :factor AND held_at IS NULL
  AND (ever >= :ever OR (in_window >= :most AND window_start > :since))
RETURNING hold
"""
_FORGIVE = """
UPDATE failures SET in_window = CASE WHEN in_window > 0 THEN in_window - 1 ELSE 0 END,
  ever = CASE WHEN ever > 0 THEN ever - 1 ELSE 0 END
WHERE customer = :customer AND factor = :factor AND held_at IS NULL
"""
_HELD = "SELECT factor, hold FROM failures WHERE customer = :customer AND held_at IS NOT NULL ORDER BY factor"
_IS_HELD = "SELECT 1 AS held FROM failures WHERE customer = :customer AND factor = :factor AND held_at IS NOT NULL"
_RELEASE = """
UPDATE failures SET held_at = NULL, hold = NULL, in_window = 0, ever = 0
WHERE customer = :customer AND held_at IS NOT NULL RETURNING factor
"""
_TOO_OFTEN = Refusal(
    Kind.TOO_MANY,
    text("No more codes can be sent for this order. Please cancel it and start again, or call us."),
    field="channel",
    code="sends_order",
)
_MOVED = Refusal(
    Kind.STEP_REQUIRED, text("This step is not the next one of your order. Please go on where the order stands.")
)


def challenge_of(row: Row) -> Challenge:
    """Return a challenge as stored."""
    return Challenge(
        id=ChallengeId(row["id"]),
        order=OrderId(row["order_id"]),
        customer=CustomerId(row["customer"]),
        channel=Channel(row["channel"]),
        contact_version=row["contact_version"],
        nonce=bytes(row["nonce"]),
        kid=row["kid"],
        operation=Operation(row["operation"]),
        spki=row["spki"],
        reference=row["reference"],
        digits=row["digits"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        created_at=moment(row["created_at"]),
        expires_at=moment(row["expires_at"]),
        resend_at=moment(row["resend_at"]),
        state=ChallengeState(row["state"]),
    )


def _hold_if_used_up(
    customer: str, factor: str, limits: FailureLimits, now: datetime, notices: tuple[Work, ...]
) -> Script[bool]:
    """Set the hold when no failure is left; True, and `notices` queued, when this call set it."""
    times = {"now": ms(now), "since": ms(now) - span(limits.window)}
    held = yield query(_HOLD, customer=customer, factor=factor, ever=limits.ever, most=limits.in_window, **times)
    if held:
        yield from queue(notices)
    return bool(held)


def charge_failure(
    customer: str, factor: str, limits: FailureLimits, now: datetime, notices: tuple[Work, ...] = ()
) -> Script[bool]:
    """Take one failure; False when the factor is on hold. The call that sets the hold queues `notices`."""
    if (yield _failure(customer, factor, limits, now)):
        return True
    yield from _hold_if_used_up(customer, factor, limits, now, notices)
    return False


def _failure(customer: str, factor: str, limits: FailureLimits, now: datetime) -> Query:
    times = {"now": ms(now), "since": ms(now) - span(limits.window)}
    return guard(_FAIL, customer=customer, factor=factor, ever=limits.ever, most=limits.in_window, **times)


def _insert(challenge: Challenge) -> Query:
    return query(
        _INSERT,
        id=challenge.id,
        order_id=challenge.order,
        customer=challenge.customer,
        channel=challenge.channel.value,
        contact_version=challenge.contact_version,
        nonce=challenge.nonce,
        kid=challenge.kid,
        operation=challenge.operation.value,
        spki=challenge.spki,
        digits=challenge.digits,
        reference=challenge.reference,
        max_attempts=challenge.max_attempts,
        created_at=ms(challenge.created_at),
        expires_at=ms(challenge.expires_at),
        resend_at=ms(challenge.resend_at),
    )


def _may_send(challenge: Challenge, limits: SendLimits) -> tuple[Query, ...]:
    """Return the guards that let a code be sent; `_send_refusal` tells which of them did not hold."""
    return (
        guard(
            _MAY_SEND,
            customer=challenge.customer,
            factor=challenge.channel.factor.value,
            order_id=challenge.order,
            now=ms(challenge.created_at),
            per_order=limits.per_order,
        ),
        *taken(limits.budgets, challenge.created_at),
    )


def _send_refusal(challenge: Challenge, limits: SendLimits) -> Script[Refusal | None]:
    held = yield query(_IS_HELD, customer=challenge.customer, factor=challenge.channel.factor.value)
    if held:
        return HELD
    sent = [challenge_of(row) for row in (yield query(SENT, order_id=challenge.order))]
    too_soon = sent[0].resend_refusal(challenge.created_at) if sent else None
    if too_soon is not None:
        return too_soon
    if len(sent) >= limits.per_order:
        return _TOO_OFTEN
    spent = yield from take_each(limits.budgets, challenge.created_at)
    if spent is None:
        return None
    yield from give_back_each(tuple(b for b in limits.budgets if b.name < spent.name))
    minutes = -(-spent.retry_after_s // 60)
    return Refusal(
        Kind.TOO_MANY,
        text("Too many codes were sent here. Please try again in %(minutes)s minutes, or call us.", minutes=minutes),
        field="channel",
        code="sends",
        retry_after_s=spent.retry_after_s,
    )


class ChallengeLedger:
    """Implements `stepup.ports.Challenges`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(
        self, challenge: Challenge, acting: ActingLogin, limits: SendLimits, work: Work, leaf: Leaf, no: Leaf
    ) -> Refusal | None:
        """Store a challenge and its message together, and end the order's earlier one."""
        lock = guard(
            _LOCK_ORDER,
            order_id=challenge.order,
            challenge=challenge.id,
            now=ms(challenge.created_at),
            **by(acting),
        )
        changes = (query(_KILL, order_id=challenge.order), _insert(challenge), *queued((work,)))

        def script() -> Script[Refusal | None]:
            if (yield from record(leaf, lock, *_may_send(challenge, limits), *changes)) is None:
                locked = yield lock
                refusal = (yield from _send_refusal(challenge, limits)) if locked else _MOVED
                if refusal is not None:
                    raise _No(refusal)
                yield from in_turn(changes)
                yield from append(leaf)
            yield from wake((work,))
            return None

        try:
            return await self._engine.run(script)
        except _No as refused:
            await self._engine.run(note, no)
            return refused.refusal

    async def latest(self, order: OrderId) -> tuple[Challenge, int] | None:
        """Return the order's newest challenge and how many were sent for it."""

        def script() -> Script[tuple[Challenge, int] | None]:
            rows = yield whole(SENT, order_id=order)
            return (challenge_of(rows[0]), len(rows)) if rows else None

        return await self._engine.read(script)

    async def get(self, challenge: ChallengeId) -> Challenge | None:
        """Return a challenge by id."""

        def script() -> Script[Challenge | None]:
            rows = yield whole(_GET, id=challenge)
            return challenge_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def charge(
        self, challenge: Challenge, limits: FailureLimits, now: datetime, leaf: Leaf, no: Leaf
    ) -> Charged | Refusal:
        """Take one attempt and one failure from the budgets, before anything is compared."""
        factor = challenge.channel.factor.value
        attempt = guard(_CHARGE, id=challenge.id, order_id=challenge.order, now=ms(now))

        def script() -> Script[Charged | Refusal]:
            done = yield from record(leaf, attempt, _failure(challenge.customer, factor, limits, now))
            if done is not None:
                return Charged(challenge_of(done[0][0]))
            rows = yield attempt
            if not rows:
                found = yield query(_GET, id=challenge.id)
                yield from append(no)
                return (challenge_of(found[0]).refusal(now) if found else None) or pure.replaced()
            allowed = yield from charge_failure(challenge.customer, factor, limits, now)
            yield from append(leaf if allowed else no)
            return Charged(challenge_of(rows[0])) if allowed else HELD

        return await self._engine.run(script)

    async def right(
        self, challenge: Challenge, acting: ActingLogin, now: datetime, works: tuple[Work, ...], leaf: Leaf, no: Leaf
    ) -> Refusal | None:
        """Consume the challenge, mark its order coded, queue `works` and give the failure back; once."""
        consume = guard(_CONSUME, id=challenge.id, now=ms(now))
        forgive = query(_FORGIVE, customer=challenge.customer, factor=challenge.channel.factor.value)
        coded = guard(
            _CODED,
            order_id=challenge.order,
            challenge=challenge.id,
            channel=challenge.channel.value,
            now=ms(now),
            **by(acting),
        )

        def script() -> Script[Refusal | None]:
            hold_lost = query(_HOLD_LOST, order_id=challenge.order, now=ms(now))
            if (yield from record(leaf, consume, coded, forgive, hold_lost, *queued(works))) is not None:
                yield from wake(works)
                return None
            if not (yield consume):
                found = yield query(_GET, id=challenge.id)
                return challenge_of(found[0]).refusal(now) or pure.expired()
            yield forgive
            if not (yield coded):
                yield from append(no)
                return _MOVED
            yield hold_lost
            yield from queue(works)
            yield from append(leaf)
            return None

        return await self._engine.run(script)

    async def wrong(
        self, challenge: Challenge, limits: FailureLimits, now: datetime, notices: tuple[Work, ...], leaf: Leaf
    ) -> bool:
        """Record that the code differed; return whether the factor is on hold from now on, and queue `notices` then."""

        def script() -> Script[bool]:
            yield query(_EXHAUST, id=challenge.id)
            factor = challenge.channel.factor.value
            held = yield from _hold_if_used_up(challenge.customer, factor, limits, now, notices)
            yield from append(leaf)
            return held

        return await self._engine.run(script)


class _No(Exception):
    """Rolls a refused challenge back; its refusal is recorded in a transaction of its own."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class FailureLedger:
    """Implements `stepup.ports.Failures`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def charge(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[Work, ...],
        leaf: Leaf,
    ) -> Refusal | None:
        """Take one failure from the budget before anything is compared; a refusal is recorded with `leaf`."""

        def script() -> Script[Refusal | None]:
            if (yield from at_once(_failure(customer, factor, limits, now))) is not None:
                return None
            if (yield from charge_failure(customer, factor, limits, now, notices)):
                return None
            yield from append(leaf)
            return HELD

        return await self._engine.run(script)

    async def wrong(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[Work, ...],
        leaf: Leaf,
    ) -> bool:
        """Record that a charged answer differed; return whether the factor is on hold from now on."""

        def script() -> Script[bool]:
            held = yield from _hold_if_used_up(customer, factor, limits, now, notices)
            yield from append(leaf)
            return held

        return await self._engine.run(script)

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return the factors on hold and why."""

        def script() -> Script[dict[str, str]]:
            return {row["factor"]: row["hold"] for row in (yield whole(_HELD, customer=customer))}

        return await self._engine.read(script)

    async def release(self, customer: CustomerId, leaf: Leaf, notices: tuple[Work, ...]) -> int:
        """Lift every hold of a customer and forget the failures; return how many holds were lifted."""

        def script() -> Script[int]:
            lifted = yield query(_RELEASE, customer=customer)
            yield from append(leaf)
            if lifted:
                yield from queue(notices)
            return len(lifted)

        return await self._engine.run(script)
