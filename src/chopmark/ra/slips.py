"""The approval slip: a branch prints it, after it saw the papers, for a customer whose contacts can carry no code.

No slip is printed while a contact cools down, or shortly after a contact, id or account of the customer was stopped,
changed or removed. Otherwise somebody who can change a customer's record would have the certificate at once, before the
customer has read the notices.

The right slip takes the place of the right code: the login still needs the password and has to hold the order's key. It
is never accepted if a contact can carry a code. Two people at the firm have to print it, because one clerk who can also
print a password slip could otherwise act as any customer without contacts. Wrong entries count against the rate limit
of codes and lead to the same lock (decision 27). A slip has no limit of its own: nobody guesses 80 bits, and with such
a limit anybody who knows the password could send the customer back to the branch by five wrong entries.
"""

import hmac
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, customer_stream, order_stream
from chopmark.core.clock import new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import ActingLogin, CustomerId, FactorClass, OrderId, OrderState, Secret, text
from chopmark.messaging.ports import OutboxJob, OutboxJobKind, Purpose
from chopmark.pki.key_words import LETTERS, WORD_LETTERS, key_words
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.model import Order, Step
from chopmark.ra.refusals import two_people
from chopmark.ra.replace import can_carry, why_none_carries
from chopmark.ra.snapshots import OrderSnapshot
from chopmark.ra.stopping import announced
from chopmark.stepup.ports import CODE, FailureLimits, Failures, Sequel
from chopmark.stepup.verifier import HELD

SLIP_LETTERS: Final = 20
"""Twenty letters of an alphabet of sixteen, 80 bits; without vowels and digits they look like no word and no code."""
_GROUP: Final = 5
_TO_LETTERS: Final = str.maketrans("0123456789abcdef", LETTERS)


class Papers(StrEnum):
    """The kind of papers that the branch has seen; a fixed word, so that no data of the papers gets into a record."""

    IDENTITY_CARD = "identity-card"
    RESIDENT_CERTIFICATE = "resident-certificate"
    PASSPORT = "passport"
    COMPANY_PAPERS = "company-papers"


@dataclass(frozen=True, slots=True)
class Slip:
    """A slip as stored, with only a keyed hash of its letters.

    `key_words` name the one key that it approves; None if it approves any key of the customer's. The hash also covers
    id, customer, expiry and key words, so that nobody can extend a slip by changing its row.
    """

    id: str
    customer: CustomerId
    secret_hash: str
    key_words: str | None
    printed_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Printed:
    """A new slip: its letters are shown once and are stored nowhere; `open` is the order that waits for it, if any.

    The branch compares that order's key with what the customer's page shows.
    """

    letters: Secret = field(repr=False)
    slip: Slip
    open: Order | None


