"""What the answers of another CA over CMP mean (RFC 9483, RFC 9810), from a CA that answers as the test says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chopmark.ca.external.cmp import CmpClient
from chopmark.ca.external.ports import (
    Answer,
    Denied,
    Ending,
    ExternalRequest,
    NotReached,
    Over,
    Received,
    Silent,
    Waiting,
)
from chopmark.ca.external.wire import Said
from chopmark.core.types import Secret
from chopmark.pki import cmp
from chopmark.pki.cmp import Body, Header, Shared
from chopmark.pki.cmp_asn1 import (
    CertRepMessage,
    CertResponse,
    ErrorContent,
    OnePollRep,
    PkiHeader,
    PkiMessage,
    PollRep,
    RevocationReply,
    StatusInfo,
)
from chopmark.pki.der import encoded, parts, tlv
from tests.tables import Clock

DER = serialization.Encoding.DER
NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SHARED = Shared("ra-1", Secret("a secret of this test"))
CA_NONCE = b"C" * 16
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A CA")])
MADE = (
    x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, NOW, datetime(2027, 3, 1, tzinfo=UTC))
    .sign(KEY, hashes.SHA256())
    .public_bytes(DER)
)
SPKI = KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
RECEIVED = Received(MADE, (), CA_NONCE)
NULL = b"\x05\x00"


def asked(replaces: bytes | None = None) -> ExternalRequest:
    return ExternalRequest(b"T" * 16, b"", SPKI, (("CN", "C1"),), "their-profile", replaces)


class Counting:
    """Random bytes that differ, and how long each of them is."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def token(self, size: int) -> bytes:
        self.sizes.append(size)
        return len(self.sizes).to_bytes(size, "big")


Content = tuple[Body, bytes]


@dataclass
class Ca:
    """Answers every message with the same body, or with what the wire says; `heard` are our headers and kinds."""

    says: Content | Said | NotReached | Silent
    heard: list[tuple[PkiHeader, int]] = field(default_factory=list)

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> Said | NotReached | Silent:
        message = asn1.decode_der(PkiMessage, body)
        head = asn1.decode_der(PkiHeader, encoded(message.header))
        self.heard.append((head, parts(encoded(message.body))[0].tag & 0x1F))
        if not isinstance(self.says, tuple):
            return self.says
        kind, content = self.says
        assert head.transaction is not None
        assert head.nonce is not None
        ours = Header(NAME.public_bytes(), head.transaction, CA_NONCE, head.nonce, NOW)
        return Said(200, {}, cmp.write(SHARED, ours, kind, content, b"S" * 16))


def client(ca: Ca, entropy: Counting | None = None) -> CmpClient:
    return CmpClient(ca, SHARED, NAME.public_bytes(), Clock(NOW), entropy or Counting())  # type: ignore[arg-type]


def status(number: int, *failures: int) -> StatusInfo:
    bits = asn1.BitString(sum(1 << 31 - one for one in failures).to_bytes(4, "big"), 0) if failures else None
    return StatusInfo(status=number, text=None, failures=bits)


def reply(number: int, *failures: int, certificate: bytes | None = None, kind: Body = Body.IP) -> Content:
    pair = None if certificate is None else [asn1.decode_der(asn1.TLV, tlv(0xA0, certificate))]
    response = CertResponse(number=0, status=status(number, *failures), key_pair=pair, information=None)
    return kind, asn1.encode_der(CertRepMessage(authorities=None, responses=[response]))


def error(*failures: int) -> Content:
    return Body.ERROR, asn1.encode_der(ErrorContent(status=status(2, *failures), code=None, details=None))


ANSWERS: list[tuple[Content | Said | NotReached | Silent, Answer]] = [
    (NotReached("unreachable"), NotReached("unreachable")),
    (Silent("timeout"), Silent("timeout")),
    (Said(429, {"retry-after": "30"}, b""), NotReached("busy", 30)),
    (Said(503, {}, b""), NotReached("busy", None)),
    (Said(200, {}, b"<html>"), Silent("garbage")),
    (reply(0, certificate=MADE), RECEIVED),
    (reply(1, certificate=MADE), RECEIVED),
    (reply(0, certificate=MADE, kind=Body.KUP), RECEIVED),
    (reply(0), Silent("no_certificate")),
    (reply(3), Waiting(1, CA_NONCE)),
    (reply(2), Denied("cmp_2")),
    (reply(2, certificate=MADE), Denied("cmp_2")),
    (reply(4, certificate=MADE), Denied("cmp_4")),
    (reply(2, 19), Denied("cmp_19")),
    (reply(2, 1), NotReached("credentials", 60)),
    (reply(2, 12), NotReached("credentials", 60)),
    (reply(2, 20), NotReached("credentials", 60)),
    (reply(2, 23, 19), NotReached("credentials", 60)),
    (reply(2, 24), NotReached("unavailable", 60)),
    (reply(2, 25), Over("cmp_25")),
    (reply(2, 21, 26), Over("cmp_21")),
    ((Body.IP, NULL), Silent("garbage")),
    ((Body.PKICONF, NULL), Silent("unexpected_body")),
    ((Body.RP, NULL), Silent("unexpected_body")),
]


