"""Checks of what a ceremony made, to be run before any of it is used.

`faults` checks all of a ceremony; `external_faults` checks an issuing CA's certificate that was made on another
machine. Both return the codes of what does not hold, and do not raise for bytes that are no certificate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID

from chopmark.ca.lint import Linter
from chopmark.keys.ports import Signer
from chopmark.pki import key_checks, path, signing
from chopmark.pki.x509 import not_after, spki_der

PROBE = b"Chopmark ceremony: this key is the certificate's key."
SHORTEST_LIFE = timedelta(days=365)
"""How long a certificate that was made on another machine must still be valid, at least."""
_KNOWN_EXTENSIONS = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    }
)


@dataclass(frozen=True, slots=True)
class Made:
    """The public half of a ceremony, DER."""

    root: bytes
    issuing: bytes
    responder: bytes
    root_crl: bytes


def faults(made: Made, issuing: Signer, responder: Signer, now: datetime) -> list[str]:
    """Return the codes of what forbids taking the ceremony's result into use; empty when everything holds.

    Raises SignerUnavailable for a key in a device that does not answer.
    """
    try:
        # 1. pkilint judges each certificate and the root's list.
        found = _linted(made)
        # 2. Our own path check, then the verifier of `cryptography`, follow the chain from the responder to the root.
        found += [f.code for f in path.chain_findings(made.responder, (made.issuing,), made.root, now)]
        found += _stranger(made, now)
        # 3. Each certificate verifies a signature of its key.
        found += key_faults("issuing", made.issuing, issuing) + key_faults("responder", made.responder, responder)
        # 4. The root has signed the list, and the list is valid now.
        found += list_faults(made.root_crl, made.root, now)
    except ValueError as error:
        return [f"unreadable: {error}"]
    return found


def _linted(made: Made) -> list[str]:
    linter = Linter()
    found = [f for der in (made.root, made.issuing, made.responder) for f in linter.findings_certificate(der)]
    return [f"lint.{finding.code}" for finding in (*found, *linter.findings_crl(made.root_crl))]


def _stranger(made: Made, now: datetime) -> list[str]:
    """Return what the verifier of `cryptography`, which shares no code with our path check, does not accept."""
    root, issuing, responder = (x509.load_der_x509_certificate(d) for d in (made.root, made.issuing, made.responder))
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([root]))
        .time(now.astimezone(UTC).replace(tzinfo=None))
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
        .build_client_verifier()
    )
    try:
        verifier.verify(responder, [issuing])
    except verification.VerificationError as error:
        return [f"cryptography: {error}"]
    return []


def key_faults(which: str, certificate_der: bytes, signer: Signer) -> list[str]:
    """Return `key_of_WHICH` unless the certificate has the signer's public key and verifies its signature."""
    public = signing.public_key(spki_der(certificate_der))
    signature = signer.sign(PROBE)
    held = signing.verifies(public, signature, PROBE, signing.kind_of(public).hash_algorithm)
    return [] if held and signer.public_key_der == spki_der(certificate_der) else [f"key_of_{which}"]


def list_faults(crl_der: bytes, root_der: bytes, now: datetime) -> list[str]:
    """Return what is wrong with a root's revocation list: its issuer, signature, number or time.

    Raises ValueError when the bytes are no list.
    """
    crl = x509.load_der_x509_crl(crl_der)
    root = x509.load_der_x509_certificate(root_der)
    try:
        numbered = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > 0
    except x509.ExtensionNotFound:
        numbered = False
    until = crl.next_update_utc
    holds = {
        "list_issuer": crl.issuer == root.subject,
        "list_signature": crl.is_signature_valid(signing.public_key(signing.spki_of(root))),
        "list_number": numbered,
        "list_time": until is not None and crl.last_update_utc <= now < until,
    }
    return [code for code, held in holds.items() if not held]


def signed_by(crl_der: bytes, root_der: bytes) -> bool:
    """Tell whether a root has signed a revocation list. Raises ValueError when the bytes are no list."""
    crl, root = x509.load_der_x509_crl(crl_der), x509.load_der_x509_certificate(root_der)
    return crl.issuer == root.subject and crl.is_signature_valid(signing.public_key(signing.spki_of(root)))


def lint_list(crl_der: bytes) -> list[str]:
    """Return what pkilint finds wrong with a revocation list."""
    return [f"lint.{finding.code}" for finding in Linter().findings_crl(crl_der)]


def external_faults(certificate_der: bytes, csr_der: bytes, root_der: bytes, now: datetime) -> list[str]:
    """Return why an issuing CA's certificate that was made on another machine may not be used; empty when it may.

    It must have the request's key and name, be issued under this root, and follow the profile of our issuing CAs
    (RFC 5280 s.4.2.1): a CA with path length 0, the key usages keyCertSign and cRLSign only, the identifiers of its own
    key and of the root's, an address of the root's list, and no extension outside `_KNOWN_EXTENSIONS`.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        root = x509.load_der_x509_certificate(root_der)
        request = x509.load_der_x509_csr(csr_der)
        found = [f.code for f in path.chain_findings(certificate_der, (), root_der, now)]
        found += [] if path.may_issue(root_der, 1) else ["root_not_a_ca"]
        found += [f"lint.{finding.code}" for finding in Linter().findings_certificate(certificate_der)]
        found += [f"key.{finding.code}" for finding in key_checks.judge(spki_der(certificate_der))]
        return [*found, *_profile_faults(certificate, request, root, now)]
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return [f"unreadable: {error}"]


def _profile_faults(
    certificate: x509.Certificate, request: x509.CertificateSigningRequest, root: x509.Certificate, now: datetime
) -> Iterator[str]:
    der = certificate.public_bytes(Encoding.DER)
    if request.public_key() != certificate.public_key():
        yield "another_key"
    if request.subject != certificate.subject:
        yield "another_subject"
    if not_after(der) - now < SHORTEST_LIFE or not_after(der) > root.not_valid_after_utc:
        yield "validity"
    if certificate.serial_number.bit_length() <= 63:
        yield "serial_too_short"
    if unknown := {e.oid for e in certificate.extensions} - _KNOWN_EXTENSIONS:
        yield f"extension_{min(oid.dotted_string for oid in unknown)}"
    try:
        yield from _extension_faults(certificate.extensions, certificate, root)
    except x509.ExtensionNotFound as missing:
        yield f"without_{missing.oid.dotted_string}"


def _extension_faults(
    extensions: x509.Extensions, certificate: x509.Certificate, root: x509.Certificate
) -> Iterator[str]:
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    own = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    roots = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    public = signing.public_key(signing.spki_of(certificate))
    wanted = {"key_cert_sign", "crl_sign"}
    named = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    holds = {
        "basic_constraints": constraints.critical and constraints.value == x509.BasicConstraints(True, 0),
        "key_usage": usage.critical
        and all(getattr(usage.value, name) for name in wanted)
        and not any(getattr(usage.value, name) for name in named),
        "subject_key_identifier": own == x509.SubjectKeyIdentifier.from_public_key(public),
        "authority_key_identifier": above.key_identifier == roots.digest,
        "crl_distribution_point": any(
            name.value.startswith("http://")
            for point in points
            for name in point.full_name or ()
            if isinstance(name, x509.UniformResourceIdentifier)
        ),
    }
    yield from (code for code, held in holds.items() if not held)
