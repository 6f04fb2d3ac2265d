"""The order of issuance as types: Draft -> Linted -> Reserved -> Issued (architecture rule 2).

pkilint checks one linting certificate of each kind. Every real draft must equal it field by field; the fields that may
differ are checked one by one. A Linted can only be made by `lint`; only a Linted can be reserved, only a Reserved
signed.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtensionOID

from chopmark.core.types import OrderId, text
from chopmark.pki import key_checks, signing
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.der import NotDer, PublicKeyInfo, constructed, encoded, require_der, tlv
from chopmark.pki.draft import Draft, LintingCertificateKey, assemble, distribution_point
from chopmark.pki.finding import Finding
from chopmark.pki.profile import Lifetime
from chopmark.pki.x509 import RDN_OIDS, Attribute, Extension, TbsCertificate, Time, moment, require_value


@dataclass(frozen=True, slots=True)
class Allowed:
    """The values that a draft may have where it differs from its linting certificate."""

    crl_urls: frozenset[str]
    validity: Lifetime
    issuer_not_before: datetime
    issuer_not_after: datetime


@dataclass(frozen=True, slots=True)
class LintingCertificate:
    """A TBSCertificate that pkilint has found clean, for one (profile version, issuer, key algorithm)."""

    tbs_der: bytes
    key: LintingCertificateKey
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class _Seal:
    """Proves that exactly this draft was compared."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class Linted:
    """A draft that equals its linting certificate; only this module can make the seal, and it is for one draft."""

    draft: Draft
    _seal: _Seal

    def __post_init__(self) -> None:
        if getattr(self._seal, "draft", None) is not self.draft:
            raise TypeError("a Linted is made by lint() only")


