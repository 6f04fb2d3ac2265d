"""What a customer's own program may do for an order: send its key, fetch its certificate, prove that it works.

The program takes only the first and the last steps of an order. Password, code, birth date and consent are given by the
customer at the portal, and all steps go through the same verbs as the portal's, with the same rules. The program gets a
certificate only for a key that the customer has approved.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream, system_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, KeyHome, LoginId, Operation, OrderId, OrderState, Secret, Serial, text
from chopmark.identity.sessions import bearer, digest
from chopmark.limits.rate_limits import RateLimit
from chopmark.pki import csr
from chopmark.pki.x509 import serial_of
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.key_proof import OneTime, PresentedCertificate
from chopmark.ra.model import BEFORE_SUBMISSION, HAS_A_KEY, Order, ended
from chopmark.ra.ports import Credential, Credentials, SubscriberCertificate
from chopmark.ra.rekey import Rekey

INTERFACE = "est"
PROGRAM = LoginId("program")
"""The login id used for a program that shows a certificate; no real login has this id."""
_WITH_CREDENTIAL = frozenset({Operation.ENROL, Operation.REPLACE})
_REFUSALS = RateLimit("est:refused:1m", 60, timedelta(minutes=1))
"""How many refused credentials are recorded; beyond that the answer is the same, but nothing is written (I41)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential: `secret` is shown once and is stored nowhere, `life` is how long it may bind a key."""

    user: OrderId
    secret: Secret
    life: timedelta


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order is; `certificate` is DER, or None until there is one."""

    order: Order
    certificate: bytes | None


