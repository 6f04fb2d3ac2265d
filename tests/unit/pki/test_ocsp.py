"""OCSP as openssl asks and understands it."""

from datetime import timedelta

import pytest
from asn1crypto import core
from asn1crypto import ocsp as strange

from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import ocsp
from chopmark.pki.crl import CrlReason
from tests.vectors.pki.house import NOW, house, openssl, pem, write_chain
from tests.vectors.pki.requests import tlv

LATER = NOW + timedelta(hours=24)


def ask(made, folder, *serials, digest="sha1", nonce=False) -> bytes:
    _, issuing = write_chain(made, folder)
    arguments = [part for serial in serials for part in ("-serial", hex(serial))]
    kept = () if nonce else ("-no_nonce",)
    answer = openssl("ocsp", f"-{digest}", "-issuer", issuing, *arguments, *kept, "-reqout", folder / "req.der")
    assert answer.returncode == 0, answer.stderr
    return (folder / "req.der").read_bytes()


def understood(made, folder, response_der, *serials, digest="sha1"):
    root, issuing = write_chain(made, folder)
    (folder / "response.der").write_bytes(response_der)
    arguments = [part for serial in serials for part in ("-serial", hex(serial))]
    return openssl(
        "ocsp", "-respin", folder / "response.der", "-no_nonce", "-reqin", folder / "req.der",
        f"-{digest}", "-issuer", issuing,
        *arguments, "-CAfile", root, "-verify_other", issuing, "-attime", int(NOW.timestamp()),
        "-validity_period", "999999999",
    )  # fmt: skip


STATUSES = [
    (ocsp.Good(), b": good"),
    (ocsp.Revoked(NOW, CrlReason.SUPERSEDED), b"superseded"),
    (ocsp.Revoked(NOW, CrlReason.UNSPECIFIED), b": revoked"),
    (ocsp.Unknown(), b": unknown"),
]


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize(("status", "said"), STATUSES)
def test_openssl_understands_and_verifies_an_answer(tmp_path, algorithm, digest, status, said):
    made = house(algorithm)
    request = ocsp.parse_request(ask(made, tmp_path, 5, digest=digest, nonce=True))
    assert isinstance(request, ocsp.OcspRequest)
    [cert_id] = request.cert_ids
    assert ocsp.matches(cert_id, made.issuing)
    assert not ocsp.matches(cert_id, made.root)
    assert cert_id == ocsp.cert_id(made.issuing, 5, digest)
    answer = ocsp.Answer(cert_id.der, status, NOW, LATER)
    response = ocsp.build_response(made.ocsp_key, made.ocsp_der, [answer], NOW, request.nonce)
    read = understood(made, tmp_path, response, 5, digest=digest)
    assert b"Response verify OK" in read.stderr
    assert b"Nonce" not in read.stderr
    assert said in read.stdout


def test_each_of_several_certificates_has_its_own_answer(tmp_path):
    made = house()
    request = ocsp.parse_request(ask(made, tmp_path, 5, 6, 7))
    assert isinstance(request, ocsp.OcspRequest)
    assert request.nonce is None
    statuses: list[ocsp.Status] = [ocsp.Good(), ocsp.Revoked(NOW, CrlReason.KEY_COMPROMISE), ocsp.Unknown()]
    answers = [
        ocsp.Answer(asked.der, status, NOW, LATER) for asked, status in zip(request.cert_ids, statuses, strict=True)
    ]
    response = ocsp.build_response(made.ocsp_key, made.ocsp_der, answers, NOW)
    read = understood(made, tmp_path, response, 5, 6, 7)
    assert b"Response verify OK" in read.stderr
    for said in (b"0x5: good", b"0x6: revoked", b"keyCompromise", b"0x7: unknown"):
        assert said in read.stdout


