"""From a key to a working certificate: the page that an auditor reads first.

The verbs are the steps of one order, in their only order: bind_key, challenge, answer, birth_date, confirm, prove.
Each returns the order's snapshot as it stands afterwards.
An application takes the same road as a renewal without the old key. Identity comes from our records, the key from the
CSR, and nothing else from the CSR.
"""

from dataclasses import replace
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
    Operation,
    OrderId,
    OrderState,
    text,
)
from chopmark.limits.blocks import block_of
from chopmark.pki import csr
from chopmark.ra.arrival import arrived
from chopmark.ra.consent import Consent, Old, consent_for
from chopmark.ra.context import NOT_YOURS, Caller, RaContext, facts_of
from chopmark.ra.former_renewal import require_good_there
from chopmark.ra.issuing import Issuing
from chopmark.ra.key_proof import (
    OTHER_CERTIFICATE,
    OneTime,
    PresentedCertificate,
    evidence_of,
    old_key,
    require_signature,
)
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
from chopmark.tw.mobile import TAIWAN

FOREVER = timedelta(days=36500)


class Rekey:
    """The steps of an order for a certificate."""

    def __init__(self, context: RaContext, verifier: Verifier, failures: Failures, issuer: Issuer) -> None:
        self._context = context
        self._verifier = verifier
        self._failures = failures
        self._issuer = issuer
        self.issuing = Issuing(context, issuer)

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
            p.codes_per_block,
            p.codes_abroad,
        )

    @refused_as(Event.RA_KEY_REFUSED)
    async def bind_key(
        self, caller: Caller, order_id: OrderId, csr_der: bytes, evidence: bytes | PresentedCertificate | OneTime | None
    ) -> OrderSnapshot:
        """Bind the order to the customer's new key. A new key on an open order voids its code.

        `csr_der` is a PKCS #10 request; `evidence` is the old key's signature (CMS, DER) or what a program showed.
        """
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION:
            raise Refused(order.elsewhere())
        acting = context.acting(caller, order)
        # 1. The request proves possession of its key, and the key is fit for a certificate.
        request = csr.parse(csr_der)
        if isinstance(request, Refusal):
            raise Refused(request)
        if order.spki_sha256 == request.spki_sha256 and not isinstance(evidence, OneTime):
            return snapshot
        if not order.key_is_mine:
            raise Refused(HAS_A_KEY)
        # 2. In a renewal the old key has signed order, nonce and new key, or has opened the TLS connection. A
        #    certificate of a former issuer is also verified under its issuer's, which is asked for its status.
        old, nonce = old_key(context, snapshot, request.spki_sha256, csr_der, evidence)
        await require_good_there(context, snapshot, old)
        # 3. The policy still allows the operation: a day may have passed since the order was opened.
        present = present_of(snapshot.certificates, context.policy.profile, context.now())
        refused = may_start(order.operation, order.reason, advise(context.policy, facts_of(present), context.now()))
        if refused is not None:
            raise Refused(refused)
        signature = evidence if isinstance(evidence, bytes) else None
        credential = evidence.token_hash if isinstance(evidence, OneTime) else None
        kind, now = evidence_of(order, evidence), context.now()
        bound = Bound(request.spki_sha256, csr_der, signature, order.old_serial, kind, acting, credential)
        # 4. [tx] The order with its key, the record, and a notice where another login of the customer came later.
        told = (
            ()
            if (snapshot.last_login or order.login) == acting.id
            else context.notice_to(
                order.customer,
                snapshot.contacts,
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

    async def challenge(self, caller: Caller, order_id: OrderId, channel: Channel, address: str = "") -> OrderSnapshot:
        """Have a code sent over a channel the login did not use; an earlier code of the order is dead.

        `address` is where the request comes from; without one no block of addresses is charged.
        """
        context = self._context
        snapshot = await context.at_step(caller, order_id, Step.CHANNEL)
        order, contacts = snapshot.order, context.people.masked(snapshot.contacts)
        facts, acting = context.contact_facts(snapshot.contacts), context.acting(caller, order)
        why_not = may_carry(context.policy, order.touched(acting), facts.get(channel), channel, context.now())
        if why_not is not None:
            raise Refused(Refusal(Kind.FORBIDDEN, why_not, field="channel", code="channel"))
        spki = order.spki_sha256
        if order.operation is Operation.REVOKE and order.old_serial is not None:
            target = snapshot.certificate(order.old_serial)
            spki = None if target is None else target.spki_sha256
        country = next(context.people.country(row) for row in snapshot.contacts if row.channel is channel)
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
            block=block_of(address),
            country="" if country == TAIWAN else country,
        )
        return snapshot.now_as(order.touched(acting)).with_code(await self._verifier.open(what, self.rules))

    async def answer(self, caller: Caller, order_id: OrderId, code: str) -> OrderSnapshot:
        """Accept the right code. Each answer is charged before it is compared (`stepup.verifier`)."""
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
        # 1. Prepare what goes with either outcome: the notice of a lock, and with the right code the end of a lost
        #    certificate or the announcement of a replacement.
        told = context.notice_to(order.customer, snapshot.contacts, "hold", None)
        lost = context.hold_old(order)
        sequel = Sequel() if snapshot.sent is None else announced(context, snapshot, acting, snapshot.sent.channel)
        since = context.now() - context.policy.approval_life
        sequel = replace(sequel, works=(*sequel.works, *lost), first_since=since, order_life=context.policy.order_life)
        # 2. [tx] charge · compare · [tx] right or wrong. Refused is raised for a wrong one.
        answered = await self._verifier.answer(snapshot.sent, code, acting, self.rules, told, sequel)
        if lost or order.delay:
            return await context.reread(caller, order_id)
        return snapshot.coded(order.touched(acting).coded(answered.channel, acting.id, context.now()), answered)

    async def birth_date(self, caller: Caller, order_id: OrderId, claimed: date) -> OrderSnapshot:
        """Accept the right birth date. Wrong ones count for the customer over all orders."""
        context, now = self._context, self._context.now()
        snapshot = await context.at_step(caller, order_id, Step.BIRTH_DATE)
        order = snapshot.order
        context.require_password(caller)
        limits = FailureLimits(context.policy.birth_date_mismatches, FOREVER, context.policy.failures_ever)
        told = context.notice_to(order.customer, snapshot.contacts, "hold", order.code_channel)

        # 1. [tx] Charge a failure before anything is compared, so that no crash and no race gives a free guess.
        async def charge(builder: RecordBuilder) -> Refusal | None:
            record = builder.otherwise(Event.RA_ORDER_HELD, factor="birth_date")
            return await self._failures.charge(order.customer, "birth_date", limits, now, told, record)

        refused = await context.audit_log.write(order_stream(order.id), charge)
        if refused is not None:
            raise Refused(refused)
        # 2. Compare. [tx] A wrong one stays charged, and the last allowed one locks the customer.
        if not context.people.birth_date_matches(snapshot.customer, claimed):

            async def wrong(builder: RecordBuilder) -> bool:
                record = builder.record(Event.RA_BIRTH_DATE_WRONG)
                return await self._failures.wrong(order.customer, "birth_date", limits, now, told, record)

            held = await context.audit_log.write(order_stream(order.id), wrong)
            raise Refused(HELD if held else _WRONG_BIRTH_DATE)
        # 3. [tx] A right one gives the charge back, where the code is still fresh and of the same login.
        since = now - context.policy.approval_life

        async def check(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_BIRTH_DATE_RIGHT, login=caller.login)
            return await context.orders.check(order.id, caller.login, now, since, record)

        if not await context.audit_log.write(order_stream(order.id), check):
            raise Refused(_MOVED_ON)
        return snapshot.now_as(order.checked(now))

    def consent(self, order: Order, old: SubscriberCertificate | None = None) -> Consent:
        """Return the terms that the confirmation of this order names; `old` is the certificate that it replaces."""
        if old is None or old.former is None:
            return consent_for(order, self._issuer.name, Old(self.overlap))
        issuer = self._context.former.by_id.get(old.former.issuer)
        named = (old.former.issuer, False) if issuer is None else (issuer.name_zh, issuer.by_client)
        return consent_for(order, self._issuer.name, Old(True, *named))

    @property
    def overlap(self) -> bool:
        """Whether the CA lets the old certificate stay valid until the new one is proved."""
        return self._issuer.allows_overlap

    async def confirm(self, caller: Caller, order_id: OrderId, consent: str) -> OrderSnapshot:
        """Have the order issued; it may be pending at its CA afterwards.

        `consent` is the SHA-256 of the terms that the customer read, hexadecimal. A repeat, and whoever comes second,
        gets the order as it stands (I2, I42).
        """
        context = self._context
        snapshot = await context.snapshot(caller, order_id)
        order = snapshot.order
        if order.operation is Operation.REVOKE:
            raise Refused(order.elsewhere())
        if order.state in {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED, OrderState.ACTIVE}:
            return snapshot
        # 1. The order is approved, and these are its terms.
        refused = order.require(Step.REVIEW)
        if refused is not None:
            raise Refused(refused)
        if consent != self.consent(order, snapshot.certificate(order.old_serial)).sha256:
            raise Refused(_OTHER_TERMS)
        # 2. The policy again: account, certificate and login factors may have changed since the order was opened.
        if all(row.number != order.account for row in snapshot.accounts):
            raise Refused(NOT_YOURS)
        present = present_of(snapshot.certificates, context.policy.profile, context.now())
        advice = advise(context.policy, facts_of(present), context.now())
        refused = may_start(order.operation, order.reason, advice)
        if refused is not None:
            raise Refused(refused)
        if order.operation is Operation.REKEY:
            await require_good_there(context, snapshot, snapshot.certificate(order.old_serial))
        keyless = without_old_key(order.operation, had_one=present is not None)
        if context.policy.replace_by_both and keyless and not (order.both_codes or order.delay or order.wants_slip):
            raise Refused(CALL_US)
        acting = context.acting(caller, order)
        refused = self._same_factor(snapshot, acting)
        if refused is not None:
            raise Refused(refused)
        # 3. [tx] submitted · the CA reads the order's records and issues · [tx] fulfilled (`ra.issuing`).
        sent = await self.issuing.submit(snapshot, consent, acting)
        if sent is not None:
            submitted, records = sent
            issued = await self.issuing.certify(submitted, records)
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
        return await self.issuing.resume(order_id)

    def csr_subject(self, snapshot: OrderSnapshot) -> Subject:
        """Return the names that the request for this order's key has to carry; none where the CA reads none there."""
        order = snapshot.order
        if order.operation is Operation.REVOKE or order.state not in BEFORE_SUBMISSION:
            return ()
        return self._issuer.csr_subject(order.profile, self.issuing.named(order, snapshot.customer))

    async def prove(
        self, caller: Caller, order_id: OrderId, proof_der: bytes, installed: Installed = Installed.OPENED
    ) -> OrderSnapshot:
        """Make the certificate active: the new key has signed the server's challenge. The old one is superseded.

        Nothing of the old certificate changes before this (make before break). Where the customer only says that the
        file has arrived, the old certificate is revoked after the policy's days, and at once when the same order is
        proved after all (`ra.arrival`).
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
        later = order.only_said and installed is Installed.OPENED
        if order.state is OrderState.ACTIVE and not later:
            return snapshot
        refused = None if later else order.require(Step.INSTALL)
        if refused is not None:
            raise Refused(refused)
        # 1. The new key has signed this order and its nonce, or has opened the TLS connection.
        certificate = snapshot.certificate(order.serial)
        if certificate is None:
            raise ValueError(f"order {order.id} is issued without a certificate")
        if isinstance(evidence, PresentedCertificate):
            if evidence.certificate != certificate.der:
                raise Refused(OTHER_CERTIFICATE)
        else:
            require_signature(context, order, evidence, certificate.der, certificate.spki_sha256, "install")
        nonce = None if isinstance(evidence, PresentedCertificate) else order.nonce
        if later:
            return await arrived(context, caller, snapshot, nonce)
        return await self._activate(caller, snapshot, certificate, nonce, installed)

    async def _activate(
        self,
        caller: Caller,
        snapshot: OrderSnapshot,
        certificate: SubscriberCertificate,
        nonce: bytes | None,
        installed: Installed,
    ) -> OrderSnapshot:
        context, order, now = self._context, snapshot.order, self._context.now()
        works = context.notice_to(
            order.customer,
            snapshot.contacts,
            "activated",
            order.code_channel,
            operation=order.operation,
            account_last3=last3(order.account),
        )
        old = present_of(snapshot.certificates, context.policy.profile, now)
        kept = context.policy.kept_when_said if installed is Installed.SAID else timedelta(0)
        if old is not None and old.state in {CertificateState.ACTIVE, CertificateState.HELD}:
            works += context.revoke_old(old, "superseded", order.customer, order.id, kept)

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            superseded = None if old is None else old.serial
            record = builder.record(
                Event.RA_CERTIFICATE_ACTIVATED,
                serial=certificate.serial,
                old_serial=superseded,
                installed=installed,
                door=caller.interface,
            )
            return await context.orders.activate(order, nonce, installed, now, works, record, kept)

        # 2. Write the journal's line outside the database, so that a restore remembers the proof.
        await context.proved(certificate)
        # 3. [tx] Activate, supersede, queue the notice and the old certificate's revocation.
        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        return snapshot.activated(replace(order.active(now), installed=installed), now)


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
_MOVED_ON = Refusal(Kind.STEP_REQUIRED, text("This step took too long. Please have a new code sent."), code="channel")
