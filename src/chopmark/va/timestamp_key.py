"""Founding the time-stamp authority, with a key of its own, and renewing its certificate before it ends."""

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
"""A certificate signs for four of its five years: every token can be verified plainly for a year and more."""
BACKDATE = timedelta(minutes=5)
TURN = timedelta(minutes=1)
NewKey: TypeAlias = Callable[[], tuple[Signer, bytes]]
"""Makes a key; returns its signer and what the database keeps of it. Blocking."""


class NotCertified(Exception):
    """The new certificate does not hold under the issuer's, or the lint stopped it; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Certifier:
    """The issuing CA as this module needs it: `above` is the chain above it, the root last; `signer` its key.

    `lint` names what a linter finds in a certificate. `node` prefixes serials.
    """

    issuer: IssuerView
    above: tuple[bytes, ...]
    signer: Signer
    publication: Publication
    node: int
    lint: Callable[[bytes], list[str]]


class TimestampKeys:
    """Founds and renews the authority of one issuing CA; its certificate is called `subject`."""

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
        """Found the authority, or renew its certificate when less than a year is left; 1 when it was done here.

        1 due, and our turn  2 the key: a new one only when there is none  3 a new certificate  4 [tx] stored.
        """
        now = self._clock.now().replace(microsecond=0)
        old = await self._records.key(self._by.issuer.id)
        until = min(now + LIFE, self._by.issuer.not_after)
        left = None if old is None else not_after(old.certificate)
        if left is not None and (left - now >= RENEWED_BEFORE or until <= left):
            return 0
        if not await self._records.take_turn(self._entropy.token(8).hex(), now, TURN):
            return 0
        if old is None:
            signer, stored = await asyncio.to_thread(self._new_key)
            key_der = signer.public_key_der
        else:
            stored, key_der = old.stored_key, spki_der(old.certificate)
        made = await self.certified(key_der)
        serial = serial_of(made)

        async def store(builder: RecordBuilder) -> bool:
            record = builder.record(Event.VA_TIMESTAMP_CHANGED, serial=serial, issuer=self._by.issuer.id)
            if old is None:
                return await self._records.found(self._by.issuer.id, TimestampKey(made, stored), now, record)
            return await self._records.renew(self._by.issuer.id, old.certificate, made, record)

        return int(await self._audit_log.write(self.chain, store))

    @property
    def chain(self) -> StreamId:
        """The audit's chain of this authority."""
        return system_stream(f"timestamp-{self._by.issuer.id}")

    async def certified(self, key_der: bytes) -> bytes:
        """Return a new certificate, DER, for a key (SubjectPublicKeyInfo); raises NotCertified and SignerUnavailable.

        1 [tx] the intent  2 sign  3 it holds.
        """
        issuer, by, now = self._by.issuer, self._by, self._clock.now().replace(microsecond=0)
        since, until = max(now - BACKDATE, issuer.not_before), min(now + LIFE, issuer.not_after)
        terms = SerialAndValidity(make_serial(by.node, self._entropy.token(SERIAL_RANDOM_BYTES)), since, until)
        facts = {"serial": serial_hex(terms.serial), "issuer": issuer.id, "profile": "timestamping"}

        async def intend(builder: RecordBuilder) -> None:
            spki = hashlib.sha256(key_der).hexdigest()
            await self._records.note(builder.record(Event.CA_CERTIFICATE_RESERVED, **facts, spki_sha256=spki))

        await self._audit_log.write(self.chain, intend)
        key, urls = as_private_key(by.signer), by.publication.urls(issuer.id, 0)
        made = await made_by(by.signer, lambda: timestamp_certificate(key, issuer, key_der, self._subject, terms, urls))
        chain_der = (issuer.certificate_der, *by.above[:-1])
        found = [f.code for f in path.chain_findings(made, chain_der, by.above[-1], now)]
        found += await asyncio.to_thread(by.lint, made)
        if found:
            raise NotCertified(", ".join(found))
        return made
