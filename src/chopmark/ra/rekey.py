"""From a key to a working certificate: the page that an auditor reads first.

The verbs are the steps of one order, in their only order: bind_key, challenge, answer, birth_date, confirm, prove.
Each returns the order's snapshot as it stands afterwards.
An application takes the same road as a renewal without the old key. Identity comes from our records, the key from the
CSR, and nothing else from the CSR.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.ports import Issuer, Subject
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import (
    ActingLogin,
    CertificateState,
    Channel,
    Installed,
    KeyEvidence,
    Operation,
    OrderId,
    OrderState,
    text,
)
from chopmark.pki import csr, est, proof
from chopmark.ra.consent import Consent, consent_for
from chopmark.ra.context import NOT_YOURS, Caller, RaContext, contact_facts, facts_of
from chopmark.ra.issuing import Issuing
from chopmark.ra.model import BEFORE_SUBMISSION, HAS_A_KEY, Order, Step
from chopmark.ra.policy import advise, may_start
from chopmark.ra.ports import Bound, SubscriberCertificate
from chopmark.ra.refusals import refused_as
from chopmark.ra.replace import CALL_US, may_carry, without_old_key
from chopmark.ra.slips import slip_refused, unless_void
from chopmark.ra.snapshots import OrderSnapshot, present_of
from chopmark.ra.stopping import announced
from chopmark.stepup.ports import FailureLimits, Failures, Sequel
from chopmark.stepup.verifier import HELD, CodeFor, CodeRules, Verifier
from chopmark.tw.account import last3

FOREVER = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """The certificate, DER, whose key a program has used to open its TLS connection: the old key's proof (TW-16)."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class OneTime:
    """The SHA-256 of the credential with which a program sends a key; binding uses it up."""

    token_hash: bytes