class ProgramEnrolment:
    """The verbs for customers' programs."""

    def __init__(self, context: RaContext, rekey: Rekey, credentials: Credentials) -> None:
        self._context = context
        self._rekey = rekey
        self._credentials = credentials

    async def credential(self, caller: Caller, order_id: OrderId) -> Issued:
        """Return a one-time credential with which the customer's program sends the key of this order.

        It has 256 random bits and is stored as a hash. It can bind one key within ten minutes, and an earlier one of
        the same order becomes void. Raises Refused for an order whose key no program makes, and for a renewal, where
        the program shows the present certificate.
        """
        context, now = self._context, self._context.now()
        # 1. The order waits for a program's key, and this login may bind one.
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

        # 2. [tx] The credential and its record.
        async def attempt(builder: RecordBuilder) -> bool:
            return await self._credentials.put(
                stored, now, builder.record(Event.RA_CREDENTIAL_ISSUED, door=caller.interface, login=login)
            )

        if not await context.audit_log.write(order_stream(order.id), attempt):
            raise Refused((await context.order(caller, order_id)).elsewhere())
        return Issued(order.id, Secret(secret), context.policy.credential_life)

    async def enrol(self, user: str, secret: Secret, csr_der: bytes) -> Progress:
        """Bind the key at the credential's first use, and return how far the order is; safe to repeat (I2).

        The certificate is there once the customer has approved the key. Raises Refused for a credential that is
        unknown, too old for its first use, or used for another key.
        """
        # 1. The credential is this order's.
        order, credential = await self._admitted(OrderId(user), secret)
        if not order.live and order.state is not OrderState.ACTIVE:
            raise Refused(ended(order))
        # 2. A fresh credential binds the key; a used one must have bound this same key.
        if credential.spki_sha256 is None:
            if self._context.now() >= credential.expires_at:
                raise Refused(await self._unknown("lapsed"))
            evidence = OneTime(credential.token_hash)
            order = (await self._rekey.bind_key(_caller(order, credential.login), order.id, csr_der, evidence)).order
        elif _key_of(csr_der) != credential.spki_sha256:
            raise Refused(_USED)
        elif order.spki_sha256 != credential.spki_sha256:
            raise Refused(_OTHER_KEY)
        # 3. The certificate, if there is one already.
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
        """Record a refused credential, up to a rate limit, and return the refusal; no customer is charged (I19)."""
        context = self._context
        if await context.rate_limits.take((_REFUSALS,), context.now()) is None:

            async def attempt(builder: RecordBuilder) -> None:
                await context.orders.note(builder.record(Event.RA_CREDENTIAL_REFUSED, code=code, door=INTERFACE))

            await context.audit_log.write(system_stream("est"), attempt)
        return _UNKNOWN

    async def reenrol(self, shown: PresentedCertificate, csr_der: bytes) -> Progress:
        """Return how far a renewal is, for a program that opened its TLS connection with the certificate `shown`.

        Safe to repeat (I2). The customer has to begin the renewal at the portal with the password (TW-16); otherwise
        Refused is raised. A new certificate is proved by a request for its own key over a connection that it opened.
        """
        # 1. The certificate is one of ours, or one that was imported, to the byte.
        certificate = await self._known(shown)
        own = _key_of(csr_der) == certificate.spki_sha256
        # 2. A new certificate that asks for its own key has proved that it works.
        if certificate.state is CertificateState.ISSUED and own:
            return await self._proved(certificate, shown)
        # 3. Otherwise the certificate is active and not expired.
        refused = await self._may_renew(certificate)
        if refused is not None:
            raise Refused(refused)
        # 4. The customer has begun the renewal at the portal.
        order = await self._renewal_of(certificate)
        if order is None and own and certificate.former is None:
            return await self._progress(await self._order(certificate))
        if order is None:
            raise Refused(_BEGIN_AT_THE_PORTAL)
        # 5. The order has no key yet, so this key is bound; or this is the key that was bound.
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
        # A serial number of ours first; then the fingerprint of one that was imported.
        for name in (serial, Serial(hashlib.sha256(shown.certificate).hexdigest())):
            certificate = await self._context.certificates.get(name)
            if certificate is not None and certificate.der == shown.certificate:
                return certificate
        raise Refused(_NOT_OURS)

    async def _proved(self, certificate: SubscriberCertificate, shown: PresentedCertificate) -> Progress:
        order = await self._order(certificate)
        return await self._progress((await self._rekey.prove_by_use(_caller(order), order.id, shown)).order)

    async def _may_renew(self, certificate: SubscriberCertificate) -> Refusal | None:
        """Return the refusal of a certificate that has ended, is on hold or not proved (incident 18), or None."""
        if certificate.state is CertificateState.ISSUED:
            return _PROVE_FIRST
        if certificate.state is not CertificateState.ACTIVE or self._context.now() > certificate.not_after:
            return _NOT_VALID
        return None

    async def _renewal_of(self, certificate: SubscriberCertificate) -> Order | None:
        """Return the live renewal of this certificate for which a program makes the key, or None."""
        for order in await self._context.orders.live(certificate.customer):
            counts = order.at(self._context.now(), self._context.policy)
            mine = order.operation is Operation.REKEY and order.old_serial == certificate.serial
            if counts.live and mine and order.key_home is KeyHome.HELPER:
                return counts
        return None

    async def _order(self, certificate: SubscriberCertificate) -> Order:
        order = await self._context.orders.get(certificate.order)
        if order is None:
            raise ValueError(f"certificate {certificate.serial} of no order")
        return order

    async def _progress(self, order: Order) -> Progress:
        if order.state in {OrderState.ISSUED, OrderState.ACTIVE} and order.serial is not None:
            certificate = await self._context.certificates.get(order.serial)
            return Progress(order, None if certificate is None else certificate.der)
        if not order.live:
            raise Refused(ended(order))
        return Progress(order, None)


def _caller(order: Order, login: LoginId = PROGRAM) -> Caller:
    """Return a caller for the program: the order's customer, with the factors of the logins that took its steps.

    `login` is the login in which the customer asked for the program's credential.
    """
    return Caller(order.customer, order.login_factors, INTERFACE, login)


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
