"""Having the audit's head stamped: by our own authority or by somebody else's, and never believing either unchecked."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from chopmark.audit.ports import NotStamped
from chopmark.core.clock import Clock, Entropy
from chopmark.pki import tsp, tsp_token
from chopmark.pki.tsp_token import TokenError

NONCE_BYTES = 16
MOST_APART = timedelta(minutes=5)
"""How far an authority's clock may be from ours."""
Ask: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""From a request, DER, to an answer, DER; raises NotStamped when there is none."""


class Stamping:
    """Implements `audit.ports.Stamper`; `roots` are the certificates, DER, one of which must stand behind a token."""

    def __init__(self, ask: Ask, roots: Sequence[bytes], clock: Clock, entropy: Entropy) -> None:
        self._ask = ask
        self._roots = roots
        self._clock = clock
        self._entropy = entropy

    async def stamp(self, imprint_sha256: bytes) -> tuple[bytes, datetime]:
        """Return a token over the imprint, DER, and its time.

        The token holds: imprint, nonce, signature, purpose and chain. Raises NotStamped with the word that says why.
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
