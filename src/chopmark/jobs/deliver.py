"""Delivering codes and notices: claim outbox rows, write each message, send it, and close the row with its record.

A code is derived when its message is written and is kept only for the length of that call. A retry derives the same
code again (architecture rule 6).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from math import inf

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import AuditRecord
from chopmark.core.clock import Clock
from chopmark.core.types import Channel, CustomerId, Operation, Secret
from chopmark.identity.people import People
from chopmark.jobs.loop import Task, Waiting
from chopmark.messaging.failover import Router
from chopmark.messaging.ports import (
    OTHER_VERSION,
    FaultReason,
    GatewayFault,
    Message,
    Outbox,
    OutboxJob,
    OutboxJobKind,
    Purpose,
    Receipt,
    code_purpose,
)
from chopmark.messaging.templates import CodeParts, Language, Sender, Written, write_code, write_notice
from chopmark.pki.key_words import key_name
from chopmark.ra.dispatch import Dispatches, Papers, stream_of
from chopmark.ra.stop_codes import stop_code
from chopmark.stepup.challenge import ChallengeState
from chopmark.stepup.verifier import Verifier

LEASE_S = 60
BATCH = 50
LOOK_EVERY_S = 5.0
"""How often the first lane looks without being woken: for what a killed worker left, or whose wake-up was lost."""
ASSIST_EVERY_S = 0.5
PAUSE_S = 0.2
"""How long the first lane rests after a run, so that messages queued within that time are claimed together."""
NOTICE_LIFE = timedelta(days=1)
MOST_ATTEMPTS = 12
LONGEST_WAIT_S = 60
TO_TYPE = timedelta(seconds=30)
"""What must be left of a code's life at its last sending: the customer has to open the message and type the code."""
KINDS = (OutboxJobKind.CODE, OutboxJobKind.NOTICE)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A message that is ready to be sent, with its channel and its customer."""

    message: Message
    channel: Channel
    customer: CustomerId


@dataclass(frozen=True, slots=True)
class Carrier:
    """The router that picks a gateway for each message, and the sender in whose name messages are written."""

    router: Router
    sender: Sender


class Delivery:
    """Sends the queued codes and notices; one `Delivery` is one lane of the worker."""

    def __init__(
        self,
        works: Outbox[AuditRecord],
        dispatches: Dispatches,
        verifier: Verifier,
        people: People,
        carrier: Carrier,
        audit_log: AuditLog,
        clock: Clock,
        holder: str,
    ) -> None:
        self._works = works
        self._dispatches = dispatches
        self._verifier = verifier
        self._people = people
        self._router = carrier.router
        self._sender = carrier.sender
        self._audit_log = audit_log
        self._clock = clock
        self._holder = holder
        self.busy = False
        self._again: set[datetime] = set()

    async def once(self) -> int:
        """Deliver what is due, at most one batch; return how many outbox rows were claimed.

        Each row is closed as soon as its own gateway has answered, independently of the other rows of the batch.
        """
        self.busy = True
        try:
            works = await self._works.claim(KINDS, BATCH, self._holder, self._clock.now(), LEASE_S)
            if works:
                papers = await self._dispatches.papers(works)
                for tip in papers.tips:
                    self._audit_log.know(tip)
                ends = await asyncio.gather(*(self._one(work, papers) for work in works), return_exceptions=True)
                for failure in (end for end in ends if end is not None):
                    raise failure  # only now: the other rows of the batch are closed
        finally:
            self.busy = False
        return len(works)

    async def assist(self, others: Sequence["Delivery"]) -> int:
        """Deliver as `once` does if all of `others` are busy; otherwise do nothing and return 0."""
        return await self.once() if all(other.busy for other in others) else 0

    def due_in_s(self) -> float:
        """Return the seconds until a message that this lane has put back is due, and infinity if there is none.

        What is due already is said once, as 0: then somebody looks for it.
        """
        now = self._clock.now()
        if due := {at for at in self._again if at <= now}:
            self._again -= due
            return 0.0
        return min(((at - now).total_seconds() for at in self._again), default=inf)

    async def _one(self, work: OutboxJob, papers: Papers) -> None:
        now = self._clock.now()
        if work.expires_at is not None and now >= work.expires_at:
            await self._close(work, "expired", None)
            return
        parcel = self._parcel(work, papers, now)
        if parcel is None:
            await self._close(work, "void", None, _instead(work))
            return
        try:
            receipt = await self._router.send(parcel.message, now)
        except GatewayFault as fault:
            again = _again(work, now) if fault.retryable else None
            if again is not None:
                await self._works.retry(work, self._holder, again, fault.named.value)
                self._again.add(again)
            else:
                instead = () if fault.reason is FaultReason.TOO_LATE else _instead(work)
                await self._close(work, f"failed:{fault.named.value}", None, instead)
            return
        await self._close(work, "sent", receipt)

    def _parcel(self, work: OutboxJob, papers: Papers, now: datetime) -> _Parcel | None:
        """Return the message, or None when it must not be sent any more.

        That is so when the contact has changed, and for a code also when the contact cools down or the code was
        replaced, used or has expired.
        """
        contact = papers.contact(work)
        if contact is None or (work.kind is OutboxJobKind.CODE and now < contact.cool_until):
            return None
        made = self._code(work, papers, now) if work.kind is OutboxJobKind.CODE else self._notice(work, contact.channel)
        if made is None:
            return None
        return _Parcel(
            replace(made, destination=self._people.opened(contact), handed_at=now), contact.channel, contact.customer
        )

    def _code(self, work: OutboxJob, papers: Papers, now: datetime) -> Message | None:
        challenge = papers.challenge(work)
        if challenge is None or challenge.state is not ChallengeState.LIVE or now >= challenge.expires_at:
            return None
        code = self._verifier.code_of(challenge)
        if code is None:
            return None
        purpose = code_purpose(challenge.operation)
        written = write_code(
            self._sender,
            purpose,
            _language(work),
            challenge.channel,
            CodeParts(
                code,
                challenge.reference,
                None if challenge.operation is Operation.REVOKE else key_name(challenge.spki),
                challenge.expires_at - challenge.created_at,
            ),
            account_last3=_word(work, "account_last3"),
        )
        life = challenge.expires_at - challenge.created_at
        return _message(work, written, purpose, challenge.created_at, life, challenge.channel, code)

    def _notice(self, work: OutboxJob, channel: Channel) -> Message | None:
        purpose = Purpose(str(work.facts["template"]))
        last3 = _word(work, "account_last3")
        stop = None
        if purpose is Purpose.REPLACING and work.order is not None:
            stop = stop_code(self._people, work.order, str(work.facts["stop"]))
        written = write_notice(
            self._sender, purpose, _language(work), channel, at=work.not_before, account_last3=last3, stop=stop
        )
        return _message(work, written, purpose, work.not_before, NOTICE_LIFE, channel, None)

    async def _close(
        self, work: OutboxJob, outcome: str, receipt: Receipt | None, instead: tuple[OutboxJob, ...] = ()
    ) -> None:
        now = self._clock.now()
        stream = stream_of(work)
        if stream is None:
            await self._works.done(work, self._holder, now, outcome, None, instead)
            return

        async def attempt(builder: RecordBuilder) -> bool:
            event = Event.POST_MESSAGE_FAILED if receipt is None else Event.POST_MESSAGE_SENT
            record = builder.record(
                event,
                message=work.id,
                channel=work.channel,
                gateway=None if receipt is None else receipt.gateway,
                receipt=None if receipt is None else receipt.provider_id,
                code=outcome if receipt is None else None,
            )
            return await self._works.done(work, self._holder, now, outcome, record, instead)

        await self._audit_log.write(stream, attempt)


def lanes(deliveries: Sequence[Delivery], wake: Waiting) -> tuple[Task, ...]:
    """Return one job for each lane, so that a gateway that hangs delays only the messages of one lane.

    The first lane is woken by new messages. It also looks when a message that any lane has put back is due, and every
    `LOOK_EVERY_S` in any case. Each further lane claims rows only while all lanes before it are busy.
    """
    first, *more = deliveries

    async def woken(timeout_s: float) -> bool:
        return await wake(min(timeout_s, *(one.due_in_s() for one in deliveries)))

    return (
        Task("deliver-0", first.once, LOOK_EVERY_S, woken, full=BATCH, pause_s=PAUSE_S),
        *(
            Task(f"deliver-{number}", partial(one.assist, deliveries[:number]), ASSIST_EVERY_S, full=BATCH)
            for number, one in enumerate(more, 1)
        ),
    )


def _again(work: OutboxJob, now: datetime) -> datetime | None:
    """Return when to try a message again; None after the last attempt, or when a code would come too late.

    A code is tried for the last time `TO_TYPE` before it expires, however long the next wait would be: a mail server
    that greylists accepts a message only after one to five minutes.
    """
    if work.attempts >= MOST_ATTEMPTS:
        return None
    at = now + timedelta(seconds=min(LONGEST_WAIT_S, 2**work.attempts))
    if work.kind is not OutboxJobKind.CODE or work.expires_at is None:
        return at
    last = work.expires_at - TO_TYPE
    return min(at, last) if now < last else None


def _instead(work: OutboxJob) -> tuple[OutboxJob, ...]:
    """Return the same notice for the customer's other contact, or nothing if there is none; codes are not redirected.

    It is queued when the notice could not be delivered to the first contact.
    """
    version = work.facts.get(OTHER_VERSION)
    if work.kind is not OutboxJobKind.NOTICE or work.channel is None or not isinstance(version, int):
        return ()
    facts = {name: value for name, value in work.facts.items() if name != OTHER_VERSION}
    other = work.channel.other
    return (
        replace(work, id=f"{work.id}-{other.value}", channel=other, contact_version=version, facts=facts, attempts=0),
    )


def _word(work: OutboxJob, name: str) -> str | None:
    value = work.facts.get(name)
    return None if value is None else str(value)


def _language(work: OutboxJob) -> Language:
    return Language.EN if work.facts.get("language") == "en" else Language.ZH


def _message(
    work: OutboxJob,
    written: Written,
    purpose: Purpose,
    at: datetime,
    life: timedelta,
    channel: Channel,
    code: Secret | None,
) -> Message:
    if work.customer is None:
        raise ValueError(f"work {work.id} is for nobody")
    return Message(
        message_id=work.id,
        channel=channel,
        destination=Secret(""),
        subject=written.subject,
        text=written.text,
        purpose=purpose,
        at=at,
        ttl_s=int(life.total_seconds()),
        customer=work.customer,
        challenge=work.challenge,
        code=code,
    )
