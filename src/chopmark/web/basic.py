"""Basic authorization (RFC 7617), by which programs show their client credential."""

from base64 import b64decode
from binascii import Error as Base64Error

from chopmark.core.types import Secret
from chopmark.web.state import AnyRequest


def basic_of(request: AnyRequest) -> tuple[str, Secret]:
    """Return client id and secret of a Basic authorization (RFC 7617); empty ones when there is none."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", Secret("")
    try:
        client, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError, ValueError):
        return "", Secret("")
    return client, Secret(secret)
