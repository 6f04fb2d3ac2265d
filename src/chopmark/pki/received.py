"""Check a certificate that another CA made, before anything else uses it: is it what was requested (F19)?

Pure: bytes in, findings out. Trusted are only the order (key and name), the profile and the configured anchors; nothing
that came with the certificate is trusted by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.core.types import text
from chopmark.pki import path, signing
from chopmark.pki.der import NotDer, require_der
from chopmark.pki.finding import Finding
from chopmark.pki.profile import Profile
from chopmark.pki.x509 import RDN_OIDS

T = TypeVar("T", bound=x509.ExtensionType)

MAX_CERTIFICATE_BYTES = 16 * 1024
MAX_OFFERED = 16
CLOCK_SKEW = timedelta(minutes=5)
LONGER = timedelta(days=1)
"""So much longer than in the profile a validity may be, because CAs backdate the start or round the end."""
SHORTER = timedelta(days=31)
"""So much shorter it may be, because a CA may let it end with the month."""
_HASHES = frozenset({"sha256", "sha384", "sha512"})
_NEVER = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CODE_SIGNING,
    ExtendedKeyUsageOID.TIME_STAMPING,
    ExtendedKeyUsageOID.OCSP_SIGNING,
}


class Naming(StrEnum):
    """Who says what the subject is."""

    OURS = "ours"
    """The subject is exactly what was asked for: the same attributes, in whatever order."""
    THEIRS = "theirs"
    """The CA chooses the name; it must contain the value of our last attribute, which names the customer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: `subject` are (short name, value) pairs of our own records."""

    spki_der: bytes
    subject: tuple[tuple[str, str], ...]
    naming: Naming
    profile: Profile


@dataclass(frozen=True, slots=True)
class Anchors:
    """What the operator trusts: self-signed roots, and certificates between them and the customer's; DER."""

    roots: tuple[bytes, ...]
    between: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """The result: the chain (issuer first, root last) if there is one, and all findings; no findings means accepted."""

    chain: tuple[bytes, ...]
    findings: tuple[Finding, ...]

    @property
    def codes(self) -> str:
        """The codes of the findings in one word."""
        return ",".join(dict.fromkeys(finding.code for finding in self.findings))


def read_anchors(pem: bytes) -> Anchors:
    """Return the CA certificates of a PEM file; ValueError when there is no self-signed one, or one is no CA."""
    found = x509.load_pem_x509_certificates(pem)
    for certificate in found:
        if not _is_ca(certificate):
            raise ValueError(f"{certificate.subject.rfc4514_string()} is not a CA certificate")
    ders = [_der(certificate) for certificate in found]
    roots = tuple(der for der, certificate in zip(ders, found, strict=True) if path.issued_by(certificate, certificate))
    if not roots:
        raise ValueError("there is no self-signed certificate among the anchors")
    return Anchors(roots, tuple(der for der in ders if der not in roots))


