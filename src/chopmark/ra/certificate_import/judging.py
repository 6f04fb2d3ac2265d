"""Judge one certificate of the input: its issuer, its end, the customer whom its subject names, and its key.

Pure. The signature is verified with the pinned certificates of the former issuers; a matching name is not enough.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from chopmark.pki import path
from chopmark.pki.x509 import any_spki, serial_in
from chopmark.ra.certificate_import.report import Found
from chopmark.ra.certificate_import.subjects import Named, Template, parse_template, read_subject
from chopmark.ra.certificate_import.tables import Cell
from chopmark.ra.former_issuers import FormerIssuers
from chopmark.ra.former_keys import UNREAD, may_prove
from chopmark.ra.imported import Fingerprint, Way
from chopmark.tw.text import compact


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that may be imported: of a former issuer, not expired. `fit`: its key may prove a renewal."""

    issuer: str
    serial: str
    der: bytes
    fingerprint: Fingerprint
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    named: frozenset[Named]
    fit: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Why a certificate is not imported, and its serial number if that can be read."""

    found: Found
    serial: str = ""


class Judge:
    """Judges certificates by the former issuers that the settings name."""

    def __init__(self, former: FormerIssuers) -> None:
        self._by_name: dict[bytes, list[tuple[str, x509.Certificate]]] = {}
        self._own: set[bytes] = set()
        self._templates: Mapping[str, tuple[Template, ...]] = {
            issuer.id: tuple(parse_template(written) for written in issuer.subject_templates)
            for issuer in former.by_id.values()
        }
        for issuer in former.by_id.values():
            for der in issuer.certificates:
                certificate = x509.load_der_x509_certificate(der)
                self._own.add(der)
                self._by_name.setdefault(certificate.subject.public_bytes(), []).append((issuer.id, certificate))

    def judge(self, der: bytes, now: datetime) -> Candidate | Refuse:
        """Return a candidate for the import, or why the certificate is not one."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            serial = serial_in(certificate)
            if der in self._own or _is_authority(certificate):
                return Refuse(Found.AUTHORITY, serial)
            issuer = self._issuer_of(certificate)
            if issuer is None:
                return Refuse(Found.NOT_FORMER, serial)
            if now > certificate.not_valid_after_utc:
                return Refuse(Found.EXPIRED, serial)
            return Candidate(
                issuer=issuer,
                serial=serial,
                der=der,
                fingerprint=Fingerprint(hashlib.sha256(der).hexdigest()),
                spki_sha256=hashlib.sha256(any_spki(certificate)).hexdigest(),
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                named=read_subject(certificate.subject, self._templates[issuer]),
                fit=may_prove(der),
            )
        except UNREAD:
            return Refuse(Found.UNREADABLE)

    def _issuer_of(self, certificate: x509.Certificate) -> str | None:
        for issuer, authority in self._by_name.get(certificate.issuer.public_bytes(), ()):
            if path.issued_by(certificate, authority):
                return issuer
        return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


_WAYS: Final = {
    "file": Way.FILE,
    "p12": Way.FILE,
    "pfx": Way.FILE,
    "檔案": Way.FILE,
    "vault": Way.VAULT,
    "component": Way.VAULT,
    "store": Way.VAULT,
    "元件": Way.VAULT,
    "瀏覽器": Way.VAULT,
    "none": Way.NONE,
    "無": Way.NONE,
}


def way_of(cells: Mapping[Cell, str]) -> Way:
    """Return where the key is stored, by the words of a table."""
    return _WAYS.get(compact(cells.get(Cell.KEY, "")).lower(), Way.UNKNOWN)
