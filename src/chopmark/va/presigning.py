"""Signs OCSP answers ahead for every unexpired certificate, whether or not anybody has asked (decision 17)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from chopmark.core.clock import Clock
from chopmark.core.refusal import Refused
from chopmark.core.types import IssuerId, Serial
from chopmark.keys.ports import SignerUnavailable
from chopmark.pki import ocsp
from chopmark.pki.x509 import IssuerView
from chopmark.va.ports import Due, Signed, StatusRecords
from chopmark.va.responder import LIFE, Responder, told

BATCH = 100
HASHES: tuple[Literal["sha1", "sha256"], ...] = ("sha256", "sha1")
"""The hashes of CertIDs for which answers are signed ahead (RFC 9919 s.3.1.1)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers for one certificate, by hash of the CertID, and when they are to be signed again.

    They are right while the certificate has this `status_version`. `responder` is the certificate, DER, of the
    responder that signed them.
    """

    serial: Serial
    answers: Mapping[str, Signed]
    status_version: int
    again_at: datetime
    responder: bytes


class Shelf(Protocol):
    """Stores answers that were signed ahead."""

    async def keep_all(self, issuer: IssuerId, kept: Sequence[Kept]) -> int:
        """Store the answers for several certificates; return for how many.

        Answers are not stored if the certificate's status has changed meanwhile, or if the responder that signed them
        was replaced.
        """
        ...


class Presigner:
    """Signs the answers of one issuing CA ahead, again at half their life, in batches of limited size."""

    def __init__(
        self, issuer: IssuerView, responder: Responder, records: StatusRecords, shelf: Shelf, clock: Clock
    ) -> None:
        self._issuer = issuer
        self._responder = responder
        self._records = records
        self._shelf = shelf
        self._clock = clock

    async def sign_due(self) -> int:
        """Sign the answers that are due, the oldest first, at most one batch; return for how many certificates.

        Raises SignerUnavailable and Refused. The answers that were signed before the error are stored, and the others
        stay due.
        """
        made: list[Kept] = []
        try:
            for due in await self._records.due(self._issuer.id, self._clock.now(), BATCH):
                signed = await self.sign(due)
                if signed is not None:
                    made.append(signed)
        except (SignerUnavailable, Refused):
            await self._keep(made)
            raise
        return await self._keep(made)

    async def _keep(self, made: list[Kept]) -> int:
        return await self._shelf.keep_all(self._issuer.id, made) if made else 0

    async def sign(self, due: Due) -> Kept | None:
        """Sign an answer for each hash; None if the responder may not sign, or was replaced between the two."""
        now = self._clock.now().replace(microsecond=0)
        answers: dict[str, Signed] = {}
        responder = b""
        for algorithm in HASHES:
            asked = ocsp.cert_id(self._issuer, int(due.serial, 16), algorithm)
            made = await self._responder.make([asked], [told(due.status)], now, None)
            if made.produced_at is None or made.next_update is None or responder not in {b"", made.responder}:
                return None
            responder = made.responder
            answers[algorithm] = Signed(made.der, made.produced_at, made.next_update, due.status.status_version)
        again_at = min(now + LIFE / 2, *(answer.next_update for answer in answers.values()))
        return Kept(due.serial, answers, due.status.status_version, again_at, responder)
