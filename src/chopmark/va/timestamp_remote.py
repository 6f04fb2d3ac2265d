"""Asks the time-stamp authority of another organisation over HTTP (RFC 3161 s.3.4)."""

import httpx2

from chopmark.audit.ports import NotStamped
from chopmark.pki.tsp_token import MAX_TOKEN_BYTES

TIMEOUT_S = 20.0
_TYPE = "application/timestamp-reply"


class RemoteAuthority:
    """Asks the authority at an http or https address; the caller must verify the answer."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def ask(self, request_der: bytes) -> bytes:
        """Return the bytes of the answer, at most MAX_TOKEN_BYTES; raises NotStamped. Redirects are not followed."""
        headers = {"Content-Type": "application/timestamp-query", "Accept": _TYPE}
        try:
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", self._url, content=request_der, headers=headers) as answer,
            ):
                if answer.status_code != httpx2.codes.OK:
                    raise NotStamped(f"the authority answered with status {answer.status_code}")
                if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
                    raise NotStamped("the authority answered with something that is no time-stamp reply")
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > MAX_TOKEN_BYTES:
                        raise NotStamped("the authority's answer is too long")
                return body
        except httpx2.HTTPError as error:
            raise NotStamped(f"the authority cannot be reached ({type(error).__name__})") from error