def judge(leaf_der: bytes, offered: Sequence[bytes], wanted: Wanted, anchors: Anchors, now: datetime) -> Judged:
    """Check whether a certificate is the one that was requested.

    1 strict DER of version 3  2 our key  3 the subject  4 a path to an anchor, valid at `now` (aware UTC)  5 validity
    6 what it may be used for. `offered` are further certificates that came with it: at most 16 are looked at.
    """
    try:
        if len(leaf_der) > MAX_CERTIFICATE_BYTES:
            raise NotDer("too large")
        require_der(leaf_der)
        leaf = x509.load_der_x509_certificate(leaf_der)
        found = [*_identity(leaf, wanted), *_validity(leaf, wanted.profile, now), *_uses(leaf, wanted)]
    except (
        NotDer,
        ValueError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return Judged((), (misfit("malformed"),))
    chain = build_chain(leaf_der, (*anchors.between, *offered[:MAX_OFFERED]), anchors.roots)
    if not chain:
        found.append(misfit("chain"))
    else:
        found += path.chain_findings(leaf_der, chain[:-1], chain[-1], now)
    return Judged(chain, tuple(found))


def build_chain(leaf_der: bytes, between: Sequence[bytes], roots: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the certificates from the leaf's issuer to a root, root last; empty when no root is reached."""
    pool, tops = _readable(between), _readable(roots)
    chain: list[bytes] = []
    at = x509.load_der_x509_certificate(leaf_der)
    while len(chain) <= path.MAX_CHAIN:
        for root in tops:
            if path.issued_by(at, root):
                return (*chain, _der(root))
        above = next((one for one in pool if _der(one) not in chain and path.issued_by(at, one)), None)
        if above is None:
            return ()
        chain.append(_der(above))
        at = above
    return ()


def is_asked_for(leaf_der: bytes, wanted: Wanted, anchors: Anchors) -> bool:
    """Tell whether a certificate that was not accepted has to be revoked at our request.

    It has if the CA signed it and it contains our key or our subject; a certificate of somebody else is not touched.
    """
    try:
        leaf = x509.load_der_x509_certificate(leaf_der)
        mine = signing.spki_of(leaf) == wanted.spki_der or not list(_subject(leaf, wanted))
        return mine and bool(build_chain(leaf_der, anchors.between, anchors.roots))
    except (ValueError, UnsupportedAlgorithm):
        return False


def misfit(code: str) -> Finding:
    """Return the finding with this code: what came is not what was requested."""
    return Finding(code, text("The certificate that the CA sent does not fit the order."))


def _identity(leaf: x509.Certificate, wanted: Wanted) -> Iterator[Finding]:
    if leaf.version is not x509.Version.v3:
        yield misfit("version")
    if not 0 < leaf.serial_number < 1 << 160:
        yield misfit("serial")
    if signing.spki_of(leaf) != wanted.spki_der:
        yield misfit("key")
    algorithm = leaf.signature_hash_algorithm
    if algorithm is None or algorithm.name not in _HASHES:
        yield misfit("signature_algorithm")
    yield from _subject(leaf, wanted)


def _subject(leaf: x509.Certificate, wanted: Wanted) -> Iterator[Finding]:
    has = sorted((attribute.oid.dotted_string, str(attribute.value)) for attribute in leaf.subject)
    if wanted.naming is Naming.OURS:
        if has != sorted((RDN_OIDS[short].dotted_string, value) for short, value in wanted.subject):
            yield misfit("subject")
    elif wanted.subject[-1][1] not in {value for _, value in has}:
        yield misfit("subject")


def _validity(leaf: x509.Certificate, profile: Profile, now: datetime) -> Iterator[Finding]:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not now - LONGER <= start <= now + CLOCK_SKEW:
        yield misfit("not_before")
    if not profile.validity.after(start) - SHORTER <= end <= profile.validity.after(start) + LONGER:
        yield misfit("not_after")


def _uses(leaf: x509.Certificate, wanted: Wanted) -> Iterator[Finding]:
    """RFC 5280 s.4.2.1.3, 9 and 12: not a CA, all uses of the profile, and no use that the profile excludes."""
    if _is_ca(leaf):
        yield misfit("ca")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not _key_usage_fits(usage, wanted.profile):
        yield misfit("key_usage")
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    purposes = set() if extended is None else {purpose.dotted_string for purpose in extended}
    if not set(wanted.profile.eku) <= purposes or purposes & {oid.dotted_string for oid in _NEVER}:
        yield misfit("eku")
    if wanted.naming is Naming.OURS and _extension(leaf, x509.SubjectAlternativeName) is not None:
        yield misfit("alternative_name")


def _key_usage_fits(usage: x509.KeyUsage, profile: Profile) -> bool:
    needed = {
        "digitalSignature": usage.digital_signature,
        "nonRepudiation": usage.content_commitment,
    }
    return all(needed[name] for name in profile.key_usage) and not (usage.key_cert_sign or usage.crl_sign)


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _readable(ders: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for der in ders:
        try:
            found.append(x509.load_der_x509_certificate(der))
        except ValueError:
            continue
    return found


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