def test_a_stranger_reads_the_responder_s_key_and_its_certificate():
    made = house()
    answer = ocsp.Answer(ocsp.cert_id(made.issuing, 5, "sha256").der, ocsp.Good(), NOW, LATER)
    response = strange.OCSPResponse.load(ocsp.build_response(made.ocsp_key, made.ocsp_der, [answer], NOW))
    basic = response.basic_ocsp_response
    [included] = basic["certs"]
    assert included.dump() == made.ocsp_der
    assert basic["tbs_response_data"]["responder_id"].chosen.native == included.public_key.sha1
    assert basic["tbs_response_data"]["produced_at"].native == NOW
    [single] = basic["tbs_response_data"]["responses"]
    assert (single["this_update"].native, single["next_update"].native) == (NOW, LATER)


def request_with_nonce(made, nonce: bytes) -> bytes:
    built = strange.OCSPRequest(
        {
            "tbs_request": {
                "request_list": [{"req_cert": strange.CertId.load(ocsp.cert_id(made.issuing, 5, "sha1").der)}],
                "request_extensions": [
                    {"extn_id": "nonce", "critical": False, "extn_value": core.ParsableOctetString(tlv(4, nonce))}
                ],
            }
        }
    )
    return built.dump()


@pytest.mark.parametrize("size", [0, 1, 16, 32, 128, 129])
def test_a_nonce_has_1_to_128_octets(size):
    answer = ocsp.parse_request(request_with_nonce(house(), b"n" * size))
    if 1 <= size <= 128:
        assert isinstance(answer, ocsp.OcspRequest)
        assert answer.nonce == b"n" * size
    else:
        assert isinstance(answer, ocsp.Malformed)


def test_an_unknown_critical_extension_is_malformed_and_an_uncritical_one_is_ignored():
    cert_id = ocsp.cert_id(house().issuing, 5, "sha1").der
    for critical, kind in ((b"\x01\x01\xff", ocsp.Malformed), (b"", ocsp.OcspRequest)):
        extension = tlv(0x30, bytes.fromhex("06022a03") + critical + tlv(4, b"\x05\x00"))
        single = tlv(0x30, cert_id + tlv(0xA0, tlv(0x30, extension)))
        whole = tlv(0xA2, tlv(0x30, extension))
        assert isinstance(ocsp.parse_request(tlv(0x30, tlv(0x30, tlv(0x30, single)))), kind)
        assert isinstance(ocsp.parse_request(tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, cert_id)) + whole))), kind)


def test_what_is_no_request_is_malformed():
    one = tlv(0x30, ocsp.cert_id(house().issuing, 5, "sha1").der)
    for bad in (
        b"",
        b"\x30\x00",
        tlv(0x30, tlv(0x30, tlv(0x30, b""))),
        tlv(0x30, tlv(0x30, tlv(0x30, one * 33))),
        tlv(0x30, tlv(0x30, tlv(0x30, one))) + b"\x00",
        bytes(20_000),
    ):
        assert isinstance(ocsp.parse_request(bad), ocsp.Malformed)


def test_the_name_of_a_requestor_is_ignored():
    one = tlv(0x30, ocsp.cert_id(house().issuing, 5, "sha1").der)
    named = tlv(0x30, tlv(0x30, tlv(0xA1, tlv(0x82, b"client.example")) + tlv(0x30, one)))
    assert isinstance(ocsp.parse_request(named), ocsp.OcspRequest)


def test_a_certid_of_another_hash_matches_no_issuer():
    sha512 = tlv(0x30, tlv(6, bytes.fromhex("608648016503040203")) + b"\x05\x00")
    cert_id = tlv(0x30, sha512 + tlv(4, bytes(64)) + tlv(4, bytes(64)) + b"\x02\x01\x05")
    request = ocsp.parse_request(tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, cert_id)))))
    assert isinstance(request, ocsp.OcspRequest)
    assert not ocsp.matches(request.cert_ids[0], house().issuing)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (ocsp.ErrorStatus.MALFORMED_REQUEST, b"malformedrequest"),
        (ocsp.ErrorStatus.TRY_LATER, b"trylater"),
        (ocsp.ErrorStatus.UNAUTHORIZED, b"unauthorized"),
    ],
)
def test_openssl_reads_the_answers_that_say_no(tmp_path, status, said):
    (tmp_path / "r.der").write_bytes(ocsp.error_response(status))
    answer = openssl("ocsp", "-respin", tmp_path / "r.der", "-text", "-noverify")
    assert said in (answer.stdout + answer.stderr).lower()


