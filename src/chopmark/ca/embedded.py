"""The built-in CA, which signs with a key of our own. Auditors should read `ra.rekey` first and then this module.

A certificate goes through the stages Draft -> Linted -> Reserved -> Issued. Its serial, its bytes and its order are
stored before the key is used (I1). A reservation is signed at most once. When nobody knows whether it was signed, it is
given up and never signed again.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.audit.events import Event
from chopmark.audit.journal import Deed
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.approval import Approvals, ApprovalTerms
from chopmark.ca.journaled import turns
from chopmark.ca.ports import (
    Certified,
    Entry,
    IssuanceRepository,
    IssuanceRequest,
    Journal,
    Pending,
    Reservation,
    Subject,
)
from chopmark.core.clock import Clock, Entropy
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, IssuerId, OrderId, Serial, text
from chopmark.keys import adapter
from chopmark.keys.ports import Signer, SignerUnavailable
from chopmark.pki import draft as drafts
from chopmark.pki import key_checks, signing
from chopmark.pki import linting_certificate as linting_certificates
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, Draft, DraftError, LintingCertificateKey, make_serial
from chopmark.pki.finding import Finding
from chopmark.pki.linting_certificate import Allowed, Issued, Linted, LintingCertificate, Reserved
from chopmark.pki.profile import Profile
from chopmark.pki.publication import Publication
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import IssuerView, serial_hex

if TYPE_CHECKING:
    from chopmark.ca.lint import LintFinding

UNKNOWN_FATE_AFTER = timedelta(seconds=20)
UNWRITTEN_RETRY_S = 30


@dataclass(frozen=True, slots=True)
class Authority:
    """One issuing CA, ready to sign: its certificate, the chain above it (root last), its key, its title."""

    view: IssuerView
    chain: tuple[bytes, ...]
    signer: Signer
    title: str


def serial_text(serial: int) -> Serial:
    """Return a serial number as we write it everywhere: upper-case hexadecimal."""
    return Serial(serial_hex(serial))


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """What this CA issues: profiles by name, the subject values that are the firm's, where status is published.

    `node` is 1 to 126, unique among the nodes that issue under one CA, and prefixes every serial. `earlier` are the
    profiles, and versions of profiles, under which nothing is issued any more. Stored certificates are checked by them.
    """

    profiles: Mapping[str, Profile]
    constants: Mapping[str, str]
    publication: Publication
    node: int
    earlier: tuple[Profile, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateExpectations:
    """What stored certificates of this CA are checked by: profiles, and the linting certificate of a profile and key.

    `terms` say what the audit records of their orders must show; `constants` are the subject values that are the
    firm's.
    """

    issuer: IssuerView
    profiles: Mapping[tuple[str, int], Profile]
    linting_certificate: Callable[[Profile, KeyKind], LintingCertificate | None]
    terms: ApprovalTerms
    constants: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Books:
    """Where this CA writes: certificates and audit records in the database, and the journal outside it."""

    repository: IssuanceRepository
    audit_log: AuditLog
    journal: Journal


class EmbeddedIssuer:
    """Implements `Issuer` with a key of our own."""

    def __init__(
        self,
        authority: Authority,
        issuer_config: IssuerConfig,
        books: Books,
        clock: Clock,
        entropy: Entropy,
        approvals: Approvals,
        earlier: Mapping[IssuerId, tuple[bytes, ...]] | None = None,
    ) -> None:
        """Issue with the key of `authority`.

        `earlier` are the certificate chains of the CAs that issued in this installation before, by CA id.
        """
        self.approvals = approvals
        self.journal = books.journal
        self._authority = authority
        self._chains = {**(earlier or {}), authority.view.id: (authority.view.certificate_der, *authority.chain)}
        self.config = issuer_config
        """Profiles, constants and addresses that this CA issues with."""
        self._profiles = issuer_config.profiles
        self._earlier = issuer_config.earlier
        self._constants = issuer_config.constants
        self._publication = issuer_config.publication
        self._node = issuer_config.node
        self.repository = books.repository
        self._audit_log = books.audit_log
        self._clock = clock
        self._entropy = entropy
        self._linting_certificates: dict[LintingCertificateKey, LintingCertificate] = {}

    @property
    def name(self) -> str:
        """The CA's name as customers read it."""
        return self._authority.title

    @property
    def allows_overlap(self) -> bool:
        """Whether the old certificate may stay valid until the new one is proved; every profile must allow it."""
        return all(profile.overlap for profile in self._profiles.values())

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """The subject values each profile asks for, without those that the CA adds itself."""
        return {name: profile.needs - self._constants.keys() for name, profile in self._profiles.items()}

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        """Return no names: this CA does not read the subject of a request."""
        del profile, values
        return ()

    def warm(self) -> None:
        """Lint the linting certificates for P-256 keys before the first order needs them; safe in a thread."""
        for profile in self._profiles.values():
            key = LintingCertificateKey(profile.name, profile.version, self._authority.view.id, KeyKind.P256)
            made = self._linting_certificate(profile, KeyKind.P256)
            if isinstance(made, LintingCertificate):
                self._linting_certificates.setdefault(key, made)

    def standard(self) -> CertificateExpectations:
        """Return what stored certificates of this CA are checked by when they are read again."""

        def linting_certificate(profile: Profile, kind: KeyKind) -> LintingCertificate | None:
            made = self._linting_certificate(profile, kind)
            return made if isinstance(made, LintingCertificate) else None

        known = (*self._earlier, *self._profiles.values())
        profiles = {(one.name, one.version): one for one in known}
        return CertificateExpectations(
            self._authority.view, profiles, cache(linting_certificate), self.approvals.terms, self._constants
        )

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Return the order's certificate; an order that has one gets the same one again.

        Pending means: ask again later, with `resume`. It is returned while another caller works on the same order,
        while the key or the journal cannot be reached, and when nobody knows whether a signature was made.
        """
        # 1. The order's audit records must show that the customer approved exactly this.
        granted = await self.approvals.granted(issuance)
        return granted if isinstance(granted, Refusal) else await self._issue(granted)

    async def _issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Issue what was granted. `issuance` must come from `Approvals.granted`, which takes it from the records."""
        # 2. An order that has a certificate gets the same one.
        known, attempts, tip = await self.repository.by_order(issuance.order)
        self._audit_log.know(tip)
        if known is not None:
            return self._known(known)
        # 3. Draft the certificate from profile, records and key, and lint it, before the CA's key is touched.
        drafted = self._draft(issuance, self._clock.now())
        if isinstance(drafted, Refusal):
            return drafted
        linted = self._lint(drafted, issuance)
        if not isinstance(linted, Linted):
            await self._near_miss(issuance.order, linted)
            return _UNLINTED
        # 4. Stop here, with nothing written, while the journal or the signing key cannot be reached.
        if self.journal.closed:
            return Pending(UNWRITTEN_RETRY_S)
        try:
            await adapter.ready(self._authority.signer)
        except SignerUnavailable as unavailable:
            return Pending(unavailable.retry_after_s)
        # 5. [tx] Reserve serial and TBS. When two callers work on the same order, the second one reserves nothing and
        #    answers Pending.
        attempt = attempts + 1
        reservation = self._reservation(linted, issuance, attempt)
        if not await self._reserve(reservation):
            return Pending(retry_after_s=1)
        # 6. Write the journal's line, sign once, verify and assemble, write the journal's second line. When any of this
        #    fails, nobody knows whether a signature exists. Then [tx] give the serial up; the next attempt takes a new
        #    one.
        issued = await self._sign(Reserved(linted, issuance.order, attempt), reservation, issuance)
        if isinstance(issued, Pending):
            await self._orphan(reservation, self._clock.now())
            return issued
        # 7. [tx] Record the certificate. Only now does the order have it.
        if not await self._record(reservation, issued.certificate_der):
            return Pending(retry_after_s=1)
        return self._certified(reservation, issued.certificate_der)

    async def _sign(self, reserved: Reserved, reservation: Reservation, issuance: IssuanceRequest) -> Issued | Pending:
        """Write the journal's line, sign once, write its second line; after Pending do not sign it again."""
        try:
            await self.journal.reserved(reservation, issuance)
            issued = reserved.issue(await adapter.sign(self._authority.signer, reservation.tbs))
            await self.journal.issued(reservation, issued.certificate_der)
        except SignerUnavailable as unavailable:
            return Pending(unavailable.retry_after_s)
        except Refused as unwritten:
            return Pending(unwritten.refusal.retry_after_s or UNWRITTEN_RETRY_S)
        return issued

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Finish an order whose attempt may have died: give its reservation up and issue with a new serial.

        Pending while that attempt is younger than `UNKNOWN_FATE_AFTER`, and as for `issue`.
        """
        granted = await self.approvals.granted(issuance)
        if isinstance(granted, Refusal):
            return granted
        known, *_ = await self.repository.by_order(issuance.order)
        now = self._clock.now()
        if known is not None and known.state is CertificateState.RESERVED:
            if now < known.reservation.reserved_at + UNKNOWN_FATE_AFTER:
                return Pending(retry_after_s=5)
            await self._orphan(known.reservation, now)
        return await self._issue(granted)

    def _known(self, entry: Entry) -> Certified | Pending | Refusal:
        if entry.reservation.issuer not in self._chains:
            return Pending(retry_after_s=5)  # from a CA that began to issue after this process was started
        if entry.state in _GIVEN and entry.der is not None:
            return self._certified(entry.reservation, entry.der)
        if entry.state is CertificateState.RESERVED:
            return Pending(retry_after_s=1)
        return Refusal(
            Kind.CONFLICT, text("The certificate of this order was revoked. Please start again."), code="revoked"
        )

    def _draft(self, issuance: IssuanceRequest, now: datetime) -> Draft | Refusal:
        profile = self._profiles[issuance.profile]
        serial = make_serial(self._node, self._entropy.token(SERIAL_RANDOM_BYTES))
        issuer = self._authority.view
        urls = self._publication.urls(issuer.id, drafts.shard(serial, profile.shards))
        whole = now.replace(microsecond=0)
        try:
            return drafts.draft(
                profile, issuer, serial, issuance.spki_der, {**self._constants, **issuance.subject}, whole, urls
            )
        except DraftError as error:
            said = text("The certificate cannot be made from our records. Please call us; a person will help you.")
            return Refusal(Kind.FORBIDDEN, said, code=f"draft.{error.code}")

    def _lint(self, draft: Draft, issuance: IssuanceRequest) -> Linted | tuple["Finding | LintFinding", ...]:
        linting_certificate = self._linting_certificates.get(draft.linting_certificate_key)
        if linting_certificate is None:
            made = self._linting_certificate(self._profiles[issuance.profile], key_checks.kind(issuance.spki_der))
            if not isinstance(made, LintingCertificate):
                return made
            linting_certificate = self._linting_certificates[draft.linting_certificate_key] = made
        return linting_certificates.lint(draft, linting_certificate)

    def _linting_certificate(self, profile: Profile, kind: KeyKind) -> "LintingCertificate | tuple[LintFinding, ...]":
        """Have pkilint judge one certificate of this profile and key kind, signed with a throw-away key."""
        issuer = self._authority.view
        serial = make_serial(self._node, self._entropy.token(SERIAL_RANDOM_BYTES))
        model = drafts.draft(
            profile,
            issuer,
            serial,
            signing.spki(_throw_away(kind).public_key()),
            {**self._constants, **dict.fromkeys(profile.needs - self._constants.keys(), "EXEMPLAR")},
            self._clock.now().replace(microsecond=0),
            self._publication.urls(issuer.id, drafts.shard(serial, profile.shards)),
        )
        crl_urls = frozenset(self._publication.crl(issuer.id, shard) for shard in range(profile.shards))
        allowed = Allowed(crl_urls, profile.validity, issuer.not_before, issuer.not_after)
        from chopmark.ca.lint import Linter  # noqa: PLC0415 - pkilint is heavy, and few calls need it

        return Linter().linting_certificate(model, _throw_away(issuer.key), allowed)

    def _reservation(self, linted: Linted, issuance: IssuanceRequest, attempt: int) -> Reservation:
        draft, profile = linted.draft, self._profiles[issuance.profile]
        return Reservation(
            serial=serial_text(draft.serial),
            issuer=draft.issuer.id,
            order=issuance.order,
            attempt=attempt,
            profile=profile.name,
            profile_version=profile.version,
            spki_sha256=draft.spki_sha256,
            tbs=draft.tbs_der,
            shard=drafts.shard(draft.serial, profile.shards),
            not_before=draft.not_before,
            not_after=draft.not_after,
            reserved_at=self._clock.now(),
        )

    async def _reserve(self, reservation: Reservation) -> bool:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_RESERVED, **reservation.facts)
            return await self.repository.reserve(reservation, record)

        return await self._audit_log.write(order_stream(reservation.order), attempt)

    async def _record(self, reservation: Reservation, der: bytes) -> bool:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_ISSUED, serial=reservation.serial, issuer=reservation.issuer)
            return await self.repository.record(reservation.serial, der, self._clock.now(), record)

        return await self._audit_log.write(order_stream(reservation.order), attempt)

    async def _orphan(self, reservation: Reservation, now: datetime) -> None:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_ORPHANED, serial=reservation.serial, issuer=reservation.issuer)
            return await self.repository.orphan(reservation.serial, now, record)

        await self._audit_log.write(order_stream(reservation.order), attempt)

    async def _near_miss(self, order: OrderId, findings: tuple["Finding | LintFinding", ...]) -> None:
        async def attempt(builder: RecordBuilder) -> None:
            code = ",".join(finding.code for finding in findings)
            await self.repository.note(builder.record(Event.CA_CERTIFICATE_REFUSED, code=code))

        await self._audit_log.write(order_stream(order), attempt)

    def _certified(self, reservation: Reservation, der: bytes) -> Certified:
        chain = self._chains[reservation.issuer]
        return Certified(
            reservation.serial, der, chain, reservation.spki_sha256, reservation.not_before, reservation.not_after
        )

    async def revoke(self, serial: Serial, reason: str) -> None:
        """Revoke a certificate; a second call changes nothing, so the first reason stands (I25)."""

        async def attempt(builder: RecordBuilder, now: datetime) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_REVOKED, serial=serial, reason=reason)
            return await self.repository.revoke(serial, reason, now, record)

        await self._turn(serial, Deed.REVOKED, attempt, reason)

    async def hold(self, serial: Serial) -> None:
        """Put a good certificate on hold; one that is on hold or revoked stays as it is."""

        async def attempt(builder: RecordBuilder, now: datetime) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_HELD, serial=serial, reason="certificate_hold")
            return await self.repository.hold(serial, now, record)

        await self._turn(serial, Deed.HELD, attempt, "certificate_hold")

    async def release(self, serial: Serial) -> None:
        """Make a certificate that is on hold good again; one in any other state stays as it is (I25)."""

        async def attempt(builder: RecordBuilder, now: datetime) -> bool:
            record = builder.record(Event.CA_CERTIFICATE_RELEASED, serial=serial)
            return await self.repository.release(serial, now, record)

        await self._turn(serial, Deed.RELEASED, attempt)

    async def _turn(
        self,
        serial: Serial,
        deed: Deed,
        attempt: Callable[[RecordBuilder, datetime], Awaitable[bool]],
        reason: str | None = None,
    ) -> None:
        """Write a status change to the journal, then to the database; do nothing when it would change nothing."""
        entry = await self.repository.by_serial(serial)
        if entry is None or not turns(deed, entry):
            return
        now = self._clock.now()
        await self.journal.turned(deed, entry.reservation, now, reason)
        chain = order_stream(entry.reservation.order)
        await self._audit_log.write(chain, lambda builder: attempt(builder, now))


_GIVEN = frozenset({CertificateState.ISSUED, CertificateState.HELD})
"""An order that asks again gets its certificate in these states, so also while the certificate is on hold."""


@cache
def _throw_away(kind: KeyKind) -> IssuerKey:
    """Return this process's throw-away key of this kind, for linting only; kept, because RSA takes seconds to make."""
    if kind.is_ec:
        return ec.generate_private_key(ec.SECP256R1() if kind is KeyKind.P256 else ec.SECP384R1())
    return rsa.generate_private_key(65537, int(kind.value.removeprefix("RSA")))


_UNLINTED = Refusal(
    Kind.FORBIDDEN,
    text("The certificate did not pass our own checks and was not made. Please call us."),
    code="lint",
)
