"""Another CA's lists, as openssl makes them: what is read of them, and what they are not believed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from chopmark.pki import crl_reading
from chopmark.pki.crl_reading import Outline, Revoked
from chopmark.pki.der import NotDer
from tests.old_ca import KEYS, REASONS, OldCa
from tests.tables import START

TOMORROW = START + timedelta(days=1)
BEFORE = START - timedelta(days=9)


@dataclass
class Held:
    """A list in memory that counts the most that was read of it at once."""

    der: bytes
    most: int = 0

    @property
    def size(self) -> int:
        return len(self.der)

    def read(self, offset: int, size: int) -> bytes:
        self.most = max(self.most, size)
        return self.der[offset : offset + size]


def key_of(certificate: bytes) -> object:
    return x509.load_der_x509_certificate(certificate).public_key()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    return OldCa(tmp_path_factory.mktemp("old"))


def entries_of(der: bytes) -> list[Revoked]:
    held = Held(der)
    return list(crl_reading.entries(held, crl_reading.outline(held).entries))


@pytest.mark.parametrize("key", KEYS)
def test_a_list_is_verified_under_the_key_that_signed_it_and_no_other(tmp_path: Path, old: OldCa, key: str) -> None:
    ca = OldCa(tmp_path, key=key, revoked={0x1234: (BEFORE, "keyCompromise")})
    held = Held(ca.crl(START, TOMORROW, number=77))
    found = crl_reading.outline(held)
    assert (found.number, found.this_update, found.next_update) == (77, START, TOMORROW)
    assert (found.unfit, found.scope_urls) == ("", None)
    assert found.issuer_der == x509.load_der_x509_certificate(ca.certificate).subject.public_bytes()
    assert crl_reading.verified_by(held, found, [key_of(old.certificate), key_of(ca.certificate)])
    assert not crl_reading.verified_by(held, found, [key_of(old.certificate)])
    assert list(crl_reading.entries(held, found.entries)) == [Revoked("1234", BEFORE, "key_compromise")]


def test_every_byte_of_a_list_is_under_its_signature(tmp_path: Path) -> None:
    ca = OldCa(tmp_path, revoked={0x77: (BEFORE, "superseded")})
    while (der := ca.crl(START, TOMORROW))[-1] % 2:
        pass  # a signature that ends in an even octet would hold with an unused bit, too
    key, believed = key_of(ca.certificate), []
    for place in range(len(der)):
        held = Held(der[:place] + bytes((der[place] ^ 1,)) + der[place + 1 :])
        try:
            found = crl_reading.outline(held)
        except ValueError:
            continue
        if crl_reading.verified_by(held, found, [key]):
            believed.append(place)
    assert believed == []


@pytest.mark.parametrize("cut", [0, 1, 5, 40, 100, -1, -40])
def test_what_is_cut_off_or_longer_is_no_list(old: OldCa, cut: int) -> None:
    der = old.crl(START, TOMORROW)
    with pytest.raises(ValueError, match=r"."):
        crl_reading.outline(Held(der[:cut]))
    with pytest.raises(NotDer, match="follow"):
        crl_reading.outline(Held(der + b"\0"))


def test_reasons_and_long_serial_numbers_are_read_as_openssl_wrote_them(tmp_path: Path) -> None:
    numbers = dict(zip((0x80, 0xFF01, int("7f" * 20, 16)), REASONS, strict=True))
    ca = OldCa(tmp_path, revoked={number: (BEFORE, reason) for number, reason in numbers.items()})
    found = entries_of(ca.crl(START, TOMORROW))
    wanted = {f"{'80' if n == 0x80 else f'{n:X}'}": REASONS[reason] for n, reason in numbers.items()}
    assert {one.serial: one.reason for one in found} == wanted


@pytest.mark.parametrize(
    ("number", "serial"),
    [("020100", "00"), ("02017f", "7F"), ("02020080", "80"), ("02020100", "0100")],
)
def test_a_serial_number_is_read_without_the_octet_that_makes_it_positive(number: str, serial: str) -> None:
    fields = bytes.fromhex(number) + b"\x17\x0d260301000000Z"
    entry = bytes((0x30, len(fields))) + fields
    (found,) = crl_reading.entries(Held(entry), (0, len(entry)))
    assert found == Revoked(serial, datetime.fromisoformat("2026-03-01T00:00:00+00:00"), "unspecified")


def test_an_empty_list_has_no_entries(old: OldCa) -> None:
    assert entries_of(old.crl(START, TOMORROW)) == []


def test_times_before_1950_and_after_2050_are_generalized(tmp_path: Path) -> None:
    far = datetime.fromisoformat("2051-07-01T00:00:00+00:00")
    der = OldCa(tmp_path).crl(START, far)
    assert crl_reading.outline(Held(der)).next_update == far


@pytest.mark.parametrize(
    ("extension", "unfit", "urls"),
    [
        ("issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://crl.old.example/1.crl", "", 1),
        ("issuingDistributionPoint = critical, @idp\n[idp]\nonlyuser = TRUE", "", 0),
        ("issuingDistributionPoint = critical, @idp\n[idp]\nonlyCA = TRUE", "not_for_customers", 0),
        ("issuingDistributionPoint = critical, @idp\n[idp]\nonlyAA = TRUE", "not_for_customers", 0),
        ("issuingDistributionPoint = critical, @idp\n[idp]\nindirectCRL = TRUE", "indirect", 0),
        ("issuingDistributionPoint = critical, @idp\n[idp]\nonlysomereasons = keyCompromise", "some_reasons", 0),
        ("2.5.29.27 = critical, ASN1:INTEGER:3", "delta", None),
        ("1.2.3.4 = critical, ASN1:NULL", "critical_extension", None),
        ("1.2.3.4 = ASN1:NULL", "", None),
    ],
)
def test_what_a_list_covers_is_read_and_what_is_not_understood_makes_it_unfit(
    tmp_path: Path, extension: str, unfit: str, urls: int | None
) -> None:
    found = crl_reading.outline(Held(OldCa(tmp_path, crl_extensions=extension).crl(START, TOMORROW)))
    assert found.unfit == unfit
    assert (None if found.scope_urls is None else len(found.scope_urls)) == urls


def test_a_list_signed_with_sha1_is_not_believed(tmp_path: Path) -> None:
    ca = OldCa(tmp_path, digest="sha1", key="rsa2048")
    held = Held(ca.crl(START, TOMORROW))
    assert not crl_reading.verified_by(held, crl_reading.outline(held), [key_of(ca.certificate)])


def test_a_large_list_is_read_in_windows(tmp_path: Path) -> None:
    many = {1 << 64 | number: (BEFORE, "superseded") for number in range(40_000)}
    ca = OldCa(tmp_path, revoked=many)
    held = Held(ca.crl(START, TOMORROW))
    found: Outline = crl_reading.outline(held)
    assert crl_reading.verified_by(held, found, [key_of(ca.certificate)])
    assert sum(1 for _ in crl_reading.entries(held, found.entries)) == 40_000
    assert held.size > crl_reading.WINDOW >= held.most
