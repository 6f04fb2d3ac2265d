"""Who may answer for another CA, built by construction: a responder of its own, within its time, and nobody else."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chopmark.pki import ocsp_reading
from chopmark.pki.ocsp_reading import Asked, Judged, Misfit

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ASKED = Asked(0x2001, bytes(range(32)))
NONCE = x509.OCSPNonce(ASKED.nonce)
CA_KEY, FORGER_KEY, RESPONDER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
    *,
    starts: datetime = NOW - DAY,
) -> x509.Certificate:
    """A certificate that names the CA as its issuer, whoever has signed it."""
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("The CA"))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(starts)
        .not_valid_after(NOW + DAY)
        .add_extension(extension, critical=False)
        .sign(by, hashes.SHA256())
    )


ANSWERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
CA = certificate("The CA", CA_KEY, CA_KEY, x509.BasicConstraints(ca=True, path_length=0))


@dataclass
class Said:
    """An answer about the certificate, signed by `key`; as it stands, by the CA itself."""

    key: ec.EllipticCurvePrivateKey = CA_KEY
    responder: x509.Certificate = CA
    extensions: list[tuple[x509.ExtensionType, bool]] = field(default_factory=lambda: [(NONCE, False)])

    def judged(self) -> Judged | Misfit:
        digest = hashes.Hash(hashes.SHA1())
        digest.update(CA.subject.public_bytes())
        key_hash = x509.SubjectKeyIdentifier.from_public_key(CA_KEY.public_key()).digest
        made = ocsp.OCSPResponseBuilder().add_response_by_hash(
            digest.finalize(), key_hash, ASKED.serial, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD,
            NOW, NOW + DAY, None, None,
        )  # fmt: skip
        made = made.responder_id(ocsp.OCSPResponderEncoding.NAME, self.responder).certificates([self.responder])
        for extension, critical in self.extensions:
            made = made.add_extension(extension, critical)
        answer = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return ocsp_reading.judge(answer, CA, ASKED, (), NOW)


GOOD = Judged(NOW + DAY)


def test_the_ca_and_a_responder_that_it_has_certified_may_answer() -> None:
    assert Said().judged() == GOOD
    assert Said(RESPONDER_KEY, certificate("R", RESPONDER_KEY, CA_KEY, ANSWERS)).judged() == GOOD


def test_nobody_answers_by_a_certificate_of_their_own_making_that_names_the_ca_as_its_issuer() -> None:
    assert Said(RESPONDER_KEY, certificate("R", RESPONDER_KEY, FORGER_KEY, ANSWERS)).judged() == Misfit("signer")
    assert Said(FORGER_KEY, certificate("R", FORGER_KEY, FORGER_KEY, ANSWERS)).judged() == Misfit("signer")


def test_a_responder_may_answer_from_the_first_second_of_its_certificate() -> None:
    first = certificate("R", RESPONDER_KEY, CA_KEY, ANSWERS, starts=NOW)
    later = certificate("R", RESPONDER_KEY, CA_KEY, ANSWERS, starts=NOW + SECOND)
    assert Said(RESPONDER_KEY, first).judged() == GOOD
    assert Said(RESPONDER_KEY, later).judged() == Misfit("signer")


def test_the_nonce_may_be_critical_and_nothing_that_is_not_understood_may() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert Said(extensions=[(NONCE, True)]).judged() == GOOD
    assert Said(extensions=[(NONCE, False), (unknown, False)]).judged() == GOOD
    assert Said(extensions=[(NONCE, False), (unknown, True)]).judged() == Misfit("critical_extension")
