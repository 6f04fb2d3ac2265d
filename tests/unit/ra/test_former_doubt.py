"""What the CA of an imported certificate says against a renewal, and what is known without asking it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.core.types import Operation, Reason, text
from chopmark.ra.former_issuers import ON_HOLD, GoodThere, RevokedThere, StatusThere, UnknownThere
from chopmark.ra.former_renewal import doubt_in, known_doubt
from chopmark.ra.imported import Former, Way
from chopmark.ra.policy import Advice, Doubt, instead_of_renewal, may_start

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GOOD = GoodThere(NOW + SECOND)
UNKNOWN = UnknownThere(text("The list is late."))


def certificate(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 0x1234, NOW, NOW + SECOND)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


FIT = certificate(ec.generate_private_key(ec.SECP256R1()))
UNFIT = certificate(rsa.generate_private_key(3, 2048))


@pytest.mark.parametrize(
    ("status", "doubt"),
    [
        (GOOD, None),
        (GoodThere(NOW), Doubt.UNKNOWN),
        (GoodThere(NOW - SECOND), Doubt.UNKNOWN),
        (UNKNOWN, Doubt.UNKNOWN),
        (RevokedThere(ON_HOLD), Doubt.HELD),
        (RevokedThere("key_compromise", NOW), Doubt.REVOKED),
        (RevokedThere("unspecified"), Doubt.REVOKED),
    ],
)
def test_only_a_certificate_that_is_good_now_is_without_a_doubt(status: StatusThere, doubt: Doubt | None) -> None:
    assert doubt_in(status, NOW) is doubt


@dataclass
class Statuses:
    """What is known of every certificate; nobody is asked."""

    known: StatusThere | None

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        raise AssertionError("an overview asks nobody")

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        assert (issuer, serial, now) == ("old", "1234", NOW)
        return self.known


@pytest.mark.parametrize(
    ("known", "way", "doubt"),
    [
        (None, Way.FILE, None),
        (None, Way.UNKNOWN, None),
        (None, Way.VAULT, Doubt.NO_FILE),
        (None, Way.NONE, Doubt.NO_FILE),
        (GOOD, Way.FILE, None),
        (GOOD, Way.NONE, Doubt.NO_FILE),
        (GoodThere(NOW), Way.FILE, Doubt.UNKNOWN),
        (RevokedThere("superseded"), Way.NONE, Doubt.REVOKED),
        (RevokedThere(ON_HOLD), Way.FILE, Doubt.HELD),
    ],
)
async def test_what_is_known_counts_first_and_then_whether_there_is_a_file(
    known: StatusThere | None, way: Way, doubt: Doubt | None
) -> None:
    assert await known_doubt(Statuses(known), Former("old", "1234", way), FIT, NOW) is doubt


@pytest.mark.parametrize("known", [None, GOOD, UNKNOWN, RevokedThere("superseded")])
@pytest.mark.parametrize("der", [UNFIT, b"no certificate"], ids=["exponent 3", "no certificate"])
async def test_a_key_that_proves_nothing_is_the_doubt_whatever_its_ca_says(
    known: StatusThere | None, der: bytes
) -> None:
    assert await known_doubt(Statuses(known), Former("old", "1234", Way.FILE), der, NOW) is Doubt.KEY


def test_whose_key_proves_nothing_may_not_open_a_renewal_and_may_apply() -> None:
    advice = instead_of_renewal(Advice(Operation.REKEY, None, text("Renew.")), Doubt.KEY)
    assert (advice.operation, advice.reason) == (Operation.REPLACE, Reason.REPLACE)
    refused = may_start(Operation.REKEY, None, advice)
    assert refused is not None
    assert refused.code == "former_key"
    assert may_start(Operation.REPLACE, Reason.REPLACE, advice) is None
