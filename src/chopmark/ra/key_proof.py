"""What stands for a customer when a key is bound or proved: a signature, a TLS connection, a one-time credential."""

import hashlib
from dataclasses import dataclass

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, KeyEvidence, Operation, text
from chopmark.pki import est, proof
from chopmark.ra.context import RaContext
from chopmark.ra.model import Order
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.snapshots import OrderSnapshot


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """The certificate, DER, whose key a program has used to open its TLS connection: the old key's proof (TW-16)."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class OneTime:
    """The SHA-256 of the credential with which a program sends a key; binding uses it up."""

    token_hash: bytes


def old_key(
    context: RaContext,
    snapshot: OrderSnapshot,
    spki_sha256: str,
    csr_der: bytes,
    evidence: bytes | PresentedCertificate | OneTime | None,
) -> tuple[SubscriberCertificate | None, bytes | None]:
    """Return the certificate whose key stands for a renewal (TW-16), and the nonce that its signature used up.

    No certificate when the order needs no old key; no nonce where TLS was the proof.
    """
    order = snapshot.order
    if order.operation is not Operation.REKEY:
        return None, None
    old = snapshot.certificate(order.old_serial)
    if old is None or old.state is not CertificateState.ACTIVE or order.nonce is None:
        raise Refused(
            Refusal(
                Kind.FORBIDDEN,
                text("The old certificate is not valid any more. Please apply for a new one."),
                code="old",
            )
        )
    if isinstance(evidence, PresentedCertificate):
        if evidence.certificate != old.der:
            raise Refused(OTHER_CERTIFICATE)
        if not est.names_the_same(csr_der, old.der):
            raise Refused(_OTHER_NAMES)
        return old, None
    if not isinstance(evidence, bytes):
        raise Refused(
            Refusal(
                Kind.BAD_PROOF,
                text("A renewal is signed with the old certificate. Please open it on this computer."),
                field="proof",
                code="proof_missing",
            )
        )
    require_signature(context, order, evidence, old.der, spki_sha256, "rekey")
    return old, order.nonce


def require_signature(
    context: RaContext, order: Order, proof_der: bytes, certificate: bytes, spki_sha256: str, purpose: str
) -> None:
    """Raise Refused (BAD_PROOF) unless a certificate's key has signed this order, its live nonce and this new key.

    `certificate` is DER; `spki_sha256` is the new key's, hexadecimal; `purpose` is `rekey` or `install`.
    """
    now = context.now()
    if order.nonce is None or order.nonce_expires_at is None or now >= order.nonce_expires_at:
        raise Refused(
            Refusal(
                Kind.BAD_PROOF,
                text("This step took too long. Please press the button again."),
                field="proof",
                code="nonce",
            )
        )
    expected = proof.Expected(
        portal=context.portal,
        order=order.id,
        nonce=order.nonce,
        new_spki_sha256=bytes.fromhex(spki_sha256),
        certificate_sha256=hashlib.sha256(certificate).digest(),
        purpose=purpose,
        now=now,
    )
    verified = proof.verify(proof_der, certificate, expected)
    if isinstance(verified, Refusal):
        raise Refused(verified)


def evidence_of(order: Order, evidence: bytes | PresentedCertificate | OneTime | None) -> KeyEvidence:
    """Return what stands for the customer when a key is bound by this evidence."""
    if isinstance(evidence, OneTime):
        return KeyEvidence.CREDENTIAL
    if order.operation is not Operation.REKEY:
        return KeyEvidence.LOGIN
    return KeyEvidence.TLS if isinstance(evidence, PresentedCertificate) else KeyEvidence.OLD_KEY


OTHER_CERTIFICATE = Refusal(
    Kind.BAD_PROOF,
    text("This order is for another certificate than the one that your program has shown."),
    field="proof",
    code="other_certificate",
)
_OTHER_NAMES = Refusal(
    Kind.BAD_KEY,
    text("The request names another holder than the certificate. Please take the subject over as it is."),
    field="csr",
    code="names",
)
