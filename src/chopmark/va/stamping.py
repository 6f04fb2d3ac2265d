"""Gets a time-stamp for a signed tree head of the audit, from our own authority or another one, and verifies it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from chopmark.audit.ports import NotStamped
from chopmark.core.clock import Clock, Entropy
from chopmark.pki import tsp, tsp_token
from chopmark.pki.tsp_token import TokenError

NONCE_BYTES = 16
MOST_APART = timedelta(minutes=5)
"""The most that the authority's clock may differ from ours."""
Ask: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Sends a request, DER, and returns the answer, DER; raises NotStamped when there is no answer."""


class Stamping:
    """Implements `audit.ports.Stamper`.

    `roots` are trusted certificates, DER; the certificate that signed a token must chain up to one of them.
    """

    def __init__(self, ask: Ask, roots: Sequence[bytes], clock: Clock, entropy: Entropy) -> None:
        self._ask = ask
        self._roots = roots
        self._clock = clock
        self._entropy = entropy

    async def stamp(self, imprint_sha256: bytes) -> tuple[bytes, datetime]:
        """Return a token over the imprint, DER, and its time.

        Imprint, nonce, signature, the purpose of the signing certificate and its chain were verified, and the time is
        close to our clock's. Otherwise raises NotStamped with the reason.
        """
        nonce = int.from_bytes(self._entropy.token(NONCE_BYTES), "big")
        answer = await self._ask(tsp.build_request(imprint_sha256, nonce))
        try:
            token = tsp_token.token_of(answer)
            stamp = tsp_token.verify(token, imprint_sha256, self._roots, nonce=nonce)
        except TokenError as error:
            raise NotStamped(error.fault.value) from error
        if abs(stamp.at - self._clock.now()) > MOST_APART + stamp.accuracy:
            raise NotStamped("the authority's clock is not ours")
        return token, stamp.at
