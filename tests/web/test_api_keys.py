"""The private key stays on the customer's side (architecture rule 8): every request of a whole renewal is scanned."""

import base64
import binascii
import json
import re
from collections.abc import Iterator

import httpx2
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.client.signing import ClientKey
from chopmark.core.types import Secret
from chopmark.web.api import wire
from tests.web.counter import World, b64, errand

MARKS = {
    "a PEM private key": b"PRIVATE KEY-----",
    "RFC 5915 ECPrivateKey": bytes.fromhex("020101 0420"),
    "RFC 7292 PKCS #12 bag": bytes.fromhex("2a864886f70d010c0a01"),
    "RFC 8018 PBES2": bytes.fromhex("2a864886f70d01050d"),
    "RFC 7517 private JWK": b'"d":"',
}


def readings(raw: bytes) -> Iterator[bytes]:
    """The octets themselves, and what they are when read as base64 or hexadecimal."""
    yield raw
    for word in re.findall(rb"[A-Za-z0-9+/_=-]{24,}", raw):
        plain = word.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for cut in range(4):
            try:
                yield base64.b64decode(plain[cut:] + b"=" * (-len(plain[cut:]) % 4))
            except binascii.Error:
                continue
        if re.fullmatch(rb"([0-9a-fA-F]{2})+", word):
            yield bytes.fromhex(word.decode())


def everything(request: httpx2.Request) -> bytes:
    """All that a request says: method, address, headers, body."""
    heads = b"\n".join(name + b": " + value for name, value in request.headers.raw)
    return b"\n".join([request.method.encode(), str(request.url).encode(), heads, request.content])


def private_in(raw: bytes, scalars: list[bytes]) -> set[str]:
    """What private there is in a request."""
    found = set()
    for reading in readings(raw):
        found |= {name for name, mark in MARKS.items() if mark in reading}
        found |= {"a private key" for scalar in scalars if scalar in reading}
    return found


def scalar(key: ClientKey) -> bytes:
    assert isinstance(key.private_key, ec.EllipticCurvePrivateKey)
    return key.private_key.private_numbers().private_value.to_bytes(32, "big")


@pytest.mark.parametrize(("number", "operation"), [("C10001", "rekey"), ("C10005", "enrol")])
async def test_no_request_of_a_whole_order_carries_a_private_key(world: World, number: str, operation: str) -> None:
    order = await (await errand(world, number)).until("done", operation)
    scalars = [scalar(order.key)]
    if operation == "rekey":
        scalars.append(scalar(world.old_key(number)[0]))
    sent = order.browser.sent
    assert {"/api/v1/orders", f"/api/v1{order.path}/key", f"/api/v1{order.path}/prove"} <= {r.url.path for r in sent}
    assert len(sent) > 8
    for request in sent:
        assert private_in(everything(request), scalars) == set(), request.url.path


@pytest.mark.parametrize("encoding", ["pkcs8", "traditional", "pem", "p12", "raw", "hex", "jwk"])
def test_the_scan_finds_a_key_however_it_is_written(world: World, encoding: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = ClientKey(private)
    _, certificate = world.old_key("C10001")
    formats = serialization.PrivateFormat
    plain = serialization.NoEncryption()
    octets = {
        "pkcs8": private.private_bytes(serialization.Encoding.DER, formats.PKCS8, plain),
        "traditional": private.private_bytes(serialization.Encoding.DER, formats.TraditionalOpenSSL, plain),
        "pem": private.private_bytes(serialization.Encoding.PEM, formats.PKCS8, plain),
        "raw": scalar(key),
    }
    written = {
        "hex": scalar(key).hex(),
        "jwk": json.dumps({"d": b64(scalar(key))}, separators=(",", ":")),
    }.get(encoding) or b64(octets.get(encoding) or _p12(world, certificate))
    request = httpx2.Request("PUT", "http://localhost/api/v1/orders/x/key", json={"csr": written})
    assert private_in(everything(request), [scalar(key)])


def _p12(world: World, certificate: bytes) -> bytes:
    key, _ = world.old_key("C10001")
    return key.p12(certificate, (), "name", Secret("pass-phrase"))


def test_no_body_has_a_member_for_a_private_key_a_file_or_a_passphrase() -> None:
    for body in vars(wire).values():
        if isinstance(body, type) and issubclass(body, wire.Strict):
            for member in msgspec.structs.fields(body):
                forbidden = re.search(r"private|p12|pfx|pkcs|pass|secret|(^|_)key$|file", member.name)
                assert not forbidden, f"{body.__name__}.{member.name}"


async def test_a_request_for_the_built_in_ca_stays_anonymous(world: World) -> None:
    begun = await errand(world, "C10005")
    await begun.start("enrol")
    shown = (await begun.browser.get(f"/api/v1{begun.path}")).json()
    assert (shown["next"], "csr_subject" in shown) == ("key", False)


async def test_a_body_with_a_private_key_beside_the_request_is_refused(world: World) -> None:
    order = await (await errand(world, "C10005")).until("key", "enrol")
    body = {"csr": b64(order.key.request()), "private_key": "x"}
    answer = await order.call(f"{order.path}/key", body, "PUT")
    assert answer.status_code == 400
    assert (await order.browser.get(f"/api/v1{order.path}")).json()["next"] == "key"
