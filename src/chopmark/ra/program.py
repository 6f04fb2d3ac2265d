"""What a customer's own program may do for an order: send its key, ask for its certificate, prove that it works.

The program takes the customer's steps at the key and at the end, and none between: password, code, birth date and
consent stay with the customer at the portal, and every rule is the one of the portal's own verbs. Whatever the
program sends, it gets the certificate only when the customer has approved this very key.
"""

import hmac
from dataclasses import dataclass
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream, system_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, KeyHome, LoginId, Operation, OrderId, OrderState, Secret, text
from chopmark.identity.sessions import bearer, digest
from chopmark.limits.budgets import RateLimit
from chopmark.pki import csr
from chopmark.pki.x509 import serial_of
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.key_proof import OneTime, PresentedCertificate
from chopmark.ra.model import BEFORE_SUBMISSION, HAS_A_KEY, Order, ended
from chopmark.ra.ports import Credential, Credentials, SubscriberCertificate
from chopmark.ra.rekey import Rekey

DOOR = "est"
PROGRAM = LoginId("program")
"""Stands for a program that shows a certificate; no login has such an id."""
_WITH_CREDENTIAL = frozenset({Operation.ENROL, Operation.REPLACE})
_REFUSALS = RateLimit("est:refused:1m", 60, timedelta(minutes=1))
"""How many refused credentials are recorded; beyond it a stranger gets the same answer and fills no disk (I41)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential: it is shown once and exists nowhere else."""

    user: OrderId
    secret: Secret
    life: timedelta


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an order stands for its program; `certificate` is DER once there is one."""

    order: Order
    certificate: bytes | None


class ProgramEnrolment:
    """Serves customers' programs."""

    def __init__(self, context: RaContext, rekey: Rekey, credentials: Credentials) -> None:
        self._context = context
        self._rekey = rekey
        self._credentials = credentials

    async def credential(self, caller: Caller, order_id: OrderId) -> Issued:
        """Return a one-time credential with which the customer's program sends the key of this order.

        256 random bits, stored as a hash, good for one key and ten minutes until that; an earlier one of the order
        is dead. 1 the order wants a key of a program  2 [tx] credential, leaf.
        """
        context, now = self._context, self._context.now()
        order = await context.order(caller, order_id)
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION:
            raise Refused(order.elsewhere())
        if order.key_home is not KeyHome.HELPER:
            raise Refused(_NOT_FOR_A_PROGRAM)
        if order.operation not in _WITH_CREDENTIAL:
            raise Refused(_BY_CERTIFICATE)
        login = context.acting(caller, order).id
        if not order.key_is_mine:
            raise Refused(HAS_A_KEY)
        secret = bearer(context.entropy)
        stored = Credential(order.id, digest(secret), now + context.policy.credential_life, login)

        async def attempt(builder: RecordBuilder) -> bool:
            return await self._credentials.put(
                stored, now, builder.record(Event.RA_CREDENTIAL_ISSUED, door=caller.interface, login=login)
            )

        if not await context.audit_log.write(order_stream(order.id), attempt):
            raise Refused((await context.order(caller, order_id)).elsewhere())
        return Issued(order.id, Secret(secret), context.policy.credential_life)

    async def enrol(self, user: str, secret: Secret, csr_der: bytes) -> Progress:
        """Return how far a first certificate is, after binding the key on the credential's first use.

        1 the credential is this order's  2 it is fresh and the key is bound, or it has bound this key  3 the
        certificate, once the customer has approved. Safe to repeat (I2).
        """
        order, credential = await self._admitted(OrderId(user), secret)
        if not order.live and order.state is not OrderState.ACTIVE:
            raise Refused(ended(order))
        if credential.spki_sha256 is None:
            if self._context.now() >= credential.expires_at:
                raise Refused(await self._unknown("lapsed"))
            evidence = OneTime(credential.token_hash)
            order = (await self._rekey.bind_key(_caller(order, credential.login), order.id, csr_der, evidence)).order
        elif _key_of(csr_der) != credential.spki_sha256:
            raise Refused(_USED)
        elif order.spki_sha256 != credential.spki_sha256:
            raise Refused(_OTHER_KEY)
        return await self._progress(order)

    async def _admitted(self, order_id: OrderId, secret: Secret) -> tuple[Order, Credential]:
        stored = await self._credentials.get(order_id)
        given = digest(secret.reveal())
        if stored is None or not hmac.compare_digest(stored.token_hash, given):
            raise Refused(await self._unknown("unknown"))
        order = await self._context.orders.get(order_id)
        if order is None:
            raise ValueError(f"a credential of no order: {order_id}")
        return order.at(self._context.now(), self._context.policy), stored

    async def _unknown(self, code: str) -> Refusal:
        """Record a refused credential, as long as not too many come; nobody's counter moves (I19)."""
        context = self._context
        if await context.rate_limits.take((_REFUSALS,), context.now()) is None:

            async def attempt(builder: RecordBuilder) -> None:
                await context.orders.note(builder.record(Event.RA_CREDENTIAL_REFUSED, code=code, door=DOOR))

            await context.audit_log.write(system_stream("est"), attempt)
        return _UNKNOWN

    async def reenrol(self, shown: PresentedCertificate, csr_der: bytes) -> Progress:
        """Return how far a renewal is, for the program that opened its connection with the certificate `shown`.

        1 the certificate is one of ours, to the byte  2 a new one that asks for itself has proved that it works
        3 otherwise it is active and not expired  4 the customer has begun its renewal at the portal, with the
        password (TW-16)  5 the key is bound, or it is the bound one. Safe to repeat (I2).
        """
        holding = await self._known(shown)
        own = _key_of(csr_der) == holding.spki_sha256
        if holding.state is CertificateState.ISSUED and own:
            return await self._proved(holding, shown)
        refused = await self._may_renew(holding)
        if refused is not None:
            raise Refused(refused)
        order = await self._renewal_of(holding)
        if order is None and own:
            return await self._progress(await self._order(holding))
        if order is None:
            raise Refused(_BEGIN_AT_THE_PORTAL)
        if order.spki_sha256 is None:
            order = (await self._rekey.bind_key(_caller(order), order.id, csr_der, shown)).order
        elif order.spki_sha256 != _key_of(csr_der):
            raise Refused(_OTHER_KEY)
        return await self._progress(order)

    async def _known(self, shown: PresentedCertificate) -> SubscriberCertificate:
        try:
            serial = serial_of(shown.certificate)
        except ValueError as error:
            raise Refused(_NOT_OURS) from error
        holding = await self._context.holdings.get(serial)
        if holding is None or holding.der != shown.certificate:
            raise Refused(_NOT_OURS)
        return holding

    async def _proved(self, holding: SubscriberCertificate, shown: PresentedCertificate) -> Progress:
        order = await self._order(holding)
        return await self._progress((await self._rekey.prove_by_use(_caller(order), order.id, shown)).order)

    async def _may_renew(self, holding: SubscriberCertificate) -> Refusal | None:
        """Refuse what has ended, is on hold or not proved (incident 18), expired to the second included."""
        if holding.state is CertificateState.ISSUED:
            return _PROVE_FIRST
        if holding.state is not CertificateState.ACTIVE or self._context.now() > holding.not_after:
            return _NOT_VALID
        return None

    async def _renewal_of(self, holding: SubscriberCertificate) -> Order | None:
        """Return the live renewal of this certificate whose key a program makes."""
        for order in await self._context.orders.live(holding.customer):
            counts = order.at(self._context.now(), self._context.policy)
            mine = order.operation is Operation.REKEY and order.old_serial == holding.serial
            if counts.live and mine and order.key_home is KeyHome.HELPER:
                return counts
        return None

    async def _order(self, holding: SubscriberCertificate) -> Order:
        order = await self._context.orders.get(holding.order)
        if order is None:
            raise ValueError(f"certificate {holding.serial} of no order")
        return order

    async def _progress(self, order: Order) -> Progress:
        if order.state in {OrderState.ISSUED, OrderState.ACTIVE} and order.serial is not None:
            holding = await self._context.holdings.get(order.serial)
            return Progress(order, None if holding is None else holding.der)
        if not order.live:
            raise Refused(ended(order))
        return Progress(order, None)


