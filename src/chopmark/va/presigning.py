"""Signing OCSP answers ahead, of every certificate that lives, whether or not anybody has asked (decision 17)."""

from typing import Literal

from chopmark.clock import Clock
from chopmark.pki import ocsp
from chopmark.pki.x509 import IssuerView
from chopmark.va.ports import Due, Signed, StatusRecords
from chopmark.va.responder import LIFE, Responder, told

BATCH = 100
HASHES: tuple[Literal["sha1", "sha256"], ...] = ("sha256", "sha1")
"""The hashes that a CertID may have here (RFC 9919 s.3.1.1)."""


class Presigner:
    """Signs the answers of one issuing CA ahead, at half their life, in bounded batches."""

    def __init__(self, issuer: IssuerView, responder: Responder, records: StatusRecords, clock: Clock) -> None:
        self._issuer = issuer
        self._responder = responder
        self._records = records
        self._clock = clock

    async def sign_due(self) -> int:
        """Sign what is due, oldest first, at most a batch; return how many certificates are done.

        Raises SignerUnavailable and Refused: what is due stays due.
        """
        now = self._clock.now()
        done = 0
        for due in await self._records.due(self._issuer.id, now, BATCH):
            done += await self._sign(due)
        return done

    async def _sign(self, due: Due) -> bool:
        """Sign for both hashes; False when the responder may not sign, or the record has turned meanwhile."""
        now = self._clock.now().replace(microsecond=0)
        answers: dict[str, Signed] = {}
        responder = b""
        for algorithm in HASHES:
            asked = ocsp.cert_id(self._issuer, int(due.serial, 16), algorithm)
            made = await self._responder.make([asked], [told(due.status)], now, None)
            if made.produced_at is None or made.next_update is None or responder not in {b"", made.responder}:
                return False
            responder = made.responder
            answers[algorithm] = Signed(made.der, made.produced_at, made.next_update, due.status.turns)
        again_at = min(now + LIFE / 2, *(answer.next_update for answer in answers.values()))
        return await self._records.keep(self._issuer.id, due.serial, answers, again_at, responder)
