"""Renews the OCSP responder's certificate before it expires; the issuing CA certifies the same key again (I28)."""

import hashlib
from datetime import timedelta

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import StreamId, system_stream
from chopmark.core.clock import Clock, Entropy
from chopmark.keys.adapter import as_private_key, made_by
from chopmark.keys.ports import Signer
from chopmark.pki import path
from chopmark.pki.ceremony import SerialAndValidity, ocsp_responder_certificate
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, make_serial
from chopmark.pki.x509 import RDN_OIDS, IssuerView, not_after, serial_hex, serial_of, spki_der
from chopmark.va.ports import StatusRecords
from chopmark.va.responder import RENEWED_BEFORE

LIFE = timedelta(days=365)
BACKDATE = timedelta(minutes=5)


class NotRenewed(Exception):
    """The new certificate is not valid under the issuer's certificate; the old one stays in use."""


class ResponderRenewal:
    """Renews the responder's certificate of one issuing CA.

    `above` are the CA certificates above it, DER, the root last. Serial numbers begin with `node`, as those of all
    certificates do.
    """

    def __init__(
        self,
        issuer: IssuerView,
        above: tuple[bytes, ...],
        signer: Signer,
        node: int,
        records: StatusRecords,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._issuer = issuer
        self._above = above
        self._signer = signer
        self._node = node
        self._records = records
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy

    async def renew_due(self) -> int:
        """Renew the certificate if less than thirty days are left; return 1 if this call renewed it.

        Nothing happens if a new certificate could not be valid longer than the old one. Raises NotRenewed and
        SignerUnavailable.
        """
        # 1. Is a renewal due, and would the new certificate be valid longer?
        now = self._clock.now().replace(microsecond=0)
        old = await self._records.responder_certificate(self._issuer.id)
        if old is None or not_after(old) - now >= RENEWED_BEFORE:
            return 0
        if min(now + LIFE, self._issuer.not_after) <= not_after(old):
            return 0
        # 2. Make the new certificate.
        made = await self.certified(old, spki_der(old))

        async def replace(builder: RecordBuilder) -> bool:
            record = builder.record(Event.VA_RESPONDER_CHANGED, serial=serial_of(made), issuer=self._issuer.id)
            return await self._records.renew_responder(self._issuer.id, old, made, record)

        # 3. Replace the old certificate and write the audit record, in one transaction.
        return int(await self._audit_log.write(self.stream, replace))

    @property
    def stream(self) -> StreamId:
        """The audit stream of this responder."""
        return system_stream(f"responder-{self._issuer.id}")

    async def certified(self, old: bytes, key_der: bytes) -> bytes:
        """Return a new certificate, DER, for a key (SubjectPublicKeyInfo) with the subject of the `old` one.

        The certificate is not stored. Raises NotRenewed and SignerUnavailable.
        """
        # 1. Record the reservation of the serial number in a transaction before anything is signed.
        now = self._clock.now().replace(microsecond=0)
        until = min(now + LIFE, self._issuer.not_after)
        terms = SerialAndValidity(
            make_serial(self._node, self._entropy.token(SERIAL_RANDOM_BYTES)), now - BACKDATE, until
        )
        serial = serial_hex(terms.serial)

        async def intend(builder: RecordBuilder) -> None:
            spki = hashlib.sha256(key_der).hexdigest()
            facts = {"serial": serial, "issuer": self._issuer.id, "profile": "ocsp-responder", "spki_sha256": spki}
            await self._records.note(builder.record(Event.CA_CERTIFICATE_RESERVED, **facts))

        await self._audit_log.write(self.stream, intend)
        # 2. Sign.
        key = as_private_key(self._signer)
        made = await made_by(
            self._signer, lambda: ocsp_responder_certificate(key, self._issuer, key_der, _subject(old), terms)
        )
        # 3. Check that the new certificate is valid up to the root.
        chain_der = (self._issuer.certificate_der, *self._above[:-1])
        if path.chain_findings(made, chain_der, self._above[-1], now):
            raise NotRenewed(self._issuer.id)
        return made


def _subject(certificate_der: bytes) -> list[tuple[str, str]]:
    shorts = {oid: short for short, oid in RDN_OIDS.items()}
    subject = x509.load_der_x509_certificate(certificate_der).subject
    return [(shorts[attribute.oid], str(attribute.value)) for attribute in subject]
