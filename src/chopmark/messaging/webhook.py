"""Signed messages to one address of the firm, as defined by Standard Webhooks (standardwebhooks.com).

The address comes from the operator's settings, never from a customer or a client.
"""

import asyncio
import base64
import binascii
import hmac
import ssl
from collections.abc import Sequence
from datetime import datetime

import httpx2

from chopmark.core.types import Secret

PREFIX = "whsec_"
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
ANSWER_S = 10.0
"""Seconds in which the receiver has to answer, including the time to connect."""
REACH_S = 5.0


class WebhookNotTaken(Exception):
    """The receiver did not take a message. The text says how it answered, and contains no value of ours."""


def read_secret(written: str) -> bytes:
    """Return the key in a secret of the form `whsec_` and the base64 of 24 to 64 bytes. Raises ValueError."""
    try:
        key = base64.b64decode(written.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not written.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a webhook's secret is {PREFIX} and the base64 of {MIN_SECRET_BYTES} to 64 bytes")
    return key


def signature(key: bytes, message: str, at: int, body: bytes) -> str:
    """Return the signature of a message: HMAC-SHA-256 over its id, the seconds since 1970 and its body."""
    return "v1," + base64.b64encode(hmac.digest(key, b"%b.%d.%b" % (message.encode(), at, body), "sha256")).decode()


class Webhook:
    """Sends messages to one receiver, signed with each secret. There are two while one replaces the other."""

    def __init__(self, url: str, secrets: Sequence[Secret], trust: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._keys = [read_secret(secret.reveal()) for secret in secrets]
        # Plain http (loopback only) needs no trust store: use a context without certificates.
        self._tls = trust or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def send(self, message: str, at: datetime, body: bytes) -> None:
        """Hand a message over. When this returns, the receiver has taken it. Raises WebhookNotTaken.

        No redirect is followed and no proxy of the environment is used. Of the answer only the status is read.
        """
        moment = int(at.timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(moment),
            "webhook-signature": " ".join(signature(key, message, moment, body) for key in self._keys),
        }
        try:
            async with asyncio.timeout(ANSWER_S):
                status = await self._status(body, headers)
        except TimeoutError:
            raise WebhookNotTaken("the webhook's receiver did not answer in time") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise WebhookNotTaken(
                "the webhook's receiver cannot be reached, or its certificate is not trusted"
            ) from None
        except httpx2.TransportError:
            raise WebhookNotTaken("the webhook's receiver ended the connection") from None
        if not 200 <= status < 300:
            raise WebhookNotTaken(f"the webhook's receiver answered with {status}")

    async def _status(self, body: bytes, headers: dict[str, str]) -> int:
        transport = httpx2.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        timeout = httpx2.Timeout(ANSWER_S, connect=REACH_S)
        async with httpx2.AsyncClient(
            transport=transport, timeout=timeout, follow_redirects=False, trust_env=False
        ) as client:
            async with client.stream("POST", self._url, content=body, headers=headers) as answer:
                return answer.status_code
