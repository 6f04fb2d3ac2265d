"""Time-stamps: requests by openssl are read, our tokens satisfy openssl and pkilint, openssl's tokens satisfy us."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import algos, core
from asn1crypto import tsp as asn1_tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.ca.lint import Linter
from chopmark.keys.adapter import as_private_key
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import tsp, tsp_token
from chopmark.pki.ceremony import SerialAndValidity, timestamp_certificate
from chopmark.pki.draft import make_serial
from chopmark.pki.signing import IssuerKey
from chopmark.pki.tsp import Ask, FailInfo
from chopmark.pki.tsp_token import Fault, TokenError
from tests.vectors.pki.house import NOW, URLS, House, house, openssl, pem, signer, spki_of

DATA = b"the head of the audit tree"
IMPRINT = hashlib.sha256(DATA).digest()
SUBJECT = [("C", "TW"), ("O", "示範期貨"), ("CN", "Time 1")]


@dataclass(frozen=True)
class Authority:
    house: House
    key: IssuerKey
    der: bytes

    @property
    def roots(self) -> list[bytes]:
        return [self.house.root.certificate_der]

    def token(self, ask: Ask | None = None, at=NOW, serial=0x0102030405) -> bytes:
        wanted = ask or Ask("sha256", IMPRINT, 7)
        return tsp.build_token(self.key, self.der, [self.house.issuing.certificate_der], wanted, serial, at)


def made(kind: KeyAlgorithm) -> Authority:
    of, key = house(), as_private_key(signer(kind))
    terms = SerialAndValidity(make_serial(1, bytes(range(5, 22))), NOW - timedelta(days=1), NOW + timedelta(days=900))
    return Authority(of, key, timestamp_certificate(of.issuing_key, of.issuing, spki_of(key), SUBJECT, terms, URLS))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return made(KeyAlgorithm.P256)


def request(**changes) -> bytes:
    """A request by another encoder."""
    digest = changes.pop("digest", IMPRINT)
    algorithm = changes.pop("algorithm", "sha256")
    imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": algorithm}), "hashed_message": digest}
    given = {"version": "v1", "message_imprint": imprint, "nonce": 99, "cert_req": True, **changes}
    return asn1_tsp.TimeStampReq({name: value for name, value in given.items() if value is not None}).dump()


# requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("extra", [(), ("-cert",), ("-no_nonce",), ("-cert", "-tspolicy", tsp.POLICY)])
def test_a_request_by_openssl_is_read(tmp_path: Path, algorithm: str, extra: tuple[str, ...]) -> None:
    (tmp_path / "data").write_bytes(DATA)
    asked = openssl("ts", "-query", "-data", tmp_path / "data", f"-{algorithm}", *extra)
    read = tsp.parse_request(asked.stdout)
    assert isinstance(read, Ask)
    assert (read.hash_name, read.imprint) == (algorithm, hashlib.new(algorithm, DATA).digest())
    assert read.wants_certificate is ("-cert" in extra)
    assert (read.nonce is None) is ("-no_nonce" in extra)


def test_a_request_of_ours_is_read_by_openssl() -> None:
    said = openssl("ts", "-query", "-in", "/dev/stdin", "-text", stdin=tsp.build_request(IMPRINT, 2**100)).stdout
    assert b"Hash Algorithm: sha256" in said
    assert b"Nonce: 0x10000000000000000000000000" in said
    assert b"Certificate required: yes" in said


UNKNOWN = [{"extn_id": "1.2.3", "critical": False, "extn_value": b"\x05\x00"}]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(algorithm="sha1", digest=bytes(20)), FailInfo.BAD_ALG),
        (request(algorithm="md5", digest=bytes(16)), FailInfo.BAD_ALG),
        (request(algorithm="sha224", digest=bytes(28)), FailInfo.BAD_ALG),
        (request(digest=bytes(31)), FailInfo.BAD_DATA_FORMAT),
        (request(digest=bytes(33)), FailInfo.BAD_DATA_FORMAT),
        (request(digest=b""), FailInfo.BAD_DATA_FORMAT),
        (request(algorithm="sha512"), FailInfo.BAD_DATA_FORMAT),
        (request(req_policy="1.2.3.4"), FailInfo.UNACCEPTED_POLICY),
        (request(extensions=UNKNOWN), FailInfo.UNACCEPTED_EXTENSION),
        (request().replace(b"\x02\x01\x01", b"\x02\x01\x02", 1), FailInfo.BAD_REQUEST),
        (b"", FailInfo.BAD_DATA_FORMAT),
        (b"\x30\x00", FailInfo.BAD_DATA_FORMAT),
        (request()[:-1], FailInfo.BAD_DATA_FORMAT),
        (request() + b"\x00", FailInfo.BAD_DATA_FORMAT),
        (b"\x30\x80" + request()[2:] + b"\x00\x00", FailInfo.BAD_DATA_FORMAT),
        (request(nonce=2 ** (8 * 4096)), FailInfo.BAD_DATA_FORMAT),
    ],
)
def test_what_cannot_be_stamped_has_its_reason(asked: bytes, why: FailInfo) -> None:
    assert tsp.parse_request(asked) is why


@pytest.mark.parametrize(
    ("why", "name"),
    [
        (FailInfo.BAD_ALG, "bad_alg"),
        (FailInfo.BAD_REQUEST, "bad_request"),
        (FailInfo.BAD_DATA_FORMAT, "bad_data_format"),
        (FailInfo.TIME_NOT_AVAILABLE, "time_not_available"),
        (FailInfo.UNACCEPTED_POLICY, "unaccepted_policy"),
        (FailInfo.UNACCEPTED_EXTENSION, "unaccepted_extensions"),
        (FailInfo.SYSTEM_FAILURE, "system_failure"),
    ],
)
def test_a_rejection_says_why_and_has_no_token(why: FailInfo, name: str) -> None:
    (only,) = core.SequenceOf.load(tsp.rejection(why), strict=True, spec=asn1_tsp.PKIStatusInfo)
    assert only["status"].native == "rejection"
    assert only["fail_info"].native == {name}
    assert only["status_string"].native == [tsp.SAID[why]]
    with pytest.raises(TokenError, match=Fault.REJECTED):
        tsp_token.token_of(tsp.rejection(why))


@pytest.mark.parametrize("why", list(FailInfo))
def test_openssl_shows_the_sentence_of_every_refusal(tmp_path: Path, why: FailInfo) -> None:
    (tmp_path / "reply").write_bytes(tsp.rejection(why))
    said = openssl("ts", "-reply", "-in", tmp_path / "reply", "-text")
    assert b"Status: Rejected." in said.stdout
    (line,) = [line for line in said.stdout.decode().splitlines() if line.startswith("Status description: ")]
    assert line.removeprefix("Status description: ").endswith(".")
    assert len(line) > 40


def test_a_request_that_writes_its_defaults_out_gets_a_token_that_openssl_verifies(
    authority: Authority, tmp_path: Path
) -> None:
    """`certReq FALSE`, as a client on Windows sends it; DER would leave it out."""
    (tmp_path / "data").write_bytes(DATA)
    plain = openssl("ts", "-query", "-data", tmp_path / "data", "-sha256", "-no_nonce").stdout
    written = bytes((0x30, plain[1] + 3)) + plain[2:] + bytes.fromhex("010100")
    (tmp_path / "query").write_bytes(written)
    assert b"Certificate required: no" in openssl("ts", "-query", "-in", tmp_path / "query", "-text").stdout
    read = tsp.parse_request(written)
    assert isinstance(read, Ask)
    assert read.wants_certificate is False
    (tmp_path / "reply").write_bytes(tsp.granted(authority.token(read)))
    (tmp_path / "root.pem").write_bytes(pem(*authority.roots))
    (tmp_path / "between.pem").write_bytes(pem(authority.der) + pem(authority.house.issuing.certificate_der))
    files = ["-queryfile", tmp_path / "query", "-in", tmp_path / "reply", "-CAfile", tmp_path / "root.pem"]
    judged = openssl("ts", "-verify", *files, "-untrusted", tmp_path / "between.pem", "-attime", int(NOW.timestamp()))
    assert b"Verification: OK" in judged.stdout, judged.stderr


def test_an_extension_whose_default_is_written_out_is_refused_as_an_extension() -> None:
    """RFC 3161 s.2.4.1: not understood, and not malformed."""
    plain = request(cert_req=None, nonce=None)
    extensions = bytes.fromhex("a00a3008") + bytes.fromhex("06012a") + bytes.fromhex("010100") + bytes.fromhex("0400")
    assert tsp.parse_request(bytes((0x30, plain[1] + 12)) + plain[2:] + extensions) is FailInfo.UNACCEPTED_EXTENSION


# tokens of ours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048])
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_openssl_verifies_a_token_against_its_query(tmp_path: Path, kind: KeyAlgorithm, algorithm: str) -> None:
    authority, query = made(kind), tmp_path / "query"
    (tmp_path / "data").write_bytes(DATA)
    openssl("ts", "-query", "-data", tmp_path / "data", f"-{algorithm}", "-cert", "-out", query)
    ask = tsp.parse_request(query.read_bytes())
    assert isinstance(ask, Ask)
    (tmp_path / "reply").write_bytes(tsp.granted(authority.token(ask)))
    (tmp_path / "root.pem").write_bytes(pem(*authority.roots))
    usual = ["-in", tmp_path / "reply", "-CAfile", tmp_path / "root.pem", "-attime", int(NOW.timestamp())]
    assert b"Verification: OK" in openssl("ts", "-verify", "-queryfile", query, *usual).stdout
    assert b"Verification: OK" in openssl("ts", "-verify", "-data", tmp_path / "data", *usual).stdout
    (tmp_path / "data").write_bytes(DATA + b".")
    assert openssl("ts", "-verify", "-data", tmp_path / "data", *usual).returncode != 0


def test_a_token_says_what_it_should_by_another_reader(authority: Authority) -> None:
    read = asn1_tsp.ContentInfo.load(authority.token(), strict=True)["content"]
    info = read["encap_content_info"]["content"].parsed
    assert info["version"].native == "v1"
    assert info["policy"].native == tsp.POLICY
    assert info["message_imprint"]["hashed_message"].native == IMPRINT
    assert info["serial_number"].native == 0x0102030405
    assert (info["gen_time"].native, info["gen_time"].contents) == (NOW, b"20260301040000Z")
    assert info["accuracy"]["seconds"].native == tsp.ACCURACY_S
    assert (info["ordering"].native, info["nonce"].native) == (False, 7)
    assert info["tsa"].chosen.native["common_name"] == "Time 1"
    (one,) = read["signer_infos"]
    attributes = {a["type"].native: a["values"] for a in one["signed_attrs"]}
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}
    named = attributes["signing_certificate_v2"][0]["certs"][0]
    assert named["cert_hash"].native == hashlib.sha256(authority.der).digest()
    assert named["issuer_serial"]["serial_number"].native == x509.load_der_x509_certificate(authority.der).serial_number


def test_the_certificates_go_along_only_when_they_are_asked_for(authority: Authority) -> None:
    def included(wanted: bool) -> int:
        token = authority.token(Ask("sha256", IMPRINT, wants_certificate=wanted))
        certificates = asn1_tsp.ContentInfo.load(token, strict=True)["content"]["certificates"]
        return 0 if isinstance(certificates, core.Void) else len(certificates)

    assert (included(True), included(False)) == (2, 0)


def test_a_request_without_a_nonce_gets_a_token_without_one(authority: Authority) -> None:
    token = authority.token(Ask("sha256", IMPRINT))
    info = asn1_tsp.ContentInfo.load(token)["content"]["encap_content_info"]["content"].parsed
    assert info["nonce"].native is None


@pytest.mark.parametrize("days", [-2, 901])
def test_no_token_is_made_while_the_certificate_is_not_valid(authority: Authority, days: int) -> None:
    with pytest.raises(ValueError, match="not valid"):
        authority.token(at=NOW + timedelta(days=days))


def test_the_certificate_is_for_time_stamping_alone_and_pkilint_finds_nothing(authority: Authority) -> None:
    assert Linter().findings_certificate(authority.der) == ()
    usage = x509.load_der_x509_certificate(authority.der).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]


# tokens of others -------------------------------------------------------------------------------------------------

CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
crypto_device = builtin
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500
clock_precision_digits = {precision}
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = {ess}
"""