def test_an_answer_that_could_not_be_right_is_not_signed():
    made = house()
    cert_id = ocsp.cert_id(made.issuing, 5, "sha1").der
    early = ocsp.Answer(cert_id, ocsp.Good(), NOW, LATER)
    for answers, at in (([], NOW), ([early], NOW - timedelta(seconds=1)), ([early], LATER)):
        with pytest.raises(ValueError, match="times"):
            ocsp.build_response(made.ocsp_key, made.ocsp_der, answers, at)
    with pytest.raises(ValueError, match="another key"):
        ocsp.build_response(made.issuing_key, made.ocsp_der, [early], NOW)


def test_the_responder_s_certificate_may_sign_answers_and_nothing_else(tmp_path):
    made = house()
    root, issuing = write_chain(made, tmp_path)
    responder = tmp_path / "ocsp.pem"
    responder.write_bytes(pem(made.ocsp_der))
    common = ("verify", "-x509_strict", "-attime", int(NOW.timestamp()), "-CAfile", root, "-untrusted", issuing)
    assert openssl(*common, "-purpose", "ocsphelper", responder).returncode == 0
    assert openssl(*common, "-purpose", "sslclient", responder).returncode


# defaults written out ---------------------------------------------------------------------------------------------

VERSION = bytes.fromhex("a003020100")
NONCE_ID = bytes.fromhex("06092b0601050507300102")


def nonce_extension(critical: bytes) -> bytes:
    return tlv(0x30, NONCE_ID + critical + tlv(0x04, tlv(0x04, b"n" * 16)))


@pytest.mark.parametrize("version", [b"", VERSION])
@pytest.mark.parametrize("critical", [b"", bytes.fromhex("010100")])
@pytest.mark.parametrize("single", [b"", tlv(0xA0, tlv(0x30, tlv(0x30, b"\x06\x01\x2a\x01\x01\x00\x04\x00")))])
def test_defaults_that_a_client_writes_out_are_read_as_openssl_reads_them(tmp_path, version, critical, single):
    """`version v1` and `critical FALSE`: DER leaves them out, and programs exist that do not."""
    plain = ask(house(), tmp_path, 5)
    cert_id = plain[8:]  # after four SEQUENCE heads of two octets: request, body, list, one of it
    body = version + tlv(0x30, tlv(0x30, cert_id + single)) + tlv(0xA2, tlv(0x30, nonce_extension(critical)))
    der = tlv(0x30, tlv(0x30, body))
    (tmp_path / "written.der").write_bytes(der)
    said = openssl("ocsp", "-reqin", tmp_path / "written.der", "-req_text")
    assert b"Version: 1 (0x0)" in said.stdout, said.stderr
    read = ocsp.parse_request(der)
    assert isinstance(read, ocsp.OcspRequest), read
    assert (read.nonce, [one.serial for one in read.cert_ids]) == (b"n" * 16, [5])


@pytest.mark.parametrize("version", [bytes.fromhex("a003020101"), bytes.fromhex("a0030201ff")])
def test_another_version_is_malformed(tmp_path, version):
    plain = ask(house(), tmp_path, 5)
    assert isinstance(ocsp.parse_request(tlv(0x30, tlv(0x30, version + plain[4:]))), ocsp.Malformed)


def test_a_critical_extension_that_nobody_knows_is_malformed_still(tmp_path):
    plain = ask(house(), tmp_path, 5)
    unknown = tlv(0xA2, tlv(0x30, tlv(0x30, bytes.fromhex("06012a0101ff0400"))))
    assert isinstance(ocsp.parse_request(tlv(0x30, tlv(0x30, plain[4:] + unknown))), ocsp.Malformed)
