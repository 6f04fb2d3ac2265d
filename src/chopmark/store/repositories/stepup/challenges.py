"""Challenges and wrong answers. An attempt is counted before anything is compared (I10 to I14)."""

from __future__ import annotations

from datetime import datetime, timedelta

from chopmark.audit.record import AuditRecord
from chopmark.core.counted import in_minutes
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, ChallengeId, Channel, CustomerId, Operation, OrderId, text
from chopmark.messaging.ports import OutboxJob
from chopmark.stepup import challenge as pure
from chopmark.stepup.challenge import Challenge, ChallengeState
from chopmark.stepup.ports import CODE, Charged, FailureLimits, SendLimits, Sequel
from chopmark.stepup.verifier import HELD, OF_BLOCK, OF_COUNTRY, pause_of
from chopmark.store.engine.columns import AHEAD, SKEW_MS, moment, ms, span
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, at_once, guard, in_turn, query, whole
from chopmark.store.repositories.listed import CHOSEN
from chopmark.store.repositories.messaging.outbox import queue, queued, wake
from chopmark.store.repositories.ra.order_rows import HELD_HERE, NOT_WAITING, by
from chopmark.store.repositories.ra.stops import stoppable
from chopmark.store.repositories.rate_limits import give_back, give_back_each, take_each, taken
from chopmark.store.repositories.records import append, note, write_with_record
from chopmark.store.repositories.stepup.failures import (
    CODES_LOCKED,
    HELD_ROWS,
    charge_failure,
    failure,
    forgive,
    lock_if_used_up,
    lock_of,
    unlock,
)

_COLUMNS = """id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, digits, reference,
  attempts, max_attempts, created_at, expires_at, resend_at, state"""
_LOCK_ORDER = f"""
UPDATE orders SET challenge = :challenge, login_factors = :union
WHERE id = :order_id AND (state = 'bound' OR (state IN ('coded', 'checked') AND operation <> 'revoke')
  OR (operation = 'revoke' AND state IN ('open', 'coded'))) AND expires_at > :now
  AND login_factors = :known AND {HELD_HERE} AND {NOT_WAITING}
RETURNING customer
"""
# The live challenge comes first, also when a machine with a wrong clock made an earlier one.
SENT = f"""
SELECT {_COLUMNS}, (SELECT outcome FROM work WHERE work.id = challenges.id AND work.done_at IS NOT NULL) AS outcome
FROM challenges WHERE order_id = :order_id
ORDER BY CASE WHEN state = 'live' THEN 0 ELSE 1 END, created_at DESC, id DESC
"""
_KILL = "UPDATE challenges SET state = 'dead' WHERE order_id = :order_id AND state = 'live' RETURNING id"
_INSERT = f"""
INSERT INTO challenges ({_COLUMNS})
VALUES (:id, :order_id, :customer, :channel, :contact_version, :nonce, :kid, :operation, :spki, :digits, :reference,
  0, :max_attempts, :created_at, :expires_at, :resend_at, 'live')
"""
_COUNTED = """
SELECT created_at FROM challenges
WHERE customer = :customer AND created_at > :since AND created_at <= :ahead
  AND created_at > COALESCE((SELECT window_start FROM counters WHERE name = :anew AND window_start <= :ahead), 0)
  AND (order_id = :order_id OR (state <> 'consumed' AND attempts < max_attempts
    AND CASE WHEN operation = 'rekey' THEN 1 ELSE 0 END = :renewal))
"""
"""Which codes count towards the limit of an order: its own, and those of the customer's other orders that came to
nothing.

A code that ended after too many wrong answers does not count, because it has cost failures. For a renewal only renewals
count: only the holder of the old key gets a code in one, and orders of somebody else must not use up its codes.
"""
_WAITING = f"""
SELECT resend_at FROM challenges
WHERE customer = :customer AND created_at > :since AND created_at <= {AHEAD} AND resend_at > :now
  AND (order_id = :order_id OR state <> 'consumed')
"""
_MAY_SEND = f"""
SELECT 1 AS may
WHERE NOT {CODES_LOCKED} AND NOT EXISTS ({_WAITING}) AND (SELECT COUNT(*) FROM ({_COUNTED}) counted) < :per_order
"""
_CHARGE = f"""
UPDATE challenges SET attempts = attempts + 1
WHERE id = :id AND id = (SELECT challenge FROM orders WHERE id = :order_id) AND state = 'live'
  AND attempts < max_attempts AND expires_at > :now AND created_at <= {AHEAD}
RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM challenges WHERE id = :id"
_CONSUME = f"""
UPDATE challenges SET state = 'consumed'
WHERE id = :id AND state = 'live' AND expires_at > :now AND created_at <= {AHEAD} RETURNING id
"""
_EXHAUST = "UPDATE challenges SET state = 'dead' WHERE id = :id AND state = 'live' AND attempts >= max_attempts"
_SECOND = """both_codes = 1 AND state = 'coded' AND approved_login = :login AND code_channel <> :channel
    AND coded_at > :since"""
_FIRST = "delay > 0 AND announced_at IS NULL"
_CODED = f"""
UPDATE orders SET state = CASE WHEN {_FIRST} THEN 'bound' ELSE 'coded' END,
  checked_at = NULL, approved_login = :login, login_factors = :union,
  second_channel = CASE WHEN {_SECOND} THEN CAST(:channel AS TEXT) ELSE NULL END,
  second_coded_at = CASE WHEN {_SECOND} THEN CAST(:now AS BIGINT) ELSE NULL END,
  code_channel = CASE WHEN {_SECOND} THEN code_channel ELSE CAST(:channel AS TEXT) END,
  coded_at = CASE WHEN {_SECOND} THEN coded_at ELSE CAST(:now AS BIGINT) END,
  expires_at = CASE WHEN {_FIRST} THEN CAST(:now AS BIGINT) + delay + CAST(:life AS BIGINT) ELSE expires_at END,
  announced_at = CASE WHEN {_FIRST} THEN CAST(:now AS BIGINT) ELSE announced_at END
