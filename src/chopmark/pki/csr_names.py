"""Read the names in a certification request, to make sure that a CA which uses them finds only what we expect."""

from cryptography import x509

from chopmark.pki.x509 import RDN_OIDS

_SHORT = {oid: short for short, oid in RDN_OIDS.items()}


def names_of(csr_der: bytes) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the request's subject as (short name, value) pairs, and whether it contains anything more.

    More is a name attribute that no profile has, or any PKCS #10 attribute: extensions, a challenge password (RFC 2986
    s.4.1). A request that cannot be read counts as containing more.
    """
    try:
        request = x509.load_der_x509_csr(csr_der)
        pairs = tuple((_SHORT.get(attribute.oid, ""), str(attribute.value)) for attribute in request.subject)
        more = any(not short for short, _ in pairs) or len(list(request.attributes)) > 0
    except (ValueError, x509.InvalidVersion):
        return (), True
    return pairs, more
