"""What must never leave the browser: looked for in every request, however it is wrapped (rule 8)."""

import json
from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from playwright.sync_api import Request


def told(request: Request) -> bytes:
    """Return all that a request says: address, body, and what its texts are when they are decoded."""
    body = request.post_data_buffer or b""
    return b"\n".join([request.url.encode(), body, *_decoded(body)])


def _decoded(body: bytes) -> Iterator[bytes]:
    try:
        said: Any = json.loads(body)
    except ValueError:
        return
    for value in said.values() if isinstance(said, dict) else ():
        if isinstance(value, str):
            try:
                yield urlsafe_b64decode(value + "=" * (-len(value) % 4))
            except (Error, ValueError):
                continue


def secrets_of(file: Path, passphrase: str) -> tuple[bytes, ...]:
    """Return what no request may hold of a certificate file: its bytes, its pass-phrase, its private number."""
    content = file.read_bytes()
    key, _, _ = pkcs12.load_key_and_certificates(content, passphrase.encode())
    if isinstance(key, EllipticCurvePrivateKey):
        number = key.private_numbers().private_value
    else:
        assert isinstance(key, RSAPrivateKey)
        number = key.private_numbers().d
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return content, passphrase.encode(), octets, octets.hex().encode()
