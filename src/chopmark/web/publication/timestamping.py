"""POST /tsa: the time-stamp protocol over HTTP (RFC 3161 s.3.4), in front of the framework."""

from litestar.types import HTTPScope, Receive, Send

from chopmark.core.counted import counted
from chopmark.pki.tsp import MAX_REQUEST_BYTES
from chopmark.va.timestamp import TimestampAuthority
from chopmark.web.asgi.octets import body_within

PATH = "/tsa"
QUERY, REPLY = b"application/timestamp-query", b"application/timestamp-reply"


async def serve(authority: TimestampAuthority, network: str, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer one request: a refusal by the protocol is an answer with status 200, one by HTTP is a line of text."""
    if scope["method"] != "POST":
        await _refuse(send, 405, "A time-stamp request is sent by POST (RFC 3161 s.3.4).", (b"allow", b"POST"))
        return
    wait_s = authority.admit(network)
    if wait_s:
        said = f"Too many requests at once: please ask again in {counted(wait_s, 'second')}."
        await _refuse(send, 429, said, (b"retry-after", str(wait_s).encode()))
        return
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if given.partition(b";")[0].strip().lower() != QUERY:
        await _refuse(send, 415, f"Content-Type has to be {QUERY.decode()}.", (b"accept", QUERY))
        return
    body = await body_within(receive, MAX_REQUEST_BYTES)
    if body is None:
        await _refuse(send, 413, f"A request has at most {MAX_REQUEST_BYTES} octets.")
        return
    await _send(send, 200, await authority.answer(body), (b"content-type", REPLY))


async def _refuse(send: Send, status: int, said: str, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, status, f"{said}\n".encode(), (b"content-type", b"text/plain; charset=utf-8"), *headers)


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    usual = [
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
