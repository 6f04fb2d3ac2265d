"""Sets up the time-stamp authority with a key of its own, and renews its certificate before it expires."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import StreamId, system_stream
from chopmark.core.clock import Clock, Entropy
from chopmark.keys.adapter import as_private_key, made_by
from chopmark.keys.ports import Signer
from chopmark.pki import path
from chopmark.pki.ceremony import Attributes, SerialAndValidity, timestamp_certificate
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, make_serial
from chopmark.pki.publication import Publication
from chopmark.pki.x509 import IssuerView, not_after, serial_hex, serial_of, spki_der
from chopmark.va.timestamp_ports import TimestampKey, TimestampRecords

LIFE = timedelta(days=5 * 365)
RENEWED_BEFORE = timedelta(days=365)
"""A certificate signs in the first four of its five years, so that it stays valid for a year after every token."""
BACKDATE = timedelta(minutes=5)
TURN = timedelta(minutes=1)
NewKey: TypeAlias = Callable[[], tuple[Signer, bytes]]
"""Makes a key and returns its signer and what the database keeps of it; blocking."""


class NotCertified(Exception):
    """The new certificate is not valid under the issuer's, or the linter found an error; it was not stored."""


@dataclass(frozen=True, slots=True)
class Certifier:
    """The issuing CA as this module needs it; `signer` signs with its key.

    `above` are the CA certificates above it, DER, the root last. `lint` returns what the linter finds in a certificate,
    DER. Serial numbers begin with `node`.
    """

    issuer: IssuerView
    above: tuple[bytes, ...]
    signer: Signer
    publication: Publication
    node: int
    lint: Callable[[bytes], list[str]]


class TimestampKeys:
    """Sets up and renews the time-stamp authority of one issuing CA; `subject` is the subject of its certificate."""

    def __init__(
        self,
        certifier: Certifier,
        subject: Attributes,
        new_key: NewKey,
        records: TimestampRecords,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._by = certifier
        self._subject = subject
        self._new_key = new_key
        self._records = records
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy

    async def renew_due(self) -> int:
        """Set up the authority, or renew its certificate if less than a year is left; return 1 if this call did.

        Returns 0, too, if another process is doing it. Raises NotCertified and SignerUnavailable.
        """
        # 1. Is it due, and does no other process do it?
        now = self._clock.now().replace(microsecond=0)
        old = await self._records.key(self._by.issuer.id)
        until = min(now + LIFE, self._by.issuer.not_after)
        left = None if old is None else not_after(old.certificate)
        if left is not None and (left - now >= RENEWED_BEFORE or until <= left):
            return 0
        if not await self._records.take_turn(self._entropy.token(8).hex(), now, TURN):
            return 0
        # 2. Make a new key if there is none; otherwise keep the present one.
        if old is None:
            signer, stored = await asyncio.to_thread(self._new_key)
            key_der = signer.public_key_der
        else:
            stored, key_der = old.stored_key, spki_der(old.certificate)
        # 3. Make a new certificate.
        made = await self.certified(key_der)
        serial = serial_of(made)

        async def store(builder: RecordBuilder) -> bool:
            record = builder.record(Event.VA_TIMESTAMP_CHANGED, serial=serial, issuer=self._by.issuer.id)
            if old is None:
                return await self._records.found(self._by.issuer.id, TimestampKey(made, stored), now, record)
            return await self._records.renew(self._by.issuer.id, old.certificate, made, record)

        # 4. Store it with its audit record, in one transaction.
        return int(await self._audit_log.write(self.stream, store))

    @property
    def stream(self) -> StreamId:
        """The audit stream of this authority."""
        return system_stream(f"timestamp-{self._by.issuer.id}")

    async def certified(self, key_der: bytes) -> bytes:
        """Return a new certificate, DER, for a key (SubjectPublicKeyInfo); it is not stored.

        Raises NotCertified and SignerUnavailable.
        """
        # 1. Record the reservation of the serial number in a transaction before anything is signed.
        issuer, by, now = self._by.issuer, self._by, self._clock.now().replace(microsecond=0)
        since, until = max(now - BACKDATE, issuer.not_before), min(now + LIFE, issuer.not_after)
        terms = SerialAndValidity(make_serial(by.node, self._entropy.token(SERIAL_RANDOM_BYTES)), since, until)
        facts = {"serial": serial_hex(terms.serial), "issuer": issuer.id, "profile": "timestamping"}

        async def intend(builder: RecordBuilder) -> None:
            spki = hashlib.sha256(key_der).hexdigest()
            await self._records.note(builder.record(Event.CA_CERTIFICATE_RESERVED, **facts, spki_sha256=spki))

        await self._audit_log.write(self.stream, intend)
        # 2. Sign.
        key, urls = as_private_key(by.signer), by.publication.urls(issuer.id, 0)
        made = await made_by(by.signer, lambda: timestamp_certificate(key, issuer, key_der, self._subject, terms, urls))
        # 3. Check that the new certificate is valid up to the root, and lint it.
        chain_der = (issuer.certificate_der, *by.above[:-1])
        found = [f.code for f in path.chain_findings(made, chain_der, by.above[-1], now)]
        found += await asyncio.to_thread(by.lint, made)
        if found:
            raise NotCertified(", ".join(found))
        return made
