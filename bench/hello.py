"""A bare ASGI answer, the limit of any answer in Python: `python -m bench.hello PORT`, uvicorn, two workers."""

import sys
from typing import Any

import uvicorn

BODY = b"x" * 1000
HEADERS = [(b"content-type", b"application/ocsp-response"), (b"content-length", b"1000")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer the same octets to everybody; as many as an OCSP answer has."""
    del receive
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "bench.hello:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=2,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
    )
    Multiprocess(config, sockets=[config.bind_socket()]).run()
