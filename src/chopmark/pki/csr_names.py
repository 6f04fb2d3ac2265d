"""What a certification request says beside its key: for CAs that would read it, so that it says nothing of its own."""

from cryptography import x509

from chopmark.pki.x509 import RDN_OIDS

_SHORT = {oid: short for short, oid in RDN_OIDS.items()}


def names_of(csr_der: bytes) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the request's subject as (short name, value) pairs, and whether it says anything more.

    More is a name attribute that no profile has, or any PKCS #10 attribute: extensions, a challenge password
    (RFC 2986 s.4.1). What cannot be read says more.
    """
    try:
        request = x509.load_der_x509_csr(csr_der)
        pairs = tuple((_SHORT.get(attribute.oid, ""), str(attribute.value)) for attribute in request.subject)
        more = any(not short for short, _ in pairs) or len(list(request.attributes)) > 0
    except (ValueError, x509.InvalidVersion):
        return (), True
    return pairs, more