@dataclass(frozen=True, slots=True)
class Reserved:
    """A linted draft whose serial, TBS and order are stored; make it after that transaction has committed."""

    linted: Linted
    order: OrderId
    attempt: int

    def issue(self, signature: bytes) -> "Issued":
        """Return the certificate; ValueError when the signature is not the issuer's over exactly these bytes."""
        draft = self.linted.draft
        if not signing.verifies(
            _issuer_key(draft.issuer.spki_der), signature, draft.tbs_der, draft.issuer.key.hash_algorithm
        ):
            raise ValueError("the signature is not by the issuer's key")
        return Issued(assemble(draft.tbs_der, draft.signature_algorithm_der, signature), self)


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed certificate whose signature has been verified, and the reservation it came from."""

    certificate_der: bytes
    reserved: Reserved


@lru_cache(maxsize=16)
def _issuer_key(spki_der: bytes) -> signing.IssuerPublicKey:
    return signing.public_key(spki_der)


def lint(draft: Draft, linting_certificate: LintingCertificate) -> Linted | tuple[Finding, ...]:
    """Return the draft as Linted, or every way in which it differs from its linting certificate."""
    if draft.linting_certificate_key != linting_certificate.key:
        return (_different("exemplar_key"),)
    found = compare(draft.tbs_der, linting_certificate.tbs_der, linting_certificate.allowed)
    return found or Linted(draft, _Seal(draft))


def compare(tbs_der: bytes, exemplar_tbs_der: bytes, allowed: Allowed) -> tuple[Finding, ...]:
    """Return every field of a TBSCertificate that differs from the linting certificate's without being allowed to.

    Equal to the octet: version, signature algorithm, issuer, the subject's attribute types and string types, the
    key's algorithm, and each extension with its criticality and place. Checked by rule instead: serial, validity,
    subject values, key, subject key identifier, CRL distribution point.
    """
    try:
        model = _model(exemplar_tbs_der)
        require_der(tbs_der, model.elements)
        mine = asn1.decode_der(TbsCertificate, tbs_der)
    except (NotDer, ValueError):
        return (Finding("tbs_malformed", text("The certificate's contents cannot be read.")),)
    key = encoded(mine.public_key)
    differences = [
        ("version", mine.version == model.tbs.version == 2),
        ("serial", 0 < mine.serial < 1 << 159 and mine.serial.bit_length() > 64),
        ("signature_algorithm", encoded(mine.signature) == model.signature),
        ("issuer", encoded(mine.issuer) == model.issuer),
        ("validity", _validity_holds(mine, allowed)),
        ("subject", _subject_holds(mine, model)),
        ("key", _key_holds(key, model)),
    ]
    found = [_different(field) for field, holds in differences if not holds]
    return (*found, *_extension_findings(mine, model.tbs, key, allowed))


@dataclass(frozen=True, slots=True)
class _Model:
    """The fields of a linting certificate's TBSCertificate; None for one that could not be read, and equals nothing.

    `elements` are its constructed elements, which are DER.
    """

    tbs: TbsCertificate
    elements: frozenset[bytes]
    signature: bytes
    issuer: bytes
    subject: list[tuple[x509.ObjectIdentifier, bytes]] | None
    key: KeyKind | None


@lru_cache(maxsize=64)
def _model(exemplar_tbs_der: bytes) -> _Model:
    require_der(exemplar_tbs_der)
    tbs = asn1.decode_der(TbsCertificate, exemplar_tbs_der)
    try:
        subject, key = _shape(_attributes(tbs)), key_checks.kind(encoded(tbs.public_key))
    except ValueError:
        subject, key = None, None
    return _Model(tbs, constructed(exemplar_tbs_der), encoded(tbs.signature), encoded(tbs.issuer), subject, key)


def _shape(attributes: Iterable[Attribute]) -> list[tuple[x509.ObjectIdentifier, bytes]]:
    return [(attribute.type, attribute.value.tag_bytes) for attribute in attributes]


_SHORTS = {oid: short for short, oid in RDN_OIDS.items()}


def _different(field: str) -> Finding:
    return Finding(f"differs_{field}", text("The certificate's %(field)s is not what its profile says.", field=field))


def _validity_holds(mine: TbsCertificate, allowed: Allowed) -> bool:
    times: tuple[Time, Time] = (mine.validity.not_before, mine.validity.not_after)
    start, end = moment(times[0]), moment(times[1])
    encoded_rightly = all(isinstance(value, asn1.UTCTime) == (moment(value).year < 2050) for value in times)
    within = allowed.issuer_not_before <= start < end <= allowed.issuer_not_after
    return encoded_rightly and within and end == allowed.validity.after(start)


def _attributes(tbs: TbsCertificate) -> Iterator[Attribute]:
    for rdn in tbs.subject:
        attributes = rdn.as_list()
        if len(attributes) != 1:
            raise ValueError("an RDN of several attributes")
        yield attributes[0]


def _subject_holds(mine: TbsCertificate, model: _Model) -> bool:
    try:
        ours = list(_attributes(mine))
        for attribute in ours:
            value = bytes(attribute.value.data).decode("utf-8")
            require_value(_SHORTS[attribute.type], value)
            if attribute.value.tag_bytes == b"\x13" and not value.isascii():
                return False
            if unicodedata.normalize("NFC", value) != value:
                return False
    except (ValueError, KeyError):
        return False
    return _shape(ours) == model.subject


def _key_holds(spki_der: bytes, model: _Model) -> bool:
    try:
        return key_checks.kind(spki_der) == model.key
    except ValueError:
        return False


def _extension_findings(
    mine: TbsCertificate, model: TbsCertificate, spki_der: bytes, allowed: Allowed
) -> Iterator[Finding]:
    if [(e.id, e.critical) for e in mine.extensions] != [(e.id, e.critical) for e in model.extensions]:
        yield _different("extensions")
        return
    for ours, theirs in zip(mine.extensions, model.extensions, strict=True):
        if not _extension_holds(ours, theirs, spki_der, allowed):
            yield _different(f"extension_{ours.id.dotted_string}")


def _extension_holds(ours: Extension, theirs: Extension, spki_der: bytes, allowed: Allowed) -> bool:
    if ours.id == ExtensionOID.SUBJECT_KEY_IDENTIFIER:
        return ours.value == _key_identifier(spki_der)
    if ours.id == ExtensionOID.CRL_DISTRIBUTION_POINTS:
        return ours.value in _points(allowed.crl_urls)
    return ours.value == theirs.value


@lru_cache(maxsize=64)
def _points(crl_urls: frozenset[str]) -> frozenset[bytes]:
    return frozenset(distribution_point(url).public_bytes() for url in crl_urls)


def _key_identifier(spki_der: bytes) -> bytes:
    """RFC 5280 s.4.2.1.2 method (1): SHA-1 of the key's bits."""
    try:
        info = asn1.decode_der(PublicKeyInfo, spki_der)
    except ValueError:
        return b""
    return tlv(0x04, hashlib.sha1(info.key.as_bytes(), usedforsecurity=False).digest())
