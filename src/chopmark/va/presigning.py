"""Signing OCSP answers ahead, of every certificate that lives, whether or not anybody has asked (decision 17)."""

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
"""The hashes that a CertID may have here (RFC 9919 s.3.1.1)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers of one certificate by hash, made when its record had so many turns, and when they are due again.

    `responder` is the certificate, DER, of the responder that signed them.
    """

    serial: Serial
    answers: Mapping[str, Signed]
    status_version: int
    again_at: datetime
    responder: bytes


class Shelf(Protocol):
    """Keeps answers."""

    async def keep_all(self, issuer: IssuerId, kept: Sequence[Kept]) -> int:
        """Keep the answers of several certificates; return of how many.

        Nothing is kept of one that has turned, or whose responder answers no more.
        """
        ...


class Presigner:
    """Signs the answers of one issuing CA ahead, at half their life, in bounded batches."""

    def __init__(
        self, issuer: IssuerView, responder: Responder, records: StatusRecords, shelf: Shelf, clock: Clock
    ) -> None:
        self._issuer = issuer
        self._responder = responder
        self._records = records
        self._shelf = shelf
        self._clock = clock

    async def sign_due(self) -> int:
        """Sign what is due, oldest first, at most a batch; return how many certificates are done.

        Raises SignerUnavailable and Refused: what was signed until then is kept, and what is due stays due.
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
        """Sign for both hashes; None when the responder may not sign, or another took over between the two."""
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
