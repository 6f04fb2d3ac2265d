"""Which keys of imported certificates may prove a renewal. This is the only place that says so.

The import counts by it, the portal and the reminders recommend by it, and a renewal is refused by it.
"""

from typing import Final

from cryptography import x509

from chopmark.pki import key_checks
from chopmark.pki.x509 import any_spki

UNREAD: Final = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What is raised where octets of strangers are no certificate, or one that cannot be read."""


def may_prove(certificate_der: bytes) -> bool:
    """Tell whether signatures by this certificate's key are accepted for a renewal.

    Its key usage, where it has one, must allow signatures, and the key must be one that we would certify ourselves
    (`pki.key_checks`), because others could sign with a weak key, and a signature of another kind cannot be verified.
    What is no certificate proves nothing.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        return _may_sign(certificate) and not key_checks.judge(any_spki(certificate))
    except UNREAD:
        return False


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature or usage.content_commitment
