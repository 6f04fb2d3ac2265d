"""Each field of what strangers send, broken in turn: refused with a reason, never an exception, never another meaning.

The good messages are openssl's. What is signed is broken twice: as it came, and signed again by its own key after the
break, so that a signature that does not hold hides nothing. What was accepted has to be what another reader reads.
"""

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from asn1crypto import tsp as asn1_tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp as other_ocsp

from chopmark.core.refusal import Kind, Refusal
from chopmark.pki import cms, csr, ocsp, possession, proof, tsp
from chopmark.pki.possession import Possession
from tests.vectors.pki.broken import NULL, OCTET_STRING, OID, SEQUENCE, Broken, Node, breaks, element, read
from tests.vectors.pki.house import NOW, house

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KINDS = ("ec", "rsa")
ENCODING, PLAIN = serialization.Encoding.DER, serialization.NoEncryption()


@cache
def key(kind: str) -> Key:
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)


def spki(private: Key) -> bytes:
    return private.public_key().public_bytes(ENCODING, serialization.PublicFormat.SubjectPublicKeyInfo)


def signature(private: Key, data: bytes) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return private.sign(data, ec.ECDSA(hashes.SHA256()))


def openssl(*arguments: object, stdin: bytes = b"") -> bytes:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def files(folder: Path, kind: str) -> tuple[Path, Path]:
    """The key, and a certificate of it, where openssl reads them."""
    private = key(kind)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, PLAIN)
    (folder / "key.pem").write_bytes(pem)
    certificate = x509.load_der_x509_certificate(certificate_of(kind))
    (folder / "leaf.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "leaf.pem"


@cache
def certificate_of(kind: str) -> bytes:
    return house().issue(house().draft(spki_der=spki(key(kind))))


def wrong(broken: Iterator[Broken], judge: Callable[[bytes], str | None]) -> list[str]:
    """Say which breaks were answered wrongly."""
    count, found = 0, []
    for one in broken:
        count += 1
        said = judge(one.der)
        if said is not None:
            found.append(f"{one.name}: {said}")
    assert count > 100
    return found


# certification requests -----------------------------------------------------------------------------------------------


@cache
def request(kind: str) -> bytes:
    """One whose signature ends in an even octet: with one unused bit in it the signature would still hold."""
    with TemporaryDirectory() as folder:
        pem, _ = files(Path(folder), kind)
        names = "/C=TW/O=Example/CN=somebody"
        while (made := openssl("req", "-new", "-key", pem, "-subj", names, "-outform", "DER"))[-1] % 2:
            names += "."  # RSA signs the same bytes in the same way
        return made


def judged_request(der: bytes) -> str | None:
    """A key or a refusal: the key is the one that stands in the request, and has signed it. Its names are not read."""
    answer = csr.parse(der)
    if isinstance(answer, Refusal):
        return None if (answer.kind, answer.field) == (Kind.BAD_KEY, "csr") and answer.code else "no reason"
    info, _, mark = read(der).inside
    key_read = serialization.load_der_public_key(info.inside[2].encode())
    if key_read.public_bytes(ENCODING, serialization.PublicFormat.SubjectPublicKeyInfo) != answer.spki_der:
        return f"accepted as {answer.spki_sha256}"
    return None if holds(key_read, mark, info.encode()) else "a signature that does not hold"


def holds(public: object, mark: Node, data: bytes) -> bool:
    unused, signed = mark.content[0], mark.content[1:]
    if unused:
        return False
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signed, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signed, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def only_nulls_differ(der: bytes, good: bytes) -> bool:
    """The parameters of an algorithm without any may be NULL or absent (RFC 5754 s.2, RFC 3370 s.3.2): one meaning."""

    def bare(node: Node) -> Node:
        inside = [bare(one) for one in node.inside]
        if node.tag == SEQUENCE and [one.tag for one in inside] == [OID, NULL]:
            inside = inside[:1]
        return Node(node.tag, node.content, inside, node.before)

    return bare(read(der)).encode() == bare(read(good)).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_every_broken_field_of_a_request_is_refused(kind: str) -> None:
    good = request(kind)
    assert isinstance(csr.parse(good), csr.Request)

    def judge(der: bytes) -> str | None:
        refused = isinstance(csr.parse(der), Refusal)
        return judged_request(der) or (None if refused or only_nulls_differ(der, good) else "accepted")

    assert wrong(breaks(good), judge) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_signed_anew_after_a_break_is_refused_or_means_the_same_key(kind: str) -> None:
    good, private = request(kind), key(kind)

    def again() -> Iterator[Broken]:
        for one in breaks(read(good).inside[0].encode()):
            yield Broken(one.name, signed_request(good, one.der, private))

    def judge(der: bytes) -> str | None:
        answer = csr.parse(der)
        if isinstance(answer, csr.Request) and answer.spki_der != spki(private):
            return "another key"
        return judged_request(der)

    assert wrong(again(), judge) == []


def signed_request(good: bytes, info: bytes, private: Key) -> bytes:
    tree = read(good)
    algorithm = tree.inside[1].encode()
    signed = Node(3, b"\0" + signature(private, info))
    return Node(0x30, info + algorithm + signed.encode()).encode()


# proofs of the old key, and of possession -----------------------------------------------------------------------------


def statement(certificate: bytes) -> proof.Statement:
    digest = hashlib.sha256(certificate).digest()
    return proof.Statement(proof.LABEL, "demo", "ORDER", bytes(32), bytes(range(32)), digest, "rekey", NOW)


def expected(certificate: bytes) -> proof.Expected:
    digest = hashlib.sha256(certificate).digest()
    return proof.Expected("demo", "ORDER", bytes(32), bytes(range(32)), digest, "rekey", NOW)


@cache
def signed_proof(kind: str) -> bytes:
    """As a customer's openssl makes it."""
    with TemporaryDirectory() as folder:
        pem, leaf = files(Path(folder), kind)
        return openssl(
            "cms", "-sign", "-nodetach", "-binary", "-nosmimecap", "-nocerts", "-md", "sha256", "-econtent_type",
            proof.PROOF_CONTENT_TYPE, "-signer", leaf, "-inkey", pem, "-outform", "DER",
            stdin=statement(certificate_of(kind)).encode(),
        )  # fmt: skip


def judged_proof(kind: str) -> Callable[[bytes], str | None]:
    certificate = certificate_of(kind)

    def judge(der: bytes) -> str | None:
        answer = proof.verify(der, certificate, expected(certificate))
        if isinstance(answer, Refusal):
            return None if (answer.kind, answer.field) == (Kind.BAD_PROOF, "proof") and answer.code else "no reason"
        return "accepted"

    return judge


@pytest.mark.parametrize("kind", KINDS)
def test_every_broken_field_of_a_proof_is_refused(kind: str) -> None:
    good, certificate = signed_proof(kind), certificate_of(kind)
    assert proof.verify(good, certificate, expected(certificate)) == statement(certificate)
    judge = judged_proof(kind)

    def said(der: bytes) -> str | None:
        answer = judge(der)
        return None if answer == "accepted" and only_nulls_differ(der, good) else answer

    assert wrong(breaks(good), said) == []


SIGNER = (1, 0, 3, 0)
"""Where the one signer stands in a ContentInfo without certificates."""
ATTRIBUTES, SIGNATURE = (*SIGNER, 3), (*SIGNER, 5)


def signed_anew(good: bytes, attributes: bytes, private: Key) -> bytes:
    """The message with these attributes (as [0]) and a signature that holds over them."""
    tree = read(good)
    held, mark = element(tree, ATTRIBUTES), element(tree, SIGNATURE)
    held.raw = attributes
    mark.inside, mark.content = [], signature(private, b"\x31" + attributes[1:])
    return tree.encode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_whose_broken_attributes_are_signed_is_refused(kind: str) -> None:
    good, private, judge = signed_proof(kind), key(kind), judged_proof(kind)
    attributes = element(read(good), ATTRIBUTES).encode()
    assert judge(signed_anew(good, attributes, private)) == "accepted"  # signing anew is not what is refused

    def again() -> Iterator[Broken]:
        for one in breaks(attributes):
            if one.der[:1] == b"\xa0":
                yield Broken(one.name, signed_anew(good, one.der, private))

    def said(der: bytes) -> str | None:
        answer = judge(der)
        same = answer == "accepted" and only_the_signing_time_differs(der, good)
        return None if same else answer

    assert wrong(again(), said) == []


def only_the_signing_time_differs(der: bytes, good: bytes) -> bool:
    """The time by the signer's clock is an attribute that nobody goes by: it may be there, another one or missing."""

    def others(message: bytes) -> set[bytes]:
        held = element(read(message), ATTRIBUTES).inside
        return {one.encode() for one in held if not one.encode().startswith(SIGNING_TIME)}

    return others(der) == others(good)


SIGNING_TIME = bytes.fromhex("301c06092a864886f70d010905")


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_whose_broken_statement_is_signed_is_refused(kind: str) -> None:
    certificate, private = certificate_of(kind), key(kind)
    said = statement(certificate).encode()

    def again() -> Iterator[Broken]:
        for one in breaks(said):
            yield Broken(one.name, cms.sign(one.der, proof.PROOF_CONTENT_TYPE, private, certificate))

    def judge(der: bytes) -> str | None:
        """A second more or less is within what the server allows."""
        answer = proof.verify(der, certificate, expected(certificate))
        if isinstance(answer, proof.Statement) and answer.encode() != said:
            whole = {name: getattr(answer, name) for name in ("portal", "order", "nonce", "purpose", "new_spki_sha256")}
            known = {name: getattr(statement(certificate), name) for name in whole}
            near = abs((answer.time - NOW).total_seconds()) <= 600
            return None if whole == known and near else "another statement"
        return judged_proof(kind)(der)

    assert wrong(again(), judge) == []


def test_every_broken_field_of_a_proof_of_possession_is_refused() -> None:
    private = key("ec")
    own = spki(private)
    stated = Possession("demo", "ORDER", "LOGIN", bytes(32), hashlib.sha256(own).digest(), NOW)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    good = possession.build(stated, private)

    def judge(der: bytes) -> str | None:
        answer = possession.verify(der, own, stated, timedelta(minutes=10))
        if answer is None:
            return None if only_nulls_differ(der, good) and der != good else "accepted"
        return None if answer.kind is Kind.BAD_PROOF and answer.code else "no reason"

    assert judge(good) == "accepted"
    assert wrong(breaks(good), judge) == []


# questions about status, and time-stamps ------------------------------------------------------------------------------


@cache
def question() -> bytes:
    with TemporaryDirectory() as folder:
        _, leaf = files(Path(folder), "ec")
        above = Path(folder) / "issuer.pem"
        issuer = x509.load_der_x509_certificate(house().issuing.certificate_der)
        above.write_bytes(issuer.public_bytes(serialization.Encoding.PEM))
        made = Path(folder) / "request"
        openssl("ocsp", "-issuer", above, "-cert", leaf, "-reqout", made)
        return made.read_bytes()


def judged_question(der: bytes) -> str | None:
    """What we read is what another reader reads; it may refuse what we refuse, and more."""
    answer = ocsp.parse_request(der)
    if isinstance(answer, ocsp.Malformed):
        return None if answer.reason else "no reason"
    if len(answer.cert_ids) > 1:  # the other reader knows one
        return None
    asked = answer.cert_ids[0]
    if not ocsp.matches(asked, house().issuing):  # answered as unauthorized, whatever it says
        return None
    try:
        other = other_ocsp.load_der_ocsp_request(der)
        known = (other.serial_number, other.issuer_name_hash, other.issuer_key_hash, other.hash_algorithm.name)
    except ValueError as error:
        return f"another reader: {error}"
    if known != (asked.serial, asked.issuer_name_hash, asked.issuer_key_hash, asked.hash_algorithm):
        return "another question"
    return None if asked.der in der else "another CertID than the one that came"


def test_every_broken_field_of_a_question_about_status_is_read_as_it_stands_or_malformed() -> None:
    good = question()
    read_as = ocsp.parse_request(good)
    assert isinstance(read_as, ocsp.OcspRequest)
    assert ocsp.matches(read_as.cert_ids[0], house().issuing)
    assert read_as.nonce is not None
    assert judged_question(good) is None
    assert wrong(breaks(good), judged_question) == []


def wish(*arguments: str) -> bytes:
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.write_bytes(b"to be stamped")
        return openssl("ts", "-query", "-data", data, "-sha256", *arguments)


def judged_wish(der: bytes) -> str | None:
    answer = tsp.parse_request(der)
    if isinstance(answer, tsp.FailInfo):
        return None
    try:
        other = asn1_tsp.TimeStampReq.load(der, strict=True)
        imprint, nonce = other["message_imprint"], other["nonce"].native
        known = (
            imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native, nonce,
            bool(other["cert_req"].native), other["version"].native,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        return f"another reader: {error}"
    if known != (answer.hash_name, answer.imprint, answer.nonce, answer.wants_certificate, "v1"):
        return f"another wish: {known}"
    return None


@pytest.mark.parametrize("arguments", [("-cert",), ("-cert", "-tspolicy", tsp.POLICY), ("-no_nonce",)])
def test_every_broken_field_of_a_wish_for_a_time_stamp_is_read_as_it_stands_or_refused(
    arguments: tuple[str, ...],
) -> None:
    good = wish(*arguments)
    assert isinstance(tsp.parse_request(good), tsp.Ask)
    assert judged_wish(good) is None
    assert wrong(breaks(good), judged_wish) == []


# breaks that another check would not see ------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "tag"), [(1, 0x31), (3, 0xA1), (3, 0x80)], ids=["subject", "attributes", "no set"])
def test_a_signed_request_whose_subject_or_attributes_are_something_else_is_refused(place: int, tag: int) -> None:
    info = read(request("ec")).inside[0]
    info.inside[place].tag = tag
    answer = csr.parse(signed_request(request("ec"), info.encode(), key("ec")))
    assert isinstance(answer, Refusal)
    assert answer.code == "csr_malformed"


def test_an_ecdsa_signature_with_parameters_is_refused() -> None:
    """RFC 5754 s.3.3: they are absent, other than RSA's, which may be NULL."""
    tree = read(signed_proof("ec"))
    element(tree, SIGNER).inside[4].inside.append(Node(NULL, b""))
    assert judged_proof("ec")(tree.encode()) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_signing_time_that_is_no_time_is_refused(kind: str) -> None:
    attributes = element(read(signed_proof(kind)), ATTRIBUTES)
    times = [one for one in attributes.inside if one.encode().startswith(SIGNING_TIME)]
    assert len(times) == 1
    times[0].inside[1].inside[0].tag = OCTET_STRING
    assert judged_proof(kind)(signed_anew(signed_proof(kind), attributes.encode(), key(kind))) is None