class Slips(Protocol):
    """Stores slips; each method is one transaction."""

    async def put(self, slip: Slip, settled_since: datetime, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """Store a slip and queue `works`; the customer's earlier slips become void.

        Return False, with nothing stored, when a contact cools down, or when contacts, id or accounts of the customer
        were stopped, changed or removed after `settled_since`.
        """
        ...

    async def current(self, order: Order, now: datetime) -> Slip | None:
        """Return the slip that may approve this order: a live one of its customer, or the one that it has used."""
        ...

    async def charge(
        self,
        slip: Slip,
        order: Order,
        limits: FailureLimits,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Charge one failure to the rate limit of codes before anything is compared; refused if none is left.

        The call that finds none left locks the customer, queues `works` and writes `no` in place of `record`. If slip
        or order have changed meanwhile it is refused too: nothing is charged, and the caller must not compare.
        """
        ...

    async def right(
        self,
        slip: Slip,
        order: Order,
        acting: ActingLogin,
        now: datetime,
        sequel: Sequel,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Use the slip up for this order and key, mark the order as coded by this login, and store the `sequel`.

        The same order may use it again for the same key, because an approval lapses sooner than a slip. Refused, with
        `no` written in place of `record`, when slip or order have changed meanwhile, a contact can carry a code by now,
        or the login does not hold the order's key.
        """
        ...


class SlipDesk:
    """Prints slips, and accepts them in place of codes."""

    def __init__(self, context: RaContext, slips: Slips, failures: Failures) -> None:
        self._context = context
        self._slips = slips
        self._failures = failures

    async def print(
        self, customer: CustomerId, by: str, approved_by: str, papers: Papers, words: str | None = None
    ) -> Printed:
        """Return a new slip; earlier ones become void, and all contacts on record are told.

        `words` are the key words that the customer's page shows; with them the slip approves only that key. Raises
        Refused unless two different people are named, when a contact can carry codes, and when the customer's record
        was changed lately.
        """
        context, now = self._context, self._context.now()
        # 1. Two different people at the firm.
        await two_people(context, by, approved_by, "approval_slip")
        # 2. The customer, none of whose contacts can carry a code.
        snapshot = await context.snapshots.customer(customer)
        if snapshot.customer is None:
            raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such customer."), field="customer"))
        contacts = context.contact_facts(snapshot.contacts)
        if can_carry(context.policy, contacts, now):
            raise Refused(_NOT_NEEDED)
        letters = context.entropy.token(SLIP_LETTERS // 2).hex().translate(_TO_LETTERS)
        slip = Slip(new_id(context.entropy), customer, "", _words(words), now, now + context.policy.slip_life)
        slip = replace(slip, secret_hash=self._hash(slip, letters))
        facts = {"template": Purpose.SLIP_PRINTED.value}
        works = tuple(
            context.work(OutboxJobKind.NOTICE, customer, facts, channel, contact.version)
            for channel, contact in sorted(contacts.items())
        )

        # 3. [tx] The slip, its record and the notices, unless the customer's record was changed lately.
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.STAFF_SLIP_PRINTED,
                by=by,
                approved_by=approved_by,
                reason=papers,
                customer=customer,
                slip=slip.id,
                key_words=slip.key_words,
                contacts=why_none_carries(context.policy, contacts, now),
            )
            return await self._slips.put(slip, now - context.policy.contact_cooldown, works, record)

        if not await context.audit_log.write(customer_stream(customer), attempt):
            raise Refused(_too_new(context.policy.contact_cooldown))
        waiting = (order.at(now, context.policy) for order in snapshot.live)
        waits = next((order for order in waiting if order.live and order.wants_slip and order.spki_sha256), None)
        return Printed(Secret(_grouped(letters, _GROUP)), slip, waits)

    async def answer(self, caller: Caller, order_id: OrderId, typed: str) -> OrderSnapshot:
        """Accept the right slip in place of a code and return the order's snapshot.

        Raises Refused for a wrong slip, which stays charged as a failure although the request fails.
        """
        context, now = self._context, self._context.now()
        # 1. An entry that has not the form of a slip costs nothing.
        letters = _typed(typed, SLIP_LETTERS)
        if letters is None:
            raise Refused(_MALFORMED)
        # 2. The order waits for a slip, and no contact can carry a code.
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if not (order.wants_slip and order.state in _AGAIN) and (refused := order.require(Step.SLIP)) is not None:
            raise Refused(refused)
        acting = context.acting(caller, order)
        slip = await self._slips.current(order, now)
        refused = slip_refused(context, snapshot, acting) or _unfit(slip, order)
        if refused is not None or slip is None:
            raise Refused(refused or _NONE)
        # 3. [tx] Charge one failure.
        told = context.notice_to(order.customer, snapshot.contacts, "hold", None)
        await self._charge(slip, order, acting, told)
        # 4. Compare in constant time. [tx] A wrong slip is recorded, and the last allowed one locks the customer.
        if not hmac.compare_digest(self._hash(slip, letters), slip.secret_hash):
            raise Refused(await self._wrong(slip, order, acting, told))
        # 5. [tx] The slip is used up for this order and key, the order is coded, the failure is given back.
        await self._right(slip, snapshot, acting)
        if context.hold_old(order):
            return await context.reread(caller, order_id)
        return snapshot.now_as(order.touched(acting).slipped(slip.id, acting.id, now))

    async def _charge(self, slip: Slip, order: Order, acting: ActingLogin, told: tuple[OutboxJob, ...]) -> None:
        async def attempt(builder: RecordBuilder) -> Refusal | None:
            facts: dict[str, Fact] = {"slip": slip.id, "login": acting.id}
            yes, no = builder.record(Event.RA_SLIP_CHARGED, **facts), builder.record(Event.RA_SLIP_DEAD, **facts)
            return await self._slips.charge(slip, order, self._limits, self._context.now(), told, yes, no)

        refused = await self._context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)

    async def _right(self, slip: Slip, snapshot: OrderSnapshot, acting: ActingLogin) -> None:
        context, order = self._context, snapshot.order
        sequel = announced(context, snapshot, acting, None)
        sequel = replace(sequel, works=(*sequel.works, *context.hold_old(order)))
        facts: dict[str, Fact] = {"slip": slip.id, "login": acting.id}

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            contacts = context.contact_facts(snapshot.contacts)
            record = builder.record(
                Event.RA_SLIP_RIGHT,
                **facts,
                spki_sha256=order.spki_sha256,
                factor="+".join(sorted(acting.union)),
                contacts=why_none_carries(context.policy, contacts, context.now()),
            )
            no = builder.record(Event.RA_SLIP_DEAD, **facts)
            return await self._slips.right(slip, order, acting, context.now(), sequel, record, no)

        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)

    async def _wrong(self, slip: Slip, order: Order, acting: ActingLogin, told: tuple[OutboxJob, ...]) -> Refusal:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_SLIP_WRONG, slip=slip.id, login=acting.id)
            return await self._failures.wrong(order.customer, CODE, self._limits, self._context.now(), told, record)

        return HELD if await self._context.audit_log.write(order_stream(order.id), attempt) else _WRONG

    @property
    def _limits(self) -> FailureLimits:
        policy = self._context.policy
        return FailureLimits(policy.failures_per_day, timedelta(days=1), policy.failures_ever)

    def _hash(self, slip: Slip, letters: str) -> str:
        """Return the keyed hash of a slip's letters together with its id, customer, expiry and key words."""
        said = f"{slip.id}:{slip.customer}:{int(slip.expires_at.timestamp())}:{slip.key_words or ''}:{letters}"
        return self._context.people.keyed("approval-slip", said)


