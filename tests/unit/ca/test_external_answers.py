"""What the answers of another CA over EST and cfssl mean: certain that nothing was made, for good, or nobody knows."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from chopmark.ca.external.cfssl import AuthKey, CfsslClient
from chopmark.ca.external.est import EstClient
from chopmark.ca.external.ports import Answer, Denied, Ending, ExternalRequest, NotReached, Received, Silent, Waiting
from chopmark.ca.external.wire import Said
from chopmark.core.types import Secret

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
OURS, THEIRS = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
BEGINS, ENDS = datetime(2026, 3, 1, tzinfo=UTC), datetime(2027, 3, 1, tzinfo=UTC)
AUTHORITY = x509.AuthorityKeyIdentifier(b"\xab\xcd", None, None)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(key: ec.EllipticCurvePrivateKey, name: str = "C1", *extensions: x509.ExtensionType) -> x509.Certificate:
    made = x509.CertificateBuilder(named("A CA"), named(name), key.public_key(), 7, BEGINS, ENDS)
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(THEIRS, hashes.SHA256())


MADE, ABOVE = certificate(OURS), certificate(THEIRS, "A CA")
CSR = x509.CertificateSigningRequestBuilder(named("C1")).sign(OURS, hashes.SHA256()).public_bytes(DER)
SPKI = OURS.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SUBJECT = (("C", "TW"), ("O", "Firm"), ("OU", "Unit"), ("CN", "C1"), ("serialNumber", "42"))


def asked(replaces: x509.Certificate | None = None) -> ExternalRequest:
    old = None if replaces is None else replaces.public_bytes(DER)
    return ExternalRequest(bytes(16), CSR, SPKI, SUBJECT, "their-profile", old)


@dataclass
class Wire:
    """Answers as it is told, in order; `sent` has the path and body of each request."""

    answers: list[Said | NotReached | Silent]
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> Said | NotReached | Silent:
        self.sent.append((path, body))
        return self.answers.pop(0)

    async def get(self, path: str) -> Said | NotReached | Silent:
        return await self.post(path, b"", {})


def est(wire: Wire) -> EstClient:
    return EstClient(wire, "", "", Secret(""))  # type: ignore[arg-type]


def cfssl(wire: Wire) -> CfsslClient:
    return CfsslClient(wire, AuthKey(Secret("00" * 16)))  # type: ignore[arg-type]


def bag(*certificates: x509.Certificate) -> bytes:
    return base64.encodebytes(pkcs7.serialize_certificates(list(certificates), DER))


def told(**table: object) -> Said:
    return Said(200, {}, json.dumps(table).encode())


AFTER = {"retry-after": "30"}
NOT_ASKED: list[tuple[Said | NotReached | Silent, Answer]] = [
    (NotReached("unreachable"), NotReached("unreachable")),
    (Silent("timeout"), Silent("timeout")),
    (Said(429, AFTER, b""), NotReached("busy", 30)),
    (Said(503, AFTER, b""), NotReached("busy", 30)),
    (Said(503, {}, b""), NotReached("busy", None)),
]
"""What both clients take in the same way."""


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        *NOT_ASKED,
        (Said(202, AFTER, b""), Waiting(30)),
        (Said(202, {}, b""), Waiting(60)),
        (Said(202, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""), Waiting(60)),
        (Said(401, {}, b""), NotReached("credentials", 60)),
        (Said(403, {}, b""), NotReached("credentials", 60)),
        (Said(400, {}, b""), Denied("http_400")),
        (Said(404, {}, b""), Denied("http_404")),
        (Said(499, {}, b""), Denied("http_499")),
        (Said(399, {}, b""), Silent("http_399")),
        (Said(302, {}, b""), Silent("http_302")),
        (Said(500, {}, b""), Silent("http_500")),
        (Said(200, {}, b""), Silent("garbage")),
        (Said(200, {}, b"<html>"), Silent("garbage")),
        (Said(200, {}, bag(MADE)), Received(MADE.public_bytes(DER), ())),
        (Said(200, {}, bag(ABOVE, MADE)), Received(MADE.public_bytes(DER), (ABOVE.public_bytes(DER),))),
        (Said(200, {}, bag(MADE, ABOVE)), Received(MADE.public_bytes(DER), (ABOVE.public_bytes(DER),))),
    ],
)
async def test_what_an_est_server_says_to_a_request(said: Said | NotReached | Silent, answer: Answer) -> None:
    assert await est(Wire([said])).request(asked()) == answer
    assert await est(Wire([said])).poll(asked(), b"") == answer


@pytest.mark.parametrize(
    ("replaces", "verb"),
    [(None, "simpleenroll"), (certificate(THEIRS), "simplereenroll"), (certificate(THEIRS, "C2"), "simpleenroll")],
    ids=["nothing", "one of the same name", "one of another name"],
)
async def test_a_request_to_est_is_a_renewal_only_under_the_same_name(
    replaces: x509.Certificate | None, verb: str
) -> None:
    wire = Wire([Silent("timeout")])
    await est(wire).request(asked(replaces))
    assert [path for path, _ in wire.sent] == [f"/.well-known/est/{verb}"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (Said(200, {}, bag(ABOVE)), (ABOVE.public_bytes(DER),)),
        (Said(200, {}, b"<html>"), ()),
        (Said(202, {}, bag(ABOVE)), None),
        (Said(500, {}, bag(ABOVE)), None),
        (Silent("timeout"), None),
        (NotReached("unreachable"), None),
    ],
)
async def test_only_a_200_tells_the_certificates_of_an_est_server(
    said: Said | NotReached | Silent, found: tuple[bytes, ...] | None
) -> None:
    assert await est(Wire([said])).ca_certificates() == found


WITH_PEM: dict[str, Any] = {"certificate": (MADE.public_bytes(PEM) + ABOVE.public_bytes(PEM)).decode()}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        *NOT_ASKED,
        (told(success=True, result=WITH_PEM), Received(MADE.public_bytes(DER), (ABOVE.public_bytes(DER),))),
        (told(success=False, result=WITH_PEM), Silent("cfssl_0")),
        (told(success="true", result=WITH_PEM), Silent("cfssl_0")),
        (told(success=True, result={}), Silent("garbage")),
        (told(success=True, result=None), Silent("garbage")),
        (told(success=False, errors=[{"code": 400}]), NotReached("credentials", 60)),
        (told(success=False, errors=[{"code": 1200}]), Denied("cfssl_1200")),
        (told(success=False, errors=[{"code": 5100}]), Denied("cfssl_5100")),
        (told(success=False, errors=[{"code": 9002}]), Denied("cfssl_9002")),
        (told(success=False, errors=[{"code": 2001}]), Silent("cfssl_2001")),
        (told(success=False, errors=[{"code": 11200}]), Silent("cfssl_11200")),
        (told(success=False, errors=[]), Silent("cfssl_0")),
        (told(success=False, errors=None), Silent("cfssl_0")),
        (told(success=False, errors={"code": 1200}), Silent("cfssl_0")),
        (told(success=False, errors=["1200"]), Silent("cfssl_0")),
        (told(success=False, errors=[{"code": "1200"}]), Silent("cfssl_0")),
        (Said(200, {}, b"[]"), Silent("garbage")),
        (Said(500, {}, b"<html>"), Silent("garbage")),
    ],
)
async def test_what_cfssl_says_to_a_request(said: Said | NotReached | Silent, answer: Answer) -> None:
    assert await cfssl(Wire([said])).request(asked()) == answer


async def test_cfssl_is_asked_for_each_part_of_our_subject() -> None:
    wire = Wire([Silent("timeout")])
    await cfssl(wire).request(asked())
    ((path, body),) = wire.sent
    assert path == "/api/v1/cfssl/authsign"
    request = json.loads(base64.b64decode(json.loads(body)["request"]))
    assert request["subject"] == {
        "names": [{"C": "TW"}, {"O": "Firm"}, {"OU": "Unit"}], "CN": "C1", "serialnumber": "42"
    }  # fmt: skip
    assert request["profile"] == "their-profile"


DONE, UNKNOWN = told(success=True), told(success=False, errors=[{"code": 11200}])


@pytest.mark.parametrize(
    ("said", "ending", "identifiers"),
    [
        ([DONE], Ending.DONE, ["abcd"]),
        ([UNKNOWN, DONE], Ending.DONE, ["abcd", ""]),
        ([UNKNOWN, UNKNOWN], Ending.LATER, ["abcd", ""]),
        ([told(success=False, errors=[{"code": 1200}]), DONE], Ending.LATER, ["abcd"]),
        ([told(success="true"), DONE], Ending.LATER, ["abcd"]),
        ([Silent("timeout"), DONE], Ending.LATER, ["abcd"]),
        ([Said(500, {}, b"<html>"), DONE], Ending.LATER, ["abcd"]),
    ],
)
async def test_cfssl_has_revoked_only_what_it_says_it_has(
    said: list[Said | NotReached | Silent], ending: Ending, identifiers: list[str]
) -> None:
    wire = Wire(list(said))
    der = certificate(OURS, "C1", AUTHORITY).public_bytes(DER)
    assert await cfssl(wire).revoke(der, "key_compromise") is ending
    bodies = [json.loads(body) for _, body in wire.sent]
    assert [body["authority_key_id"] for body in bodies] == identifiers
    assert {(body["serial"], body["reason"]) for body in bodies} == {("7", "keycompromise")}


@pytest.mark.parametrize(
    "extensions", [(), (x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(named("A CA"))], 7),)]
)
async def test_a_certificate_that_does_not_name_its_ca_s_key_is_looked_for_without(
    extensions: tuple[x509.ExtensionType, ...],
) -> None:
    wire = Wire([UNKNOWN])
    assert (
        await cfssl(wire).revoke(certificate(OURS, "C1", *extensions).public_bytes(DER), "superseded") is Ending.LATER
    )
    assert [json.loads(body)["authority_key_id"] for _, body in wire.sent] == [""]