WHERE id = :order_id AND challenge = :challenge AND state IN ('open', 'bound', 'coded', 'checked') AND expires_at > :now
  AND login_factors = :known AND {HELD_HERE} AND {NOT_WAITING}
RETURNING id
"""
"""Where the order asks for codes on both contacts and the first code is still valid, this code is the second one.

The first code of an order with a waiting time approves nothing. It announces the order, which can be approved when the
waiting time is over.
"""
_LOST = """
  SELECT old_serial FROM orders WHERE id = :order_id AND operation = 'replace' AND reason IN ('lost', 'compromised')
"""
HOLD_LOST = (
    f"""
UPDATE holdings SET state = 'held', ended_at = :now, reason = 'lost'
WHERE state = 'active' AND serial = ({_LOST})
""",
    f"""
UPDATE imported_certificates SET state = 'held', ended_at = :now, reason = 'lost'
WHERE state = 'active' AND fingerprint = ({_LOST})
""",
)
"""A certificate of ours, and one that was imported: whichever the order names is on hold with the right code."""
_IS_LOCKED = f"SELECT 1 AS locked WHERE {CODES_LOCKED}"
_BEGIN_ANEW = """
INSERT INTO counters (name, window_start, used) VALUES (:anew, :now, 0)
ON CONFLICT (name) DO UPDATE SET window_start = :now
"""
_EMPTY_SENDS = """
WITH spans AS (SELECT ':1h' AS for_so_long UNION ALL SELECT ':1d'), chosen AS MATERIALIZED (
  SELECT CAST(:pause AS TEXT) AS place
  UNION ALL SELECT 'send-customer:' || CAST(:customer AS TEXT) || for_so_long FROM spans
  UNION ALL SELECT 'send:' || destination_hash || for_so_long FROM contacts CROSS JOIN spans WHERE customer = :customer
)
UPDATE counters SET used = 0 WHERE name {chosen}
"""
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


def _sends(challenge: Challenge, limits: SendLimits) -> dict[str, str | int]:
    """Return the values of `_COUNTED`."""
    return {
        "customer": challenge.customer,
        "order_id": challenge.order,
        "since": ms(challenge.created_at) - span(limits.span),
        "ahead": ms(challenge.created_at) + SKEW_MS,
        "anew": _anew(challenge.customer),
        "renewal": int(challenge.operation is Operation.REKEY),
    }


def _anew(customer: str) -> str:
    return f"send-anew:{customer}"


def _may_send(challenge: Challenge, limits: SendLimits) -> tuple[Query, ...]:
    """Return the guards for sending a code. `_send_refusal` finds out which of them failed."""
    now = ms(challenge.created_at)
    return (
        guard(_MAY_SEND, now=now, per_order=limits.per_order, **_sends(challenge, limits)),
        *taken(limits.limits, challenge.created_at),
    )


def _send_refusal(challenge: Challenge, limits: SendLimits) -> Script[Refusal | None]:
    now, values = challenge.created_at, _sends(challenge, limits)
    if (yield query(_IS_LOCKED, customer=challenge.customer)):
        return HELD
    lately = {name: values[name] for name in ("customer", "order_id", "since")}
    waiting = yield query(f"{_WAITING} ORDER BY resend_at DESC LIMIT 1", now=ms(now), **lately)
    if waiting:
        return pure.too_soon(moment(waiting[0]["resend_at"]), now)
    sent = yield query(f"{_COUNTED} ORDER BY created_at DESC LIMIT :most", most=limits.per_order, **values)
    if len(sent) >= limits.per_order:
        return pure.sent_too_often(moment(sent[-1]["created_at"]) + limits.span, now)
    spent = yield from take_each(limits.limits, now)
    if spent is None:
        return None
    yield from give_back_each(tuple(b for b in limits.limits if b.name < spent.name))
    if spent.name == pause_of(challenge.customer):
        return pure.too_soon(now + timedelta(seconds=spent.retry_after_s), now)
    minutes = -(-spent.retry_after_s // 60)
    if spent.name.startswith((OF_BLOCK, OF_COUNTRY)):
        return pure.sms_used_up(minutes, spent.retry_after_s, abroad=spent.name.startswith(OF_COUNTRY))
    return Refusal(
        Kind.TOO_MANY,
        text("Too many codes were sent here. Please try again in %(wait)s, or call us.", wait=in_minutes(minutes)),
        field="channel",
        code="sends",
        retry_after_s=spent.retry_after_s,
    )


class ChallengeRepository:
    """Implements `stepup.ports.Challenges`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        limits: SendLimits,
        work: OutboxJob,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Store a challenge, queue its message, and end the order's earlier challenge, in one transaction."""
        lock = guard(
            _LOCK_ORDER,
            order_id=challenge.order,
            challenge=challenge.id,
            now=ms(challenge.created_at),
            **by(acting),
        )
        changes = (query(_KILL, order_id=challenge.order), _insert(challenge), *queued((work,)))

        def script() -> Script[Refusal | None]:
            if (yield from write_with_record(record, lock, *_may_send(challenge, limits), *changes)) is None:
                locked = yield lock
                refusal = (yield from _send_refusal(challenge, limits)) if locked else _MOVED
                if refusal is not None:
                    raise _No(refusal)
                yield from in_turn(changes)
                yield from append(record)
            yield from wake((work,))
            return None

        try:
            return await self._engine.run(script)
        except _No as refused:
            await self._engine.run(note, no)
            return refused.refusal

    async def latest(self, order: OrderId) -> tuple[Challenge, int] | None:
        """Return the order's newest challenge, and how many codes the order has been sent."""

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
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        record: AuditRecord,
        no: AuditRecord,
        notices: tuple[OutboxJob, ...] = (),
    ) -> Charged | Refusal:
        """Count one attempt of the challenge and one failure of the customer, before anything is compared."""
        attempt = guard(_CHARGE, id=challenge.id, order_id=challenge.order, now=ms(now))

        def script() -> Script[Charged | Refusal]:
            done = yield from write_with_record(record, attempt, failure(challenge.customer, CODE, limits, now))
            if done is not None:
                return Charged(challenge_of(done[0][0]))
            rows = yield attempt
            if not rows:
                found = yield query(_GET, id=challenge.id)
                yield from append(no)
                return (challenge_of(found[0]).refusal(now) if found else None) or pure.replaced()
            allowed = yield from charge_failure(challenge.customer, CODE, limits, now, notices)
            yield from append(record if allowed else no)
            return Charged(challenge_of(rows[0])) if allowed else HELD

        return await self._engine.run(script)

    async def right(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        now: datetime,
        sequel: Sequel,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Consume the challenge, mark the order, do what `sequel` says, and give the failure back. Works once."""
        consume = guard(_CONSUME, id=challenge.id, now=ms(now))
        forgiven = forgive(challenge.customer, CODE)
        unpaused = give_back(pause_of(challenge.customer))
        coded = guard(
            _CODED,
            order_id=challenge.order,
            challenge=challenge.id,
            channel=challenge.channel.value,
            now=ms(now),
            since=ms(sequel.first_since or now),
            life=span(sequel.order_life),
            **by(acting),
        )

        def script() -> Script[Refusal | None]:
            hold_lost = tuple(query(sql, order_id=challenge.order, now=ms(now)) for sql in HOLD_LOST)
            follows = (*hold_lost, *stoppable(sequel.stop), *queued(sequel.works))
            if (yield from write_with_record(record, consume, coded, forgiven, unpaused, *follows)) is not None:
                yield from wake(sequel.works)
                return None
            if not (yield consume):
                found = yield query(_GET, id=challenge.id)
                return challenge_of(found[0]).refusal(now) or pure.expired()
            yield unpaused
            if not (yield coded):
                yield from append(no)  # the failure is not given back, and the record does not say so
                return _MOVED
            yield forgiven
            yield from in_turn(follows)
            yield from wake(sequel.works)
            yield from append(record)
            return None

        return await self._engine.run(script)

    async def wrong(
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> bool:
        """Record that the code was wrong. Return whether this call has shut the lock; then `notices` are queued."""

        def script() -> Script[bool]:
            yield query(_EXHAUST, id=challenge.id)
            held = yield from lock_if_used_up(challenge.customer, CODE, limits, now, notices)
            yield from append(record)
            return held

        return await self._engine.run(script)


class _No(Exception):
    """Rolls a refused challenge back. The refusal is then recorded in another transaction."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class FailureRepository:
    """Implements `stepup.ports.Failures`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def charge(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Count one failure before anything is compared. A refusal is recorded with `record`."""

        def script() -> Script[Refusal | None]:
            if (yield from at_once(failure(customer, factor, limits, now))) is not None:
                return None
            if (yield from charge_failure(customer, factor, limits, now, notices)):
                return None
            yield from append(record)
            return HELD

        return await self._engine.run(script)

    async def wrong(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> bool:
        """Record that a counted answer was wrong. Return whether this call has shut the lock."""

        def script() -> Script[bool]:
            held = yield from lock_if_used_up(customer, factor, limits, now, notices)
            yield from append(record)
            return held

        return await self._engine.run(script)

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return the locks that are shut, and why."""

        def script() -> Script[dict[str, str]]:
            shut: dict[str, str] = {}
            for row in (yield whole(HELD_ROWS, customer=customer)):
                lock = lock_of(row["factor"])
                shut[lock] = "disabled" if "disabled" in (row["hold"], shut.get(lock)) else row["hold"]
            return shut

        return await self._engine.read(script)

    async def release(
        self, customer: CustomerId, now: datetime, record: AuditRecord, notices: tuple[OutboxJob, ...]
    ) -> int:
        """Open every lock of a customer and forget failures and sends; return how many locks were shut."""
        empty = _EMPTY_SENDS.format(chosen=CHOSEN[self._engine.dialect])

        def script() -> Script[int]:
            lifted = yield from unlock(customer)
            yield query(empty, customer=customer, pause=pause_of(customer))
            yield query(_BEGIN_ANEW, anew=_anew(customer), now=ms(now))
            yield from append(record)
            if lifted:
                yield from queue(notices)
            return lifted

        return await self._engine.run(script)
