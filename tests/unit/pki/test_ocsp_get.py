"""OCSP requests in a path, spelt as clients and proxies spell them: whatever is readable is among the readings."""

import base64
import re
from random import Random
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as other

from chopmark.pki import ocsp
from chopmark.pki.ocsp_get import MOST_READINGS, requests_in
from tests.unit.pki.test_ocsp import ask
from tests.vectors.pki.house import house

SERIAL = 0x01544C271A484E029EC3CC268931B151FFCC


@pytest.fixture(scope="module")
def request_der(tmp_path_factory) -> bytes:
    return ask(house(), tmp_path_factory.mktemp("ask"), SERIAL)


def spelt(der: bytes) -> str:
    return base64.b64encode(der).decode()


SPELLINGS = {
    "as it is": lambda text: text,
    "escaped": lambda text: quote(text, safe=""),
    "escaped in small letters": lambda text: quote(text, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "a plus as a space": lambda text: text.replace("+", " "),
    "a plus as an escaped space": lambda text: text.replace("+", "%20"),
    "without padding": lambda text: text.rstrip("="),
    "base64url": lambda text: text.translate(str.maketrans("+/", "-_")),
    "base64url without padding": lambda text: text.translate(str.maketrans("+/", "-_")).rstrip("="),
    "in lines": lambda text: quote("\r\n".join(re.findall(".{1,64}", text)) + "\n", safe=""),
    "slashes before": lambda text: f"//{text}",
    "a slash behind": lambda text: f"{text}/",
    "a slash behind, without padding": lambda text: text.rstrip("=") + "/",
    "too much padding": lambda text: f"{text}==",
}


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("octets", [0, 1, 2])
def test_every_spelling_is_the_one_request(request_der: bytes, how: str, octets: int) -> None:
    """With a longer nonce each, so that there are all three kinds of padding."""
    der = with_nonce(request_der, b"\xfb\xef\xbe\xff" * 4 + bytes(octets))
    assert "+" in spelt(der)
    assert "/" in spelt(der)
    assert requests_in(SPELLINGS[how](spelt(der))) == (der,)


def with_nonce(request_der: bytes, nonce: bytes) -> bytes:
    """The request with a nonce that the test chose, written by hand (RFC 6960 s.4.1.1, RFC 9654 s.2.1)."""
    assert len(request_der) < 128
    assert len(nonce) < 32
    value = bytes((4, len(nonce))) + nonce
    extension = bytes.fromhex("06092b0601050507300102") + bytes((4, len(value))) + value
    extensions = b"\xa2" + bytes((len(extension) + 4, 0x30, len(extension) + 2, 0x30, len(extension))) + extension
    inner = request_der[4:] + extensions
    body = b"\x30" + length(inner) + inner
    return b"\x30" + length(body) + body


def length(content: bytes) -> bytes:
    return bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))


def test_where_a_proxy_has_collapsed_slashes_the_right_reading_is_among_the_few() -> None:
    dice, collapsed, hidden = Random(16), 0, 0
    for _ in range(3000):
        serial = dice.getrandbits(136)
        der = ocsp_request(serial, dice)
        text = spelt(der)
        seen = re.sub("/+", "/", text)
        if seen == text:
            continue
        collapsed += 1
        readings = requests_in(seen)
        assert len(readings) <= MOST_READINGS
        hidden += der not in readings
    assert collapsed > 20
    assert hidden == 0


def ocsp_request(serial: int, dice: Random) -> bytes:
    builder = other.OCSPRequestBuilder().add_certificate_by_hash(
        dice.randbytes(20), dice.randbytes(20), serial, hashes.SHA1()
    )
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "text", ["", "/", "=", "M", "MFg", "!!!!", "%00", "%zz", "AAAA", "MEI=w", "%E4%BD%A0", "M" * 70_000, "MP////8="]
)
def test_what_is_no_request_has_no_reading(text: str) -> None:
    assert requests_in(text) == ()


def test_a_path_of_nothing_but_slashes_costs_nothing(request_der: bytes) -> None:
    """So many could be missing that guessing would be work for nothing."""
    start = base64.b64encode(b"\x30\x82\x3f\xff").decode().rstrip("=")
    assert requests_in(start + "a/" * 3000) == ()


def test_openssl_s_request_is_what_it_was_before_all_this(request_der: bytes) -> None:
    (der,) = requests_in(spelt(request_der))
    assert isinstance(ocsp.parse_request(der), ocsp.OcspRequest)
