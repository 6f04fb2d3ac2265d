"""Make requests to another CA's OCSP responder (RFC 6960, nonce RFC 9654), and verify its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.pki import der, path
from chopmark.pki.der import NotDer

MAX_SKEW: Final = timedelta(minutes=5)
"""thisUpdate may lie so far in the future, because clocks differ."""
WITHOUT_END: Final = timedelta(minutes=5)
"""An answer without nextUpdate means that newer ones are always available (RFC 6960 s.4.2.2.1); we use it for so
long."""
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: which certificate, our nonce, and whether the answer must have it."""

    serial: int
    nonce: bytes
    nonce_required: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer says: `revoked_at` and `reason` are None for good; it may be used until `until` (aware UTC)."""

    until: datetime
    revoked_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """The answer must not be used; `why` is a stable word."""

    why: str


def request(issuer: x509.Certificate, asked: Asked) -> bytes:
    """Return the request about one certificate of this issuer, DER: CertID by SHA-1, which every responder knows."""
    name, key = _hashes(issuer)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, asked.serial, hashes.SHA1())  # noqa: S303
    return builder.add_extension(x509.OCSPNonce(asked.nonce), critical=False).build().public_bytes(Encoding.DER)


def _hashes(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    digest = hashes.Hash(hashes.SHA1())  # noqa: S303 - the CertID's hash is a name, nothing rests on it
    digest.update(issuer.subject.public_bytes())
    return digest.finalize(), x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest


def judge(
    answer_der: bytes,
    issuer: x509.Certificate,
    asked: Asked,
    signers: Sequence[x509.Certificate],
    now: datetime,
) -> Judged | Misfit:
    """Return what the answer says about the certificate, or why it must not be used; never raises.

    It is signed by the issuer, or by a responder whose certificate the issuer has signed for this purpose: one in the
    answer, or one of `signers`. A nonce in it must be ours; with `nonce_required` there must be one.
    """
    try:
        answer = ocsp.load_der_ocsp_response(answer_der)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Misfit("refused")
        _require_whole_signature(answer_der)
        return _judge(answer, issuer, asked, signers, now)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Misfit("malformed")


def _require_whole_signature(answer_der: bytes) -> None:
    """Look into OCSPResponse, responseBytes, BasicOCSPResponse (RFC 6960 s.4.2.1): the library hides unused bits."""
    response = der.parts(der.parts(answer_der)[0].content)[1]
    octets = der.parts(der.parts(response.content)[0].content)[1]
    if not der.is_whole(der.parts(der.parts(octets.content)[0].content)[2]):
        raise NotDer("the signature is not made of whole octets")


def _judge(
    answer: ocsp.OCSPResponse,
    issuer: x509.Certificate,
    asked: Asked,
    signers: Sequence[x509.Certificate],
    now: datetime,
) -> Judged | Misfit:
    # 1. Who signed: the issuer, or a responder to which the issuer has given a certificate for this purpose.
    why = _signature(answer, issuer, signers, now)
    if why:
        return Misfit(why)
    # 2. It answers our question. A responder that signs ahead leaves the nonce out.
    found = [one for one in answer.extensions if isinstance(one.value, x509.OCSPNonce)]
    given = [one.value.nonce for one in found if isinstance(one.value, x509.OCSPNonce)]
    if any(one.critical and one not in found for one in answer.extensions):
        return Misfit("critical_extension")
    if given != [asked.nonce] and (given or asked.nonce_required):
        return Misfit("nonce")
    name, key = _hashes(issuer)
    singles = [one for one in answer.responses if one.serial_number == asked.serial]
    if len(singles) != 1:
        return Misfit("other_certificate")
    single = singles[0]
    if isinstance(single.hash_algorithm, hashes.SHA1) and (single.issuer_name_hash, single.issuer_key_hash) != (
        name,
        key,
    ):
        return Misfit("other_certificate")
    # 3. The present moment is between thisUpdate and nextUpdate.
    until = single.next_update_utc or single.this_update_utc + WITHOUT_END
    if single.this_update_utc > now + MAX_SKEW:
        return Misfit("future")
    if until <= now:
        return Misfit("late")
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return Misfit("unknown")
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return Judged(until)
    reason = single.revocation_reason
    return Judged(until, single.revocation_time_utc, "unspecified" if reason is None else reason.name)


def _signature(
    answer: ocsp.OCSPResponse, issuer: x509.Certificate, signers: Sequence[x509.Certificate], now: datetime
) -> str:
    """Return what is wrong with the answer's signature, as a word; empty when it holds."""
    algorithm = answer.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _STRONG):
        return "signature"
    if _verifies(answer, issuer):
        return ""
    why = "signature"
    for one in (*answer.certificates, *signers):
        if _verifies(answer, one):
            if may_answer(one, issuer) and one.not_valid_before_utc <= now <= one.not_valid_after_utc:
                return ""
            why = "signer"
    return why


def may_answer(responder: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the issuer has made this certificate a responder's (RFC 6960 s.4.2.2.2)."""
    try:
        usages = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages and path.issued_by(responder, issuer)


def _verifies(answer: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    key, signature, body = certificate.public_key(), answer.signature, answer.tbs_response_bytes
    algorithm = answer.signature_hash_algorithm
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) and algorithm is None:
            key.verify(signature, body)
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, body, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, body, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True
