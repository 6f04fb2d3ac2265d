"""The time-stamp authority (RFC 3161): takes the bytes of a request and returns the bytes of the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.clockwatch import Trouble, believed
from chopmark.core.clock import Clock, Entropy
from chopmark.core.refusal import Refused
from chopmark.keys.adapter import as_private_key, made_by
from chopmark.keys.ports import Signer, SignerUnavailable
from chopmark.limits.crowd import Crowd
from chopmark.limits.rate_limits import RateLimit
from chopmark.pki import tsp
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, make_serial
from chopmark.pki.tsp import FailInfo
from chopmark.pki.x509 import IssuerView, not_after, spki_der
from chopmark.va.timestamp_ports import TimestampKey, TimestampRecords

LOOK_EVERY = timedelta(minutes=1)
"""How long a process uses the certificate, key and earliest time that it has read, before it reads them again."""
PER_NETWORK = 120
"""How many requests of one network a server process answers in a minute; no request is recorded."""
OF_ALL = 3000
"""How many requests of all networks together a server process answers in a minute."""
_MINUTE = timedelta(minutes=1)
MOST_BACK = timedelta(seconds=1)
"""How far the clock may go back: up to this the last time is given again, beyond it no token is given."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The key and certificate that were read from the database, and when."""

    key: TimestampKey
    signer: Signer
    not_after: datetime
    read_at: datetime


class TimestampAuthority:
    """Answers for one issuing CA; `opened` turns a stored key and its public key into a signer.

    Serial numbers have the node's prefix and 136 random bits, as those of certificates do. A token's time is never
    earlier than that of a token which this process gave before, nor than the newest time-stamp of a tree head in the
    audit. If the clock was set back, no token is given until the clock has reached that time again (decision 16).
    """

    def __init__(
        self,
        issuer: IssuerView,
        opened: Callable[[bytes, bytes], Signer],
        node: int,
        records: TimestampRecords,
        clock: Clock,
        entropy: Entropy,
        trouble: Trouble = believed,
    ) -> None:
        self._issuer = issuer
        self._opened = opened
        self._node = node
        self._records = records
        self._clock = clock
        self._entropy = entropy
        self._trouble = trouble
        self._known: _Known | None = None
        self._latest: datetime | None = None
        self._crowd = Crowd()

    def admit(self, network: str) -> int:
        """Return 0 if a request from this network is answered now, or else after how many seconds it may come again.

        For requests from an unknown network (empty), only the rate limit for all networks together applies.
        """
        own = (RateLimit(network, PER_NETWORK, _MINUTE),) if network else ()
        return self._crowd.take((*own, RateLimit("all", OF_ALL, _MINUTE)), self._clock.now())

    async def certificate(self) -> bytes | None:
        """Return the authority's certificate from the database, DER; None if the authority has no key yet."""
        key = await self._records.key(self._issuer.id)
        return None if key is None else key.certificate

    async def answer(self, request_der: bytes) -> bytes:
        """Return the answer to a request; a refusal is an answer, too, with its failure info."""
        # 1. The request must be allowed to get a token, and the clock must be trusted.
        ask = tsp.parse_request(request_der)
        if isinstance(ask, FailInfo):
            return tsp.rejection(ask)
        if self._trouble() is not None:
            return tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)
        now = self._clock.now()
        try:
            # 2. Read the certificate and the key.
            known = await self._look(now)
            if known is None or now > known.not_after:
                return tsp.rejection(FailInfo.SYSTEM_FAILURE)
            # 3. The time must not have gone back.
            if self._latest is not None and now < self._latest - MOST_BACK:
                return tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)
            self._latest = now = max(now, self._latest or now)
            # 4. Sign.
            serial = make_serial(self._node, self._entropy.token(SERIAL_RANDOM_BYTES))
            key, at = as_private_key(known.signer), now.replace(microsecond=0)
            certificate, above = known.key.certificate, (self._issuer.certificate_der,)
            token = await made_by(known.signer, lambda: tsp.build_token(key, certificate, above, ask, serial, at))
        except (Refused, SignerUnavailable):
            return tsp.rejection(FailInfo.SYSTEM_FAILURE)
        return tsp.granted(token)

    async def _look(self, now: datetime) -> _Known | None:
        """Return the certificate and key; read them, and the earliest time for a token, again once a minute."""
        known = self._known
        if known is not None and known.read_at <= now < known.read_at + LOOK_EVERY:
            return known
        floor, key = await self._records.floor(), await self._records.key(self._issuer.id)
        if key is None:
            return None
        times = [at for at in (floor, self._latest) if at is not None]
        self._latest = max(times, default=None)
        signer = known.signer if known is not None and known.key.stored_key == key.stored_key else None
        signer = signer or self._opened(key.stored_key, spki_der(key.certificate))
        self._known = _Known(key, signer, not_after(key.certificate), now)
        return self._known
