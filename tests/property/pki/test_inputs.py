"""Whatever bytes arrive, the readers answer with a value: never an exception, never a longer wait."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from chopmark.core.refusal import Refusal
from chopmark.keys.adapter import as_private_key
from chopmark.pki import csr, key_checks, ocsp, proof
from chopmark.pki.der import NotDer, require_der
from chopmark.pki.draft import make_serial
from chopmark.pki.path import chain_findings
from chopmark.pki.profile import Lifetime
from tests.vectors.pki.house import NOW, customer, house
from tests.vectors.pki.requests import csr as request_of
from tests.vectors.pki.requests import p256, rsa2048


@st.composite
def bent(draw, make) -> bytes:
    """A good message with a few octets changed, removed or put in."""
    octets = bytearray(make())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets) - 1))
        octets[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(octets)


@cache
def good_request(key) -> bytes:
    return request_of(key())


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), bent(lambda: good_request(p256)), bent(lambda: good_request(rsa2048))))
def test_a_request_is_a_key_or_a_refusal(der):
    answer = csr.parse(der)
    if isinstance(answer, csr.Request):
        assert key_checks.judge(answer.spki_der) == ()
        assert answer.spki_sha256 == hashlib.sha256(answer.spki_der).hexdigest()
    else:
        assert isinstance(answer, Refusal)


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=300), bent(lambda: customer().public_key_der)))
def test_a_key_is_fit_exactly_when_it_has_a_kind_and_no_finding(spki):
    if not key_checks.judge(spki):
        assert key_checks.kind(spki)


def ocsp_request() -> bytes:
    cert_id = ocsp.cert_id(house().issuing, 5, "sha1").der
    inner = b"\x30" + bytes((len(cert_id),)) + cert_id
    for _ in range(3):
        inner = b"\x30" + bytes((len(inner),)) + inner
    return inner


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), bent(ocsp_request)))
def test_an_ocsp_request_is_read_or_malformed(der):
    answer = ocsp.parse_request(der)
    assert isinstance(answer, ocsp.OcspRequest | ocsp.Malformed)
    if isinstance(answer, ocsp.OcspRequest):
        assert all(ocsp.matches(asked, house().issuing) in (True, False) for asked in answer.cert_ids)


@cache
def signed_proof() -> tuple[bytes, bytes, proof.Statement]:
    certificate = house().issue(house().draft())
    digest = hashlib.sha256(certificate).digest()
    said = proof.Statement(proof.LABEL, "demo", "O", bytes(32), bytes(32), digest, "rekey", NOW)
    return proof.build(said, as_private_key(customer()), certificate), certificate, said


@settings(deadline=None)
@given(st.data())
def test_a_bent_proof_is_refused(data):
    signed, certificate, said = signed_proof()
    der = data.draw(st.one_of(st.binary(max_size=300), bent(lambda: signed)))
    expected = proof.Expected("demo", "O", bytes(32), bytes(32), said.certificate_sha256, "rekey", NOW)
    answer = proof.verify(der, certificate, expected)
    assert isinstance(answer, Refusal) or der == signed


@settings(deadline=None)
@given(bent(lambda: house().issuing.certificate_der))
def test_a_bent_certificate_breaks_the_path_and_nothing_else(der):
    made = house()
    found = chain_findings(made.ocsp_der, [der], made.root.certificate_der, NOW)
    assert found or der == made.issuing.certificate_der


@given(st.binary(max_size=60))
def test_der_is_der_or_not(data):
    try:
        require_der(data)
    except NotDer:
        return
    assert data


@given(st.integers(1, 0x7F), st.binary(min_size=17, max_size=17))
def test_a_serial_has_17_to_18_octets_and_is_positive(node, random):
    serial = make_serial(node, random)
    assert 136 < serial.bit_length() <= 143


@given(
    st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(1_577_836_800 + seconds, UTC)),
    st.integers(1, 5),
)
def test_a_year_has_365_or_366_days_and_ends_a_second_before_its_anniversary(start, years):
    length = Lifetime(years, 0).after(start) + timedelta(seconds=1) - start
    assert timedelta(days=365 * years) <= length <= timedelta(days=366 * years)
