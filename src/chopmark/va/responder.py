"""Answers OCSP requests (RFC 6960, RFC 9654): takes the bytes of a request and returns the bytes of the answer.

The answer is good only for an issued certificate. A serial that is only reserved is answered as unknown, an orphaned
one as revoked.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from chopmark.core.clock import Clock
from chopmark.core.refusal import Refused
from chopmark.core.types import CertificateState, Serial
from chopmark.keys.adapter import as_private_key, made_by
from chopmark.keys.ports import Signer, SignerUnavailable
from chopmark.pki import ocsp
from chopmark.pki.crl import CrlReason
from chopmark.pki.x509 import IssuerView, not_after, serial_hex, spki_der
from chopmark.va.ports import Status, StatusRecords
from chopmark.va.status_watcher import StatusGuard, StatusWatcher

LIFE = timedelta(hours=24)
RENEWED_BEFORE = timedelta(days=30)
"""A responder's certificate is renewed when it is valid for less than this."""
LOOK_EVERY = timedelta(minutes=1)
_MOST_LOOKED_UP = 8
"""The most serials that are looked up when one question can be read in several ways."""
MOST_KEPT = 20_000
"""The most answers that one process keeps; each has about a kilobyte."""
REASONS = {
    "unspecified": CrlReason.UNSPECIFIED,
    "key_compromise": CrlReason.KEY_COMPROMISE,
    "superseded": CrlReason.SUPERSEDED,
    "cessation_of_operation": CrlReason.CESSATION_OF_OPERATION,
    "certificate_hold": CrlReason.CERTIFICATE_HOLD,
    "privilege_withdrawn": CrlReason.PRIVILEGE_WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class ResponderKey:
    """A delegated responder: the issuer it answers for, its certificate and key, and when the certificate expires."""

    issuer: IssuerView
    certificate_der: bytes
    signer: Signer
    not_after: datetime


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An OCSP response, DER, and how long a cache may keep it (None: not at all).

    While the guard `standing` holds, the same octets may be given again from `produced_at` until `again_until`. Without
    a guard, each request has to be answered here.
    """

    der: bytes
    produced_at: datetime | None = None
    next_update: datetime | None = None
    responder: bytes = b""
    """The certificate, DER, of the responder that signed it."""
    standing: StatusGuard | None = None
    again_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer that is kept: the status it gives, until when it is given again, and until when it is valid."""

    status: ocsp.Status
    answer: OcspAnswer
    valid_from: datetime
    fresh_until: datetime
    valid_until: datetime


class Responder:
    """Answers for one issuing CA.

    The answer to a request about one certificate, without a nonce, is kept. It is given again until half its life is
    over, while the status on record is the same; `answer` reads that status for every request. If the database or the
    key cannot be reached, a kept answer is given as long as it is valid; without one the answer is tryLater. With a
    status watcher, an answer has a guard, so that the web server may give it again without calling `answer`.

    When the responder's certificate was renewed or revoked, every process signs with the new one within a minute.
    `opened` turns a stored key and its public key into a signer.
    """

    def __init__(
        self,
        key: ResponderKey,
        records: StatusRecords,
        clock: Clock,
        most_kept: int = MOST_KEPT,
        status_watcher: StatusWatcher | None = None,
        opened: Callable[[bytes, bytes], Signer] | None = None,
    ) -> None:
        self.key = key
        """The certificate and the key with which answers are signed now."""
        self._opened = opened
        self._records = records
        self._clock = clock
        self._most_kept = most_kept
        self._status_watcher = status_watcher
        self.kept: dict[bytes, _Kept] = {}
        self._looked_at: datetime | None = None

    async def answer(self, request_der: bytes) -> OcspAnswer:
        """Return the answer to a request; an error is an answer, too.

        Nothing is signed after the responder's certificate has expired.
        """
        # 1. The request must be well-formed and ask about certificates of this issuer only.
        request = ocsp.parse_request(request_der)
        if isinstance(request, ocsp.Malformed):
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.MALFORMED_REQUEST))
        now = self._clock.now().replace(microsecond=0)
        if not all(ocsp.matches(asked, self.key.issuer) for asked in request.cert_ids):
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.UNAUTHORIZED))
        # 2. Read the status on record. The number of looks is read before it, so that a change in between is noticed.
        asked = request.cert_ids[0]
        may_keep = request.nonce is None and len(request.cert_ids) == 1
        looks = 0 if self._status_watcher is None else self._status_watcher.looks
        try:
            await self.look()
            key, kept = self.key, self._valid(asked.der, now) if may_keep else None
            found = [await self._found(one.serial) for one in request.cert_ids]
            statuses = [told(one) for one in found]
            # 3. If an answer with this status is kept here, or was signed ahead by the worker, return it.
            if may_keep and (kept is None or kept.status != statuses[0] or now >= kept.fresh_until):
                kept = await self._ahead(asked, found[0], now, key) or kept
            if kept is not None and kept.status == statuses[0] and now < kept.fresh_until:
                return self._again(asked, kept, found[0], looks)
            # 4. Otherwise sign a new one.
            made = await self.make(request.cert_ids, statuses, now, request.nonce)
        except (Refused, SignerUnavailable):
            kept = self._valid(asked.der, now) if may_keep else None
            return kept.answer if kept is not None else _TRY_LATER
        may_keep = may_keep and made.responder == self.key.certificate_der  # it may have been replaced meanwhile
        kept = self._keep(asked.der, statuses[0], made) if may_keep else None
        return made if kept is None else self._again(asked, kept, found[0], looks)

    async def likeliest(self, readings: Sequence[bytes]) -> bytes | None:
        """Return the most likely of several readings of one question; None if there is none.

        That is one about this issuer; if several are, the first whose serial is on record.
        """
        if len(readings) <= 1:
            return readings[0] if readings else None
        about: dict[int, bytes] = {}
        for reading in readings:
            request = ocsp.parse_request(reading)
            if isinstance(request, ocsp.OcspRequest) and ocsp.matches(request.cert_ids[0], self.key.issuer):
                about.setdefault(request.cert_ids[0].serial, reading)
        if len(about) > 1:
            for serial in islice(about, _MOST_LOOKED_UP):
                with suppress(Refused):
                    if await self._found(serial) is not None:
                        return about[serial]
        return next(iter(about.values()), readings[0])

    async def make(
        self, cert_ids: Sequence[ocsp.CertId], statuses: Sequence[ocsp.Status], now: datetime, nonce: bytes | None
    ) -> OcspAnswer:
        """Sign an answer, or return tryLater if the responder's certificate has expired.

        Raises Refused and SignerUnavailable.
        """
        await self.look()
        responder = self.key
        next_update = min(now + LIFE, responder.not_after)
        if next_update <= now:
            return _TRY_LATER
        answers = [
            ocsp.Answer(asked.der, status, now, next_update) for asked, status in zip(cert_ids, statuses, strict=True)
        ]
        key = as_private_key(responder.signer)
        der = await made_by(
            responder.signer,
            lambda: ocsp.build_response(key, responder.certificate_der, answers, now, nonce),
        )
        return OcspAnswer(der, now, next_update, responder.certificate_der) if nonce is None else OcspAnswer(der)

    async def _ahead(self, asked: ocsp.CertId, found: Status | None, now: datetime, key: ResponderKey) -> _Kept | None:
        """Return the valid answer that was signed ahead for this status, and keep it; None if there is none.

        Return None, too, if `key` was replaced while the answer was read.
        """
        if found is None:
            return None
        signed = await self._records.signed(key.issuer.id, Serial(serial_hex(asked.serial)), asked.hash_algorithm)
        if (
            self.key is not key
            or signed is None
            or signed.status_version != found.status_version
            or not signed.produced_at <= now < signed.next_update
        ):
            return None
        return self._keep(asked.der, told(found), OcspAnswer(signed.der, signed.produced_at, signed.next_update))

    def _again(self, asked: ocsp.CertId, kept: _Kept, found: Status | None, looks: int) -> OcspAnswer:
        """Return a kept answer, with a guard if the status watcher can give one.

        `found` is the status on record, which was read after the status watcher's look number `looks`.
        """
        if self._status_watcher is None or found is None:
            return kept.answer
        standing = self._status_watcher.stand(Serial(serial_hex(asked.serial)), found.status_version, looks)
        return replace(kept.answer, standing=standing, again_until=kept.fresh_until)

    def _valid(self, cert_id: bytes, now: datetime) -> _Kept | None:
        kept = self.kept.get(cert_id)
        return kept if kept is not None and kept.valid_from <= now < kept.valid_until else None

    def _keep(self, cert_id: bytes, status: ocsp.Status, made: OcspAnswer) -> _Kept | None:
        """Keep an answer, except about serials that were never issued: strangers could fill the memory with them."""
        if made.produced_at is None or made.next_update is None or isinstance(status, ocsp.Unknown):
            return None
        self.kept.pop(cert_id, None)
        while len(self.kept) >= self._most_kept:
            del self.kept[next(iter(self.kept))]
        half = made.produced_at + (made.next_update - made.produced_at) / 2
        kept = self.kept[cert_id] = _Kept(status, made, made.produced_at, half, made.next_update)
        return kept

    async def look(self) -> int:
        """Read once a minute which certificate and key the responder has now, and use them from then on.

        If the key was replaced, all kept answers are dropped. Always returns 0, because no further call is needed at
        once. Raises Refused and SignerUnavailable.
        """
        now = self._clock.now().replace(microsecond=0)
        if self._looked_at is not None and self._looked_at <= now < self._looked_at + LOOK_EVERY:
            return 0
        self._looked_at = now
        issuer = self.key.issuer
        der = await self._records.responder_certificate(issuer.id)
        if der is None or der == self.key.certificate_der:
            return 0
        if spki_der(der) == self.key.signer.public_key_der:
            self.key = replace(self.key, certificate_der=der, not_after=not_after(der))
            return 0
        stored = await self._records.responder_key(issuer.id)
        if stored is not None and self._opened is not None:
            der = stored.certificate
            signer = await asyncio.to_thread(self._opened, stored.stored_key, spki_der(der))
            self.key = ResponderKey(issuer, der, signer, not_after(der))
            self.kept.clear()
            if self._status_watcher is not None:
                self._status_watcher.forget()
        return 0

    async def _found(self, serial: int) -> Status | None:
        if serial <= 0:
            return None
        return await self._records.status(self.key.issuer.id, Serial(serial_hex(serial)))


def told(found: Status | None) -> ocsp.Status:
    """Return the OCSP status for a status on record; it is good only once the certificate is issued (I27)."""
    if found is None or found.state is CertificateState.RESERVED:
        return ocsp.Unknown()
    if found.ended_at is not None:
        reason = REASONS.get(found.reason or "", CrlReason.UNSPECIFIED)
        return ocsp.Revoked(found.ended_at.replace(microsecond=0), reason)
    return ocsp.Good()


_TRY_LATER = OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.TRY_LATER))
