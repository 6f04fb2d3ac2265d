"""Which list of a former issuer may replace the one before, and whose keys may sign it, by hand-made lists."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chopmark.pki import crl_reading
from chopmark.pki.crl_reading import Outline
from chopmark.va.former.lists import MAX_SKEW, is_older, keys_of, misfit
from chopmark.va.former.ports import FormerCa, KeptList, ListSource, Location

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
HERE = "http://crl.example/1.crl"
LOCATION = Location(HERE, HERE)
NEW = KeptList("old", HERE)
CA_KEY, SIGNER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The old CA")])
DER = serialization.Encoding.DER


class Held(bytes):
    """A list in memory."""

    @property
    def size(self) -> int:
        return len(self)

    def read(self, offset: int, size: int) -> bytes:
        return self[offset : offset + size]


def certificate(
    key: ec.EllipticCurvePrivateKey, *, crl_sign: bool | None, starts: datetime = NOW - DAY, ends: datetime = NOW + DAY
) -> bytes:
    made = x509.CertificateBuilder(CA_NAME, CA_NAME, key.public_key(), 1, starts, ends)
    if crl_sign is not None:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=crl_sign, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        made = made.add_extension(usage, critical=True)
    return made.sign(CA_KEY, hashes.SHA256()).public_bytes(DER)


CA = FormerCa("old", (certificate(CA_KEY, crl_sign=True),), ListSource((LOCATION,)))


def outlined(
    number: int | None = 7,
    begins: datetime = NOW,
    ends: datetime = NOW + DAY,
    scope: str | None = None,
    *,
    of: x509.Name = CA_NAME,
    delta: bool = False,
) -> Outline:
    made = x509.CertificateRevocationListBuilder().issuer_name(of).last_update(begins).next_update(ends)
    if number is not None:
        made = made.add_extension(x509.CRLNumber(number), critical=False)
    if scope is not None:
        point = x509.IssuingDistributionPoint(
            [x509.UniformResourceIdentifier(scope)], None, only_contains_user_certs=False,
            only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=False,
            only_contains_attribute_certs=False,
        )  # fmt: skip
        made = made.add_extension(point, critical=True)
    if delta:
        made = made.add_extension(x509.DeltaCRLIndicator(3), critical=True)
    return crl_reading.outline(Held(made.sign(CA_KEY, hashes.SHA256()).public_bytes(DER)))


def kept(number: int | None, begins: datetime = NOW) -> KeptList:
    return KeptList("old", HERE, number=number, this_update=begins, next_update=begins + DAY)


@pytest.mark.parametrize(
    ("before", "found", "older"),
    [
        (NEW, outlined(7), False),
        (NEW, outlined(None), False),
        (kept(7), outlined(7), False),
        (kept(7), outlined(8), False),
        (kept(7), outlined(6, NOW + SECOND), True),
        (kept(7), outlined(None, NOW + SECOND), True),
        (kept(7), outlined(8, NOW - SECOND), True),
        (kept(None), outlined(None), False),
        (kept(None), outlined(1), False),
        (kept(None), outlined(None, NOW - SECOND), True),
    ],
)
def test_a_list_is_older_by_its_number_or_by_its_time(before: KeptList, found: Outline, *, older: bool) -> None:
    assert is_older(found, before) is older
    assert misfit(found, CA, LOCATION, before, NOW + SECOND) == ("older" if older else "")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (outlined(scope=HERE), ""),
        (outlined(scope=HERE.replace("1", "2")), "scope"),
        (outlined(delta=True), "delta"),
        (outlined(of=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Another CA")])), "other_issuer"),
        (outlined(begins=NOW + MAX_SKEW), ""),
        (outlined(begins=NOW + MAX_SKEW + SECOND), "future"),
        (outlined(begins=NOW - DAY, ends=NOW + SECOND), ""),
        (outlined(begins=NOW - DAY, ends=NOW), "late"),
    ],
)
def test_each_thing_that_does_not_fit_has_its_word(found: Outline, why: str) -> None:
    assert misfit(found, CA, LOCATION, NEW, NOW) == why


@pytest.mark.parametrize(
    ("signer", "counts"),
    [
        (certificate(SIGNER_KEY, crl_sign=True), True),
        (certificate(SIGNER_KEY, crl_sign=None), True),
        (certificate(SIGNER_KEY, crl_sign=False), False),
        (certificate(SIGNER_KEY, crl_sign=True, starts=NOW), True),
        (certificate(SIGNER_KEY, crl_sign=True, starts=NOW + SECOND), False),
        (certificate(SIGNER_KEY, crl_sign=True, ends=NOW), True),
        (certificate(SIGNER_KEY, crl_sign=True, ends=NOW - SECOND), False),
    ],
)
def test_a_signer_counts_within_its_time_and_if_it_may_sign_lists(signer: bytes, *, counts: bool) -> None:
    ca = FormerCa("old", CA.certificates, ListSource((LOCATION,), (signer,)))
    assert keys_of(ca, NOW) == [CA_KEY.public_key(), *([SIGNER_KEY.public_key()] if counts else [])]


def test_the_pinned_certificate_of_the_ca_counts_even_after_its_end_and_only_if_it_may_sign_lists() -> None:
    ended = certificate(CA_KEY, crl_sign=True, ends=NOW - SECOND)
    assert keys_of(FormerCa("old", (ended,), ListSource((LOCATION,))), NOW) == [CA_KEY.public_key()]
    assert keys_of(FormerCa("old", (certificate(CA_KEY, crl_sign=False),), ListSource((LOCATION,))), NOW) == []