class Rekey:
    """The steps of an order for a certificate."""

    def __init__(self, context: RaContext, verifier: Verifier, failures: Failures, issuer: Issuer) -> None:
        self._context = context
        self._verifier = verifier
        self._failures = failures
        self._issuer = issuer
        self._issuing = Issuing(context, issuer)

    @property
    def rules(self) -> CodeRules:
        """The policy's numbers for codes."""
        p = self._context.policy
        failures = FailureLimits(p.failures_per_day, timedelta(days=1), p.failures_ever)
        return CodeRules(
            p.code_digits,
            p.code_life,
            p.code_attempts,
            p.resend_after,
            p.sends_per_order,
            p.sends_per_hour,
            p.sends_per_day,
            p.order_life,
            failures,
        )

    @refused_as(Event.RA_KEY_REFUSED)
    async def bind_key(
        self, caller: Caller, order_id: OrderId, csr_der: bytes, evidence: bytes | PresentedCertificate | OneTime | None
    ) -> OrderSnapshot:
        """Bind the order to the customer's new key.

        1 the request proves possession of a fit key  2 a renewal is signed by the old key: this order, this nonce,
        this new key; or the old key opened the TLS connection that carries the request  3 policy allows it still
        4 [tx] order, leaf. A new key on an open order voids its code.
        """
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION:
            raise Refused(order.elsewhere())
        acting = context.acting(caller, order)
        request = csr.parse(csr_der)
        if isinstance(request, Refusal):
            raise Refused(request)
        if order.spki_sha256 == request.spki_sha256 and not isinstance(evidence, OneTime):
            return snapshot
        if not order.key_is_mine:
            raise Refused(HAS_A_KEY)
        old, nonce = self._old_key(snapshot, request.spki_sha256, csr_der, evidence)
        present = present_of(snapshot.holdings, context.policy.profile)
        refused = may_start(order.operation, order.reason, advise(context.policy, facts_of(present), context.now()))
        if refused is not None:
            raise Refused(refused)
        signature = evidence if isinstance(evidence, bytes) else None
        credential = evidence.token_hash if isinstance(evidence, OneTime) else None
        kind, now = _evidence_of(order, evidence), context.now()
        bound = Bound(request.spki_sha256, csr_der, signature, order.old_serial, kind, acting, credential)
        told = (
            ()
            if (snapshot.last_login or order.login) == acting.id
            else context.notice_to(
                order.customer,
                context.people.masked(snapshot.contacts),
                "key_bound",
                None,
                account_last3=last3(order.account),
            )
        )

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            record = builder.record(
                Event.RA_KEY_BOUND,
                spki_sha256=request.spki_sha256,
                key_algorithm=request.key.value,
                old_serial=None if old is None else old.serial,
                evidence=kind,
                login=acting.id,
                factor="+".join(sorted(acting.union)),
                door=caller.interface,
            )
            return await context.orders.bind(order, bound, nonce, now, told, record)

        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        changed = order.bound(request.spki_sha256, csr_der, now, acting.id, kind, used_nonce=nonce is not None)
        return snapshot.bound(changed.touched(acting).within(acting.id))

    def _old_key(
        self,
        snapshot: OrderSnapshot,
        spki_sha256: str,
        csr_der: bytes,
        evidence: bytes | PresentedCertificate | OneTime | None,
    ) -> tuple[SubscriberCertificate | None, bytes | None]:
        """Return the certificate whose key stands for a renewal (TW-16), and the nonce that its signature used up.

        No certificate when the order needs no old key; no nonce where TLS was the proof.
        """
        order = snapshot.order
        if order.operation is not Operation.REKEY:
            return None, None
        old = snapshot.holding(order.old_serial)
        if old is None or old.state is not CertificateState.ACTIVE or order.nonce is None:
            raise Refused(
                Refusal(
                    Kind.FORBIDDEN,
                    text("The old certificate is not valid any more. Please apply for a new one."),
                    code="old",
                )
            )
        if isinstance(evidence, PresentedCertificate):
            if evidence.certificate != old.der:
                raise Refused(_OTHER_CERTIFICATE)
            if not est.names_the_same(csr_der, old.der):
                raise Refused(_OTHER_NAMES)
            return old, None
        if not isinstance(evidence, bytes):
            raise Refused(
                Refusal(
                    Kind.BAD_PROOF,
                    text("A renewal is signed with the old certificate. Please open it on this computer."),
                    field="proof",
                    code="proof_missing",
                )
            )
        self._verify(order, evidence, old.der, spki_sha256, "rekey")
        return old, order.nonce

    def _verify(self, order: Order, proof_der: bytes, certificate: bytes, spki_sha256: str, purpose: str) -> None:
        now = self._context.now()
        if order.nonce is None or order.nonce_expires_at is None or now >= order.nonce_expires_at:
            raise Refused(
                Refusal(
                    Kind.BAD_PROOF,
                    text("This step took too long. Please press the button again."),
                    field="proof",
                    code="nonce",
                )
            )
        expected = proof.Expected(
            portal=self._context.portal,
            order=order.id,
            nonce=order.nonce,
            new_spki_sha256=bytes.fromhex(spki_sha256),
            certificate_sha256=hashlib.sha256(certificate).digest(),
            purpose=purpose,
            now=now,
        )
        verified = proof.verify(proof_der, certificate, expected)
        if isinstance(verified, Refusal):
            raise Refused(verified)

    async def challenge(self, caller: Caller, order_id: OrderId, channel: Channel) -> OrderSnapshot:
        """Have a code sent over a channel the login did not use; an earlier code of the order is dead."""
        context = self._context
        snapshot = await context.at_step(caller, order_id, Step.CHANNEL)
        order, contacts = snapshot.order, context.people.masked(snapshot.contacts)
        facts, acting = contact_facts(contacts), context.acting(caller, order)
        why_not = may_carry(context.policy, order.touched(acting), facts.get(channel), channel, context.now())
        if why_not is not None:
            raise Refused(Refusal(Kind.FORBIDDEN, why_not, field="channel", code="channel"))
        spki = order.spki_sha256
        if order.operation is Operation.REVOKE and order.old_serial is not None:
            target = snapshot.holding(order.old_serial)
            spki = None if target is None else target.spki_sha256
        what = CodeFor(
            order=order.id,
            customer=order.customer,
            operation=order.operation,
            spki_sha256=spki or "",
            channel=channel,
            contact_version=contacts[channel].version,
            destination_hash=contacts[channel].destination_hash,
            account_last3=last3(order.account),
            language=caller.language,
            acting=acting,
        )
        return snapshot.now_as(order.touched(acting)).with_code(await self._verifier.open(what, self.rules))

    async def answer(self, caller: Caller, order_id: OrderId, code: str) -> OrderSnapshot:
        """Accept the right code; a wrong one costs an attempt even though the request fails."""
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if order.state is not OrderState.CODE_VERIFIED:
            refused = order.require(Step.CHANNEL)
            if refused is not None:
                raise Refused(refused)
        acting = context.acting(caller, order)
        if snapshot.sent is not None and snapshot.sent.channel.factor in acting.union:
            raise Refused(_SAME_FACTOR)
        told = context.notice_to(order.customer, context.people.masked(snapshot.contacts), "hold", None)
        lost = context.hold_old(order)
        sequel = Sequel() if snapshot.sent is None else announced(context, snapshot, acting, snapshot.sent.channel)
        since = context.now() - context.policy.approval_life
        sequel = replace(sequel, works=(*sequel.works, *lost), first_since=since, order_life=context.policy.order_life)
        answered = await self._verifier.answer(snapshot.sent, code, acting, self.rules, told, sequel)
        if lost or order.delay:
            return await context.reread(caller, order_id)
        return snapshot.coded(order.touched(acting).coded(answered.channel, acting.id, context.now()), answered)

    async def birth_date(self, caller: Caller, order_id: OrderId, claimed: date) -> OrderSnapshot:
        """Accept the right birth date; mismatches count per customer, charged before comparing."""
        context, now = self._context, self._context.now()
        snapshot = await context.at_step(caller, order_id, Step.BIRTH_DATE)
        order = snapshot.order
        context.require_password(caller)
        limits = FailureLimits(context.policy.birth_date_mismatches, FOREVER, context.policy.failures_ever)
        told = context.notice_to(order.customer, context.people.masked(snapshot.contacts), "hold", order.code_channel)

        async def charge(builder: RecordBuilder) -> Refusal | None:
            record = builder.otherwise(Event.RA_ORDER_HELD, factor="birth_date")
            return await self._failures.charge(order.customer, "birth_date", limits, now, told, record)

        refused = await context.audit_log.write(order_stream(order.id), charge)
        if refused is not None:
            raise Refused(refused)
        if not context.people.birth_date_matches(snapshot.customer, claimed):

            async def wrong(builder: RecordBuilder) -> bool:
                record = builder.record(Event.RA_BIRTH_DATE_WRONG)
                return await self._failures.wrong(order.customer, "birth_date", limits, now, told, record)

            held = await context.audit_log.write(order_stream(order.id), wrong)
            raise Refused(HELD if held else _WRONG_BIRTH_DATE)
        since = now - context.policy.approval_life

        async def check(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_BIRTH_DATE_RIGHT, login=caller.login)
            return await context.orders.check(order.id, caller.login, now, since, record)

        if not await context.audit_log.write(order_stream(order.id), check):
            raise Refused(_MOVED_ON)
        return snapshot.now_as(order.checked(now))

    def consent(self, order: Order) -> Consent:
        """Return the terms that the confirmation of this order names."""
        return consent_for(order, self._issuer.name, overlap=self.overlap)

    @property
    def overlap(self) -> bool:
        """Whether the CA lets the old certificate stay valid until the new one is proved."""
        return self._issuer.allows_overlap

    async def confirm(self, caller: Caller, order_id: OrderId, consent: str) -> OrderSnapshot:
        """Have the order issued; it may be pending at its CA afterwards.

        1 the order is approved, and these are its terms  2 policy again  3 [tx] submitted  4 the CA reads its records
        and issues  5 [tx] fulfilled (3 to 5: `ra.issuing`). A repeat, and whoever comes second, gets the order as it
        stands (I2, I42).
        """
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if order.operation is Operation.REVOKE:
            raise Refused(order.elsewhere())
        if order.state in {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED, OrderState.ACTIVE}:
            return snapshot
        refused = order.require(Step.REVIEW)
        if refused is not None:
            raise Refused(refused)
        if consent != self.consent(order).sha256:
            raise Refused(_OTHER_TERMS)
        # The firm may have moved the account since the order was opened.
        if all(row.number != order.account for row in snapshot.accounts):
            raise Refused(NOT_YOURS)
        present = present_of(snapshot.holdings, context.policy.profile)
        advice = advise(context.policy, facts_of(present), context.now())
        refused = may_start(order.operation, order.reason, advice)
        if refused is not None:
            raise Refused(refused)
        keyless = without_old_key(order.operation, had_one=present is not None)
        if context.policy.replace_by_both and keyless and not (order.both_codes or order.delay or order.wants_slip):
            raise Refused(CALL_US)
        acting = context.acting(caller, order)
        refused = self._same_factor(snapshot, acting)
        if refused is not None:
            raise Refused(refused)
        submitted = await self._issuing.submit(snapshot, consent, acting)
        if submitted is not None:
            issued = await self._issuing.certify(submitted)
            if issued is not None:
                return submitted.issued(submitted.order.issued(issued.serial, issued.issued_at), issued)
        return unless_void(await context.reread(caller, order_id))

    def _same_factor(self, snapshot: OrderSnapshot, acting: ActingLogin) -> Refusal | None:
        """Refuse an approval by what the order's logins have used already; and a slip where a code can be sent."""
        if snapshot.order.wants_slip:
            return slip_refused(self._context, snapshot, acting)
        used = snapshot.order.code_channels
        return _SAME_FACTOR if not used or any(one.factor in acting.union for one in used) else None

    async def resume(self, order_id: OrderId) -> bool:
        """Ask the CA again for a submitted order, after a crash or while it is pending; False while it is pending."""
        return await self._issuing.resume(order_id)

    def csr_subject(self, snapshot: OrderSnapshot) -> Subject:
        """Return the names that the request for this order's key has to carry; none where the CA reads none there."""
        order = snapshot.order
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION:
            return ()
        return self._issuer.csr_subject(order.profile, self._issuing.named(order, snapshot.customer))

    async def prove(
        self, caller: Caller, order_id: OrderId, proof_der: bytes, installed: Installed = Installed.OPENED
    ) -> OrderSnapshot:
        """Make the certificate active: the new key has signed the server's challenge, the old one is superseded.

        1 the signature holds  2 journal: proved  3 [tx] activate, notice, work row for the old certificate's
        revocation (make before break: nothing of the old one changes before this). Where the customer only says that
        the file has arrived, the old certificate is revoked after the policy's days.
        """
        return await self._prove(caller, order_id, proof_der, installed)

    async def prove_by_use(self, caller: Caller, order_id: OrderId, shown: PresentedCertificate) -> OrderSnapshot:
        """Make it active because a program opened its TLS connection with the new certificate; else as `prove`."""
        return await self._prove(caller, order_id, shown)

    @refused_as(Event.RA_PROOF_REFUSED)
    async def _prove(
        self,
        caller: Caller,
        order_id: OrderId,
        evidence: bytes | PresentedCertificate,
        installed: Installed = Installed.OPENED,
    ) -> OrderSnapshot:
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        context.require_password(caller)
        if order.state is OrderState.ACTIVE:
            return snapshot
        refused = order.require(Step.INSTALL)
        if refused is not None:
            raise Refused(refused)
        holding = snapshot.holding(order.serial)
        if holding is None:
            raise ValueError(f"order {order.id} is issued without a certificate")
        if isinstance(evidence, PresentedCertificate):
            if evidence.certificate != holding.der:
                raise Refused(_OTHER_CERTIFICATE)
        else:
            self._verify(order, evidence, holding.der, holding.spki_sha256, "install")
        nonce = None if isinstance(evidence, PresentedCertificate) else order.nonce
        return await self._activate(caller, snapshot, holding, nonce, installed)

    async def _activate(
        self,
        caller: Caller,
        snapshot: OrderSnapshot,
        holding: SubscriberCertificate,
        nonce: bytes | None,
        installed: Installed,
    ) -> OrderSnapshot:
        context, order, now = self._context, snapshot.order, self._context.now()
        works = context.notice_to(
            order.customer,
            context.people.masked(snapshot.contacts),
            "activated",
            order.code_channel,
            operation=order.operation,
            account_last3=last3(order.account),
        )
        old = present_of(snapshot.holdings, context.policy.profile)
        if old is not None and old.state in {CertificateState.ACTIVE, CertificateState.HELD}:
            after = context.policy.kept_when_said if installed is Installed.SAID else timedelta(0)
            works += (context.revoke_work(old.serial, "superseded", order.customer, order.id, after),)

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            superseded = None if old is None else old.serial
            record = builder.record(
                Event.RA_CERTIFICATE_ACTIVATED,
                serial=holding.serial,
                old_serial=superseded,
                installed=installed,
                door=caller.interface,
            )
            return await context.orders.activate(order, nonce, installed, now, works, record)

        await context.proved(holding)
        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        return snapshot.activated(replace(order.active(now), installed=installed), now)