def _caller(order: Order, login: LoginId = PROGRAM) -> Caller:
    """Return the order's own customer, with the factors of the logins that have touched the order.

    `login` is the one that gave out the program's credential.
    """
    return Caller(order.customer, order.login_factors, DOOR, login)


def _key_of(csr_der: bytes) -> str:
    request = csr.parse(csr_der)
    if isinstance(request, Refusal):
        raise Refused(request)
    return request.spki_sha256


_NOT_FOR_A_PROGRAM = Refusal(
    Kind.CONFLICT,
    text("This order makes its key in the browser. Please cancel it and choose the program on your computer."),
    code="key_home",
)
_BY_CERTIFICATE = Refusal(
    Kind.CONFLICT,
    text("A renewal needs no credential: your program shows the certificate that you use now."),
    code="by_certificate",
)
_UNKNOWN = Refusal(
    Kind.UNAUTHENTICATED,
    text("This credential is not valid. Please make a new one on the page of your order."),
    code="credential",
)
_USED = Refusal(
    Kind.FORBIDDEN,
    text("This credential was used for another key. Please make a new one on the page of your order."),
    code="credential_used",
)
_OTHER_KEY = Refusal(
    Kind.CONFLICT,
    text("This order has another key by now. Please cancel it on its page and begin again."),
    code="other_key",
)
_NOT_OURS = Refusal(
    Kind.FORBIDDEN,
    text("This certificate is not one of ours. Please apply for one at the portal."),
    code="not_ours",
)
_NOT_VALID = Refusal(
    Kind.FORBIDDEN,
    text("This certificate is not valid any more. Please apply for a new one at the portal."),
    code="old",
)
_PROVE_FIRST = Refusal(
    Kind.FORBIDDEN,
    text("This certificate has not proved itself. Please send the request of its own key once more with it."),
    code="unproven",
)
_BEGIN_AT_THE_PORTAL = Refusal(
    Kind.FORBIDDEN,
    text(
        "Please begin the renewal at the portal: sign in there, choose to renew, and choose the program on your"
        " computer. Then run this program again."
    ),
    code="begin_at_portal",
)