def by_openssl(folder: Path, key, *, digest="sha512", ess="sha256", precision=3, usage=("timeStamping",)) -> bytes:
    """A token of an authority that openssl runs: its own clock, its own root."""
    (folder / "serial").write_text("01")
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder, digest=digest, ess=ess, precision=precision))
    (folder / "data").write_bytes(DATA)
    (folder / "ext").write_text(f"extendedKeyUsage=critical,{','.join(usage)}\nkeyUsage=critical,digitalSignature\n")
    new, plain = ["-newkey", *key, "-nodes", "-keyout"], ["-newkey", *EC, "-nodes", "-keyout"]
    openssl("req", "-x509", *plain, folder / "ca.key", "-subj", "/CN=Strange root", "-out", folder / "ca.pem",
            "-addext", "keyUsage=critical,keyCertSign", "-days", 30)  # fmt: skip
    openssl("req", *new, folder / "tsa.key", "-subj", "/CN=Strange TSA", "-out", folder / "tsa.csr")
    openssl("x509", "-req", "-in", folder / "tsa.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-extfile", folder / "ext", "-out", folder / "tsa.pem", "-days", 20)  # fmt: skip
    openssl("ts", "-query", "-data", folder / "data", "-sha256", "-cert", "-out", folder / "query")
    replied = openssl("ts", "-reply", "-config", folder / "tsa.cnf", "-section", "it", "-queryfile", folder / "query",
                      "-signer", folder / "tsa.pem", "-inkey", folder / "tsa.key")  # fmt: skip
    return tsp_token.token_of(replied.stdout)


