"""What EST carries, read by strangers: openssl and the ASN.1 modules of the RFCs."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der import decoder
from pyasn1_alt_modules import rfc5280, rfc5480, rfc8951, rfc9908

from chopmark.ca.shipped import profile_text
from chopmark.pki import est
from chopmark.pki import profile as profiles
from tests.machine import program

INVESTOR = profile_text("investor")


def attributes(profile: str = INVESTOR) -> bytes:
    found = est.csr_attributes(profiles.load(profile))
    assert found is not None
    return found


def test_the_csr_attributes_are_rfc_8951_s_with_the_curve_and_its_signature() -> None:
    decoded, rest = decoder.decode(attributes(), asn1Spec=rfc8951.CsrAttrs())
    assert rest == b""
    key, signature, extensions, template = decoded
    assert key["attribute"]["attrType"] == rfc5480.id_ecPublicKey
    assert decoder.decode(key["attribute"]["attrValues"][0])[0] == rfc5480.secp256r1
    assert signature["oid"] == rfc5480.ecdsa_with_SHA256
    assert str(extensions["attribute"]["attrType"]) == "1.2.840.113549.1.9.14"
    assert template["attribute"]["attrType"] == rfc9908.id_aa_certificationRequestInfoTemplate


def test_the_template_is_rfc_9908_s_and_leaves_the_key_and_the_subject_open() -> None:
    decoded, _ = decoder.decode(attributes(), asn1Spec=rfc8951.CsrAttrs())
    value = bytes(decoded[3]["attribute"]["attrValues"][0])
    template, rest = decoder.decode(value, asn1Spec=rfc9908.CertificationRequestInfoTemplate())
    assert rest == b""
    assert template["version"] == 0
    assert not template["subject"].isValue
    algorithm = template["subjectPKInfo"]["algorithm"]
    assert algorithm["algorithm"] == rfc5480.id_ecPublicKey
    assert decoder.decode(algorithm["parameters"])[0] == rfc5480.secp256r1
    assert not template["subjectPKInfo"]["subjectPublicKey"].isValue
    (wanted,) = template["attributes"]
    extensions, _ = decoder.decode(bytes(wanted["values"][0]), asn1Spec=rfc5280.Extensions())
    usage, purposes = extensions
    assert (usage["extnID"], bool(usage["critical"])) == (rfc5280.id_ce_keyUsage, True)
    asked, _ = decoder.decode(bytes(usage["extnValue"]), asn1Spec=rfc5280.KeyUsage())
    assert asked.asBinary() == "11", "digitalSignature and nonRepudiation"
    eku, _ = decoder.decode(bytes(purposes["extnValue"]), asn1Spec=rfc5280.ExtKeyUsageSyntax())
    assert set(eku) == {rfc5280.id_kp_clientAuth, rfc5280.id_kp_emailProtection}


def test_a_profile_without_a_curve_wants_nothing_in_particular() -> None:
    keys = 'keys = ["P256", "P384", "RSA2048", "RSA3072", "RSA4096"]'
    assert keys in INVESTOR
    assert est.csr_attributes(profiles.load(INVESTOR.replace(keys, 'keys = ["RSA3072"]'))) is None
    wanted, _ = decoder.decode(attributes(INVESTOR.replace(keys, 'keys = ["P384"]')), asn1Spec=rfc8951.CsrAttrs())
    assert decoder.decode(wanted[0]["attribute"]["attrValues"][0])[0] == rfc5480.secp384r1


def openssl(folder: Path, *arguments: str) -> str:
    made = subprocess.run([program("openssl"), *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return made.stdout


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A key and a certificate by openssl, with two RDNs and one alternative name."""
    openssl(tmp_path, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem")
    subject, names = ("-subj", "/C=TW/CN=C0001234"), ("-addext", "subjectAltName=DNS:a.example.com")
    made = ("req", "-x509", "-key", "key.pem", *subject, *names, "-outform", "DER", "-out", "cert.der")
    openssl(tmp_path, *made)
    openssl(tmp_path, "x509", "-inform", "DER", "-in", "cert.der", "-out", "cert.pem")
    return tmp_path


def request(folder: Path, *arguments: str) -> bytes:
    openssl(folder, "req", "-new", "-key", "key.pem", "-outform", "DER", "-out", "csr.der", *arguments)
    return (folder / "csr.der").read_bytes()


SUBJECT = ("-subj", "/C=TW/CN=C0001234")
SAN = ("-addext", "subjectAltName=DNS:a.example.com")


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        ((*SUBJECT, *SAN), True),
        ((*SUBJECT, *SAN, "-utf8"), True),
        (SUBJECT, False),
        ((*SUBJECT, "-addext", "subjectAltName=DNS:b.example.com"), False),
        ((*SUBJECT, "-addext", "subjectAltName=DNS:a.example.com,DNS:b.example.com"), False),
        (("-subj", "/C=TW/CN=C0001235", *SAN), False),
        (("-subj", "/CN=C0001234/C=TW", *SAN), False),
        (("-subj", "/C=TW/CN=C0001234/CN=C0001234", *SAN), False),
        (("-subj", "/", *SAN), False),
    ],
)
def test_a_renewal_asks_for_the_names_of_its_certificate(made: Path, arguments: tuple[str, ...], same: bool) -> None:
    assert est.names_the_same(request(made, *arguments), (made / "cert.der").read_bytes()) is same


def test_a_renewal_that_wants_another_name_by_rfc_6402_asks_for_something_else(made: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (made / "cert.der").read_bytes()
    subject = x509.load_der_x509_certificate(certificate).subject
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    names = x509.SubjectAlternativeName([x509.DNSName("a.example.com")])
    same = builder.add_extension(names, critical=False)
    changed = same.add_attribute(x509.ObjectIdentifier("1.3.6.1.5.5.7.7.36"), b"\x30\x00")
    assert est.names_the_same(same.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), certificate)
    assert not est.names_the_same(changed.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), certificate)


def test_what_is_no_request_names_nobody(made: Path) -> None:
    assert not est.names_the_same(b"0", (made / "cert.der").read_bytes())
    assert not est.names_the_same(request(made, *SUBJECT, *SAN), b"0")


def test_openssl_reads_a_certs_only_message(made: Path) -> None:
    certificate = (made / "cert.der").read_bytes()
    (made / "made.p7").write_bytes(est.certs_only([certificate]))
    printed = openssl(made, "pkcs7", "-inform", "DER", "-in", "made.p7", "-print_certs")
    assert x509.load_pem_x509_certificates(printed.encode()) == [x509.load_der_x509_certificate(certificate)]
    shape = openssl(made, "asn1parse", "-inform", "DER", "-in", "made.p7")
    assert "pkcs7-signedData" in shape
    assert shape.rstrip().endswith("SET"), "no signer"


@pytest.mark.parametrize("body", [b"MAA=", b"MA\r\nA=\r\n", b" M A\tA = ", b"MAA=\n"])
def test_white_space_in_base64_is_tolerated(body: bytes) -> None:
    assert est.from_base64(body) == b"0\x00"


@pytest.mark.parametrize("body", [b"", b"\n", b"MAA", b"MA-_", b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=", b"\xff"])
def test_anything_but_base64_is_refused(body: bytes) -> None:
    assert est.from_base64(body) is None
