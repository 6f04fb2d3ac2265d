"""The mark of a known browser: whose it is, how long it is good, and what it is made of."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chopmark.core.types import CustomerId
from chopmark.identity.known import KnownBrowsers

START = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
ANN, SECRET = CustomerId("C-ANN"), bytes(range(32))
SECOND = timedelta(seconds=1)


@dataclass
class Clock:
    at: datetime = START

    def now(self) -> datetime:
        return self.at


@dataclass
class Entropy:
    asked: tuple[int, ...] = ()

    def token(self, size: int) -> bytes:
        self.asked += (size,)
        return bytes(size)

    def integer(self, below: int) -> int:
        return 0


def known(clock: Clock) -> KnownBrowsers:
    return KnownBrowsers(SECRET, clock, Entropy())


def mark(issued: str, customer: str = ANN, version: str = "1", nonce: str = "AAAAAAAAAAAAAAAAAAAAAA") -> str:
    """Return a mark made here, by the description in the module, under the right key."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"chopmark-known-browser-1").derive(SECRET)
    parts = (version, customer, START.isoformat(), issued, nonce)
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    mac = urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256)).rstrip(b"=").decode()
    return f"{version}.{issued}.{nonce}.{mac}"


@pytest.mark.parametrize(
    ("later", "good"),
    [
        (-SECOND, True),  # a server whose clock is a second behind
        (-2 * SECOND, False),
        (timedelta(0), True),
        (timedelta(days=365) - SECOND, True),
        (timedelta(days=365), False),
    ],
)
def test_a_mark_is_good_for_a_year(later: timedelta, *, good: bool) -> None:
    clock = Clock()
    token = known(clock).token(ANN, START).reveal()
    clock.at = START + later
    assert known(clock).recognises(token, ANN, START) is good


def test_a_mark_made_by_its_description_is_the_same() -> None:
    made = known(Clock()).token(ANN, START).reveal()
    assert made == mark(str(int(START.timestamp())))
    assert len(urlsafe_b64decode(made.split(".")[2] + "==")) == 16


@pytest.mark.parametrize(
    "token",
    [
        mark("17724132O0"),
        mark("-1772413200"),
        mark("１７７２４１３２００"),
        mark(""),
        mark(str(int(START.timestamp())), version="2"),
        "2." + mark(str(int(START.timestamp()))).partition(".")[2],
        mark(str(int(START.timestamp())), customer="C-BEN"),
        mark(str(int(START.timestamp()))) + ".x",
        mark(str(int(START.timestamp()))).rpartition(".")[0],
        "x" * 10_000,
        "",
        None,
    ],
)
def test_what_was_not_made_here_for_this_customer_is_not_recognised(token: str | None) -> None:
    assert not known(Clock()).recognises(token, ANN, START)


def test_a_new_password_slip_ends_it() -> None:
    token = known(Clock()).token(ANN, START).reveal()
    assert not known(Clock()).recognises(token, ANN, START + SECOND)
    assert not known(Clock()).recognises(token, ANN, None)
