"""Check a short certification path: signatures, validity, CA constraints. Callers check revocation themselves."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark.core.types import text
from chopmark.pki.der import require_whole_signature
from chopmark.pki.finding import Finding

MAX_CHAIN = 5


def chain_findings(leaf_der: bytes, chain: Sequence[bytes], root_der: bytes, at: datetime) -> tuple[Finding, ...]:
    """Return what is wrong with the path from `leaf` over `chain` (issuer first) to `root` at a moment; empty if valid.

    `at` is aware UTC. Checked, after RFC 5280 s.6.1: each certificate is signed by the next and names it, the root
    signs itself, each is valid at the moment, each issuer is a CA with keyCertSign and room in its path length, and
    no extension is critical and unknown. Never raises for bytes that are no certificate.
    """
    if len(chain) > MAX_CHAIN:
        return (Finding("chain_too_long", text("The chain of certificates is too long.")),)
    try:
        path = [x509.load_der_x509_certificate(der) for der in (leaf_der, *chain, root_der)]
        found = [finding for position in range(len(path)) for finding in _certificate_findings(path, position, at)]
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return (Finding("chain_malformed", text("A certificate of the chain cannot be read.")),)
    return tuple(found)


def _certificate_findings(path: Sequence[x509.Certificate], position: int, at: datetime) -> list[Finding]:
    certificate = path[position]
    issuer = path[min(position + 1, len(path) - 1)]
    subject = certificate.subject.rfc4514_string()
    found = []
    if not issued_by(certificate, issuer):
        sentence = text("The certificate of %(subject)s is not signed by the next one.", subject=subject)
        found.append(Finding("chain_signature", sentence))
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        sentence = text("The certificate of %(subject)s is not valid at this time.", subject=subject)
        found.append(Finding("chain_validity", sentence))
    if position and not _may_issue(certificate, position - 1):
        sentence = text("The certificate of %(subject)s may not issue this one.", subject=subject)
        found.append(Finding("chain_not_a_ca", sentence))
    if any(e.critical and isinstance(e.value, x509.UnrecognizedExtension) for e in certificate.extensions):
        sentence = text("The certificate of %(subject)s has an unknown critical extension.", subject=subject)
        found.append(Finding("chain_critical_extension", sentence))
    return found


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate names this issuer and carries its signature in whole octets; never raises."""
    try:
        require_whole_signature(certificate.public_bytes(Encoding.DER))
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def issued_by_any(certificate_der: bytes, issuers: Sequence[bytes]) -> bool:
    """Tell whether one of these certificates names itself in a certificate and has signed it; never raises for bytes.

    Both are needed, because a name alone proves nothing. Whether an issuer may issue is not checked here.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        return any(issued_by(certificate, x509.load_der_x509_certificate(issuer)) for issuer in issuers)
    except (ValueError, x509.InvalidVersion):
        return False


def _may_issue(certificate: x509.Certificate, intermediates_below: int) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    room = constraints.path_length is None or constraints.path_length >= intermediates_below
    return constraints.ca and usage.key_cert_sign and room


def may_issue(certificate_der: bytes, intermediates_below: int) -> bool:
    """Tell whether a certificate is a CA's, with keyCertSign and room for so many CAs below (RFC 5280 s.4.2.1.9)."""
    return _may_issue(x509.load_der_x509_certificate(certificate_der), intermediates_below)
