"""Build revocation lists (RFC 5280 s.5), whole or by shard; encoded directly, as they may have 100,000 entries."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from chopmark.pki import der, signing
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import Extension, IssuerView, Time, time

MAX_NUMBER_BITS = 159


class CrlReason(IntEnum):
    """RFC 5280 s.5.3.1; the reasons that an issuing CA gives."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    PRIVILEGE_WITHDRAWN = 9


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One revoked certificate; `at` is aware UTC, whole seconds."""

    serial: int
    at: datetime
    reason: CrlReason


@asn1.sequence
class _Entry:
    serial: int
    at: Time
    extensions: list[Extension] | None


@asn1.sequence
class _TbsCertList:
    version: int
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: Time
    next_update: Time
    revoked: list[_Entry] | None
    extensions: Annotated[list[Extension], asn1.Explicit(0)]


def build_crl(
    issuer: IssuerView,
    key: IssuerKey,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[RevokedEntry],
    idp_url: str | None,
) -> bytes:
    """Return a signed CRL, version 2, DER.

    `key` is the issuer's own; `number` rises with every list of the same scope; times are aware UTC, whole seconds.
    With `idp_url` the list is one shard: a critical issuing distribution point names the address that the
    certificates of the shard carry. ValueError for another key, a number out of range or a life that is not positive.
    """
    if signing.spki(key.public_key()) != issuer.spki_der:
        raise ValueError("a CRL is signed with the key of its issuer")
    if not 0 <= number < 1 << MAX_NUMBER_BITS:
        raise ValueError("a CRL number has at most 20 octets")
    if this_update >= next_update:
        raise ValueError("nextUpdate must be later than thisUpdate")
    algorithm_der = der.signature_algorithm(issuer.key)
    lines = [_Entry(serial=e.serial, at=time(e.at), extensions=_reason(e.reason)) for e in entries]
    body = asn1.encode_der(
        _TbsCertList(
            version=1,
            signature=asn1.decode_der(asn1.TLV, algorithm_der),
            issuer=asn1.decode_der(asn1.TLV, issuer.name_der),
            this_update=time(this_update),
            next_update=time(next_update),
            revoked=lines or None,
            extensions=_extensions(issuer, number, idp_url),
        )
    )
    return der.signed(body, algorithm_der, signing.sign(key, body))


def _reason(reason: CrlReason) -> list[Extension] | None:
    if reason is CrlReason.UNSPECIFIED:
        return None
    return [Extension(id=CRLEntryExtensionOID.CRL_REASON, critical=False, value=bytes((0x0A, 1, reason)))]


def _extensions(issuer: IssuerView, number: int, idp_url: str | None) -> list[Extension]:
    authority = x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None).public_bytes()
    extensions = [
        Extension(id=ExtensionOID.AUTHORITY_KEY_IDENTIFIER, critical=False, value=authority),
        Extension(id=ExtensionOID.CRL_NUMBER, critical=False, value=x509.CRLNumber(number).public_bytes()),
    ]
    if idp_url is not None:
        point = x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(idp_url)],
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        identifier = ExtensionOID.ISSUING_DISTRIBUTION_POINT
        extensions.append(Extension(id=identifier, critical=True, value=point.public_bytes()))
    return extensions


def entries_of(crl_der: bytes) -> tuple[RevokedEntry, ...]:
    """Return the entries of a list, to be carried into the next one; ValueError for a reason that we never give."""
    return tuple(_entry(revoked) for revoked in x509.load_der_x509_crl(crl_der))


def _entry(revoked: x509.RevokedCertificate) -> RevokedEntry:
    try:
        reason = revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason.name
    except x509.ExtensionNotFound:
        reason = CrlReason.UNSPECIFIED.name
    if reason.upper() not in CrlReason.__members__:
        raise ValueError(f"a list with the reason {reason}")
    return RevokedEntry(revoked.serial_number, revoked.revocation_date_utc, CrlReason[reason.upper()])