@pytest.mark.parametrize(
    ("says", "answer"), [*ANSWERS, (error(19), Denied("cmp_19")), (error(24), NotReached("unavailable", 60))]
)
async def test_what_a_ca_says_to_a_request(says: Content | Said | NotReached | Silent, answer: Answer) -> None:
    assert await client(Ca(says)).request(asked()) == answer


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        *ANSWERS,
        (error(19), Over("cmp_error")),
        (
            (Body.POLL_REP, asn1.encode_der(OnePollRep(one=PollRep(number=0, seconds=40, text=None)))),
            Waiting(40, CA_NONCE),
        ),
        ((Body.POLL_REP, NULL), Silent("garbage")),
    ],
)
async def test_what_a_ca_says_to_a_poll(says: Content | Said | NotReached | Silent, answer: Answer) -> None:
    ca = Ca(says)
    assert await client(ca).poll(asked(), b"P" * 16) == answer
    ((head, kind),) = ca.heard
    assert (kind, head.transaction, head.answers) == (Body.POLL_REQ, b"T" * 16, b"P" * 16)


@pytest.mark.parametrize(("replaces", "kind"), [(None, Body.IR), (MADE, Body.KUR)])
async def test_a_request_that_renews_a_certificate_is_a_key_update(replaces: bytes | None, kind: Body) -> None:
    ca = Ca(Silent("timeout"))
    await client(ca).request(asked(replaces))
    ((head, heard),) = ca.heard
    assert (heard, head.transaction, head.answers) == (kind, b"T" * 16, None)
    assert len(head.nonce or b"") == 16


@pytest.mark.parametrize(
    ("says", "ending"),
    [
        ((Body.PKICONF, NULL), Ending.DONE),
        (error(19), Ending.BY_HAND),
        (reply(0, certificate=MADE), Ending.BY_HAND),
        (Silent("timeout"), Ending.LATER),
        (NotReached("unreachable"), Ending.LATER),
        (Said(503, {}, b""), Ending.LATER),
        (Said(200, {}, b"<html>"), Ending.LATER),
    ],
)
async def test_a_certificate_counts_only_after_the_ca_has_confirmed(
    says: Content | Said | NotReached | Silent, ending: Ending
) -> None:
    ca = Ca(says)
    assert await client(ca).accept(asked(), RECEIVED) is ending
    ((head, kind),) = ca.heard
    assert (kind, head.transaction, head.answers) == (Body.CERT_CONF, b"T" * 16, CA_NONCE)


def revoked(*statuses: StatusInfo) -> Content:
    return Body.RP, asn1.encode_der(RevocationReply(statuses=list(statuses), certificates=None, lists=None))


@pytest.mark.parametrize(
    ("says", "ending"),
    [
        (revoked(status(0)), Ending.DONE),
        (revoked(status(1)), Ending.DONE),
        (revoked(status(4)), Ending.DONE),
        (revoked(status(5)), Ending.DONE),
        (revoked(status(2)), Ending.LATER),
        (revoked(status(3)), Ending.LATER),
        (revoked(status(2, 10)), Ending.DONE),
        (revoked(status(2, 19)), Ending.LATER),
        (revoked(status(0), status(0)), Ending.LATER),
        ((Body.RP, NULL), Ending.LATER),
        (error(10), Ending.DONE),
        (error(19), Ending.LATER),
        ((Body.PKICONF, NULL), Ending.LATER),
        (Silent("timeout"), Ending.LATER),
        (NotReached("unreachable"), Ending.LATER),
    ],
)
async def test_a_certificate_is_revoked_only_if_the_ca_says_so(
    says: Content | Said | NotReached | Silent, ending: Ending
) -> None:
    entropy, ca = Counting(), Ca(says)
    assert await client(ca, entropy).revoke(MADE, "superseded") is ending
    ((head, kind),) = ca.heard
    assert (kind, head.answers) == (Body.RR, None)
    assert entropy.sizes == [16, 16, 16], "transaction, nonce and salt have 128 bits (RFC 9483 s.3.1)"
    assert head.transaction not in {None, b"T" * 16}


async def test_a_certificate_that_does_not_fit_is_refused_under_the_same_transaction() -> None:
    ca = Ca((Body.PKICONF, NULL))
    await client(ca).reject(asked(), RECEIVED)
    ((head, kind),) = ca.heard
    assert (kind, head.transaction, head.answers) == (Body.CERT_CONF, b"T" * 16, CA_NONCE)
    unread = Ca((Body.PKICONF, NULL))
    await client(unread).reject(asked(), Received(b"no certificate", (), CA_NONCE))
    assert unread.heard == []