def _evidence_of(order: Order, evidence: bytes | PresentedCertificate | OneTime | None) -> KeyEvidence:
    if isinstance(evidence, OneTime):
        return KeyEvidence.CREDENTIAL
    if order.operation is not Operation.REKEY:
        return KeyEvidence.LOGIN
    return KeyEvidence.TLS if isinstance(evidence, PresentedCertificate) else KeyEvidence.OLD_KEY


_SAME_FACTOR = Refusal(
    Kind.FORBIDDEN,
    text("You signed in with this already; the code has to come another way."),
    field="channel",
    code="channel",
)
_WRONG_BIRTH_DATE = Refusal(
    Kind.WRONG_BIRTH_DATE,
    text("This is not the birth date that we have on record. Please check year, month and day."),
    field="year",
    code="birth_date",
)
_OTHER_TERMS = Refusal(
    Kind.CONFLICT,
    text("The terms of this order have changed. Please read them again and confirm."),
    field="consent",
    code="terms",
)
_OTHER_CERTIFICATE = Refusal(
    Kind.BAD_PROOF,
    text("This order is for another certificate than the one that your program has shown."),
    field="proof",
    code="other_certificate",
)
_OTHER_NAMES = Refusal(
    Kind.BAD_KEY,
    text("The request names another holder than the certificate. Please take the subject over as it is."),
    field="csr",
    code="names",
)
_MOVED_ON = Refusal(Kind.STEP_REQUIRED, text("This step took too long. Please have a new code sent."), code="channel")
