"""Requests whose body is octets, as the ASGI applications in front of the framework read them."""

from litestar.types import Receive


async def body_within(receive: Receive, most: int) -> bytes | None:
    """Return the request's body of at most `most` octets; None for one that is too long or breaks off."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        more = message.get("more_body", False)
    return body