def slip_refused(context: RaContext, snapshot: OrderSnapshot, acting: ActingLogin) -> Refusal | None:
    """Return the refusal of a slip for this order, or None when it may be used.

    It is refused when a login of the order used a slip of the branch as a factor, or a contact can carry a code by now.
    """
    if FactorClass.BRANCH in acting.union:
        return _SAME_FACTOR
    if can_carry(context.policy, context.contact_facts(snapshot.contacts), context.now()):
        return _CODE_INSTEAD
    return None


def unless_void(snapshot: OrderSnapshot) -> OrderSnapshot:
    """Return the snapshot of an order that could not be submitted; raise Refused if its slip is void by now."""
    if snapshot.order.wants_slip and snapshot.order.next() is Step.REVIEW:
        raise Refused(_VOID)
    return snapshot


def _unfit(slip: Slip | None, order: Order) -> Refusal | None:
    if slip is not None and slip.key_words is not None and slip.key_words != key_words(order.spki_sha256 or ""):
        return _OTHER_KEY
    return None


def _words(typed: str | None) -> str | None:
    """Return typed key words in the form in which they are shown; raise Refused if they cannot be key words."""
    letters = None if typed is None else _typed(typed, WORD_LETTERS)
    if typed is not None and letters is None:
        said = text("The words of a key are twelve letters, as the customer's page shows them.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="key", code="key_words"))
    return None if letters is None else _grouped(letters, WORD_LETTERS // 3)


def _typed(raw: str, length: int) -> str | None:
    """Return typed letters in capitals, without regard to width, case and grouping; None if they do not fit."""
    folded = unicodedata.normalize("NFKC", raw[:100]).upper()
    letters = "".join(letter for letter in folded if letter.isalnum())
    return letters if len(letters) == length and _are(letters) else None


def _are(letters: Collection[str]) -> bool:
    return all(letter in LETTERS for letter in letters)


def _grouped(letters: str, size: int) -> str:
    return "-".join(letters[at : at + size] for at in range(0, len(letters), size))


_AGAIN = frozenset({OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED})
"""States in which an order that has used a slip accepts another, because the branch may have printed a newer one."""
_VOID = Refusal(
    Kind.CONFLICT,
    text("A newer slip was printed for you meanwhile. Please type the letters of that one."),
    field="slip",
    code="slip_void",
)
_NOT_NEEDED = Refusal(
    Kind.CONFLICT,
    text("A contact of this customer can carry codes: no slip is printed, and none would be taken."),
    field="customer",
    code="code_instead",
)


def _too_new(wait: timedelta) -> Refusal:
    said = text(
        "Contacts, ID or accounts of this customer were changed or stopped within the last %(days)s days. Until these "
        "are over no slip is printed.",
        days=wait.days,
    )
    return Refusal(Kind.CONFLICT, said, field="customer", code="changed_lately")


_MALFORMED = Refusal(
    Kind.MALFORMED,
    text("The slip has twenty letters, in four groups of five. Please type all of them."),
    field="slip",
    code="slip_form",
)
_NONE = Refusal(
    Kind.FORBIDDEN,
    text(
        "No slip is valid for this request: it was used, its days are over, or a newer one was printed. Please ask "
        "your branch for a new one."
    ),
    field="slip",
    code="no_slip",
)
_WRONG = Refusal(
    Kind.WRONG_CODE,
    text("These are not the letters of your slip. Please compare them and type them again."),
    field="slip",
    code="slip",
)
_OTHER_KEY = Refusal(
    Kind.FORBIDDEN,
    text("Your slip was printed for another key than the one of this request. Please ask your branch for a new one."),
    field="slip",
    code="slip_key",
)
_SAME_FACTOR = Refusal(
    Kind.FORBIDDEN,
    text("You signed in with help of the branch already. Please sign in with your trading password alone."),
    field="slip",
    code="password_alone",
)
_CODE_INSTEAD = Refusal(
    Kind.CONFLICT,
    text("A code can be sent to you by now, so that no slip counts. Please end this request and begin again."),
    field="slip",
    code="code_instead",
)