def root_of(folder: Path) -> list[bytes]:
    return [openssl("x509", "-in", folder / "ca.pem", "-outform", "DER").stdout]


EC, RSA = ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"), ("rsa:2048",)


@pytest.mark.parametrize(("key", "ess"), [(EC, "sha1"), (EC, "sha512"), (RSA, "sha256")])
def test_a_token_by_openssl_holds_with_its_time_in_fractions(tmp_path: Path, key, ess: str) -> None:
    token = by_openssl(tmp_path, key, ess=ess)
    stamp = tsp_token.verify(token, IMPRINT, root_of(tmp_path))
    text = openssl("ts", "-reply", "-in", "/dev/stdin", "-token_in", "-text", stdin=token).stdout.decode()
    assert stamp.at.strftime("%b %e %H:%M:%S") in text
    assert stamp.accuracy == timedelta(seconds=1, milliseconds=500)
    assert stamp.authority == "CN=Strange TSA"
    with pytest.raises(TokenError, match=Fault.IMPRINT):
        tsp_token.verify(token, hashlib.sha256(b"").digest(), root_of(tmp_path))
    with pytest.raises(TokenError, match=Fault.CHAIN):
        tsp_token.verify(token, IMPRINT, [house().root.certificate_der])


def test_a_signer_that_may_do_more_than_stamp_time_is_refused(authority: Authority) -> None:
    of, key = authority.house, authority.key
    terms = SerialAndValidity(5, NOW - timedelta(days=1), NOW + timedelta(days=9))
    der = timestamp_certificate(of.issuing_key, of.issuing, spki_of(key), SUBJECT, terms, URLS)
    for usage, critical in (([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True),
                            ([ExtendedKeyUsageOID.TIME_STAMPING], False)):  # fmt: skip
        other = rebuilt(der, of, x509.ExtendedKeyUsage(usage), critical=critical)
        token = tsp.build_token(key, other, (), Ask("sha256", IMPRINT), 1, NOW)
        with pytest.raises(TokenError, match=Fault.PURPOSE):
            tsp_token.verify(token, IMPRINT, None)


def rebuilt(der: bytes, of: House, usage: x509.ExtendedKeyUsage, *, critical: bool) -> bytes:
    old = x509.load_der_x509_certificate(der)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), 9)
    builder = builder.not_valid_before(old.not_valid_before_utc).not_valid_after(old.not_valid_after_utc)
    builder = builder.add_extension(usage, critical=critical)
    return builder.sign(of.issuing_key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_token_holds_for_its_imprint_its_nonce_and_its_root_only(authority: Authority) -> None:
    token = authority.token()
    stamp = tsp_token.verify(token, IMPRINT, authority.roots, nonce=7)
    assert (stamp.at, stamp.accuracy, stamp.nonce) == (NOW, timedelta(seconds=tsp.ACCURACY_S), 7)
    for wrong, fault in (
        ((token, bytes(32), authority.roots, 7), Fault.IMPRINT),
        ((token, IMPRINT, authority.roots, 8), Fault.NONCE),
        ((token, IMPRINT, [], 7), Fault.CHAIN),
        ((authority.token(Ask("sha512", hashlib.sha512(DATA).digest(), 7)), IMPRINT, None, 7), Fault.IMPRINT),
        ((authority.token(Ask("sha256", IMPRINT, 7, wants_certificate=False)), IMPRINT, None, 7), Fault.SIGNER),
    ):
        with pytest.raises(TokenError, match=fault):
            tsp_token.verify(*wrong[:3], nonce=wrong[3])


def test_a_token_with_any_octet_changed_never_holds_for_another_imprint_or_time(authority: Authority) -> None:
    """Where the octet belongs to a certificate nobody needs, the token may still hold, and says just the same."""
    token = authority.token()
    right = tsp_token.verify(token, IMPRINT, authority.roots)
    for at in range(0, len(token), 5):
        changed = token[:at] + bytes((token[at] ^ 0x41,)) + token[at + 1 :]
        try:
            said = tsp_token.verify(changed, IMPRINT, authority.roots)
        except TokenError:
            continue
        assert said == right, at
