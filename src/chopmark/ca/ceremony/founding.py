"""Make a CA: root, issuing CA and OCSP responder, each with a key of its own, checked before anything is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.ca import crosschecks
from chopmark.ca.ports import IssuerRow, Names
from chopmark.core.clock import Entropy
from chopmark.core.types import IssuerId, Secret
from chopmark.keys import file as keyfile
from chopmark.keys.adapter import as_private_key
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.pki import ceremony, crl
from chopmark.pki.ceremony import Attributes, SerialAndValidity
from chopmark.pki.crl import RevokedEntry
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, Urls, make_serial
from chopmark.pki.publication import ROOT, Publication
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import IssuerView, not_after

ROOT_NODE = 0x7F
_YEAR = timedelta(days=365)
ROOT_LIFE, ISSUING_LIFE, RESPONDER_LIFE, ROOT_LIST_LIFE = 20 * _YEAR, 10 * _YEAR, 2 * _YEAR, 2 * _YEAR
BACKDATE = timedelta(minutes=5)


class CeremonyFailed(Exception):
    """A check of the ceremony's result failed; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Serials:
    """The serial numbers of a ceremony's certificates."""

    root: int
    issuing: int
    responder: int

    @classmethod
    def fresh(cls, entropy: Entropy) -> "Serials":
        """Return three fresh serials with at least 64 random bits each."""
        return cls(*(make_serial(ROOT_NODE, entropy.token(SERIAL_RANDOM_BYTES)) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that exists already: its signer, and what is stored of it (for a key in a device, only its name)."""

    signer: Signer
    stored: bytes


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """The keys of the issuing CA and of its responder."""

    issuing: HeldKey
    responder: HeldKey


@dataclass(frozen=True, slots=True)
class Founding:
    """Everything that decides a CA's certificates, apart from the keys; it makes them, DER.

    `root` is the root's short name in addresses; `start` is aware UTC, whole seconds. A certificate ends no later than
    its issuer's. The methods raise ValueError for a key that is not the issuer's.
    """

    issuer: IssuerId
    root: IssuerId
    names: Names
    publication: Publication
    start: datetime
    serials: Serials

    def root_certificate(self, key: IssuerKey) -> bytes:
        """Return the self-signed root: 20 years."""
        terms = _terms(self.serials.root, self.start, ROOT_LIFE)
        return ceremony.root_certificate(key, _subject(self.names, f"{self.names.issuing} Root"), terms)

    def issuing_certificate(self, root_key: IssuerKey, root_der: bytes, spki_der: bytes) -> bytes:
        """Return the issuing CA's certificate under the root: 10 years."""
        terms = _terms(self.serials.issuing, self.start, ISSUING_LIFE, not_after(root_der))
        root = IssuerView.read(self.root, root_der)
        return ceremony.issuing_certificate(root_key, root, spki_der, self.subject, terms, self.root_urls)

    @property
    def subject(self) -> Attributes:
        """The issuing CA's subject."""
        return _subject(self.names, self.names.issuing)

    @property
    def root_urls(self) -> Urls:
        """The addresses in the issuing CA's certificate: those of the root's certificate and revocation list."""
        certificate = f"{self.publication.base}/pki/{self.root}.cer"
        return Urls(ocsp="", ca_issuers=certificate, crl=self.publication.crl(self.root, 0))

    def responder_certificate(self, issuing_key: IssuerKey, issuing_der: bytes, spki_der: bytes) -> bytes:
        """Return the certificate of the issuing CA's OCSP responder: 2 years, within the issuing CA's validity."""
        issuing = IssuerView.read(self.issuer, issuing_der)
        start = max(self.start, issuing.not_before)  # another machine may have made the issuing CA's certificate later
        terms = _terms(self.serials.responder, start, RESPONDER_LIFE, issuing.not_after)
        subject = _subject(self.names, f"{self.names.issuing} OCSP")
        return ceremony.ocsp_responder_certificate(issuing_key, issuing, spki_der, subject, terms)


def _terms(serial: int, start: datetime, life: timedelta, latest: datetime | None = None) -> SerialAndValidity:
    end = start + life - timedelta(seconds=1)
    return SerialAndValidity(serial, start, end if latest is None else min(end, latest))


def root_list(
    root_key: IssuerKey, root_der: bytes, number: int, start: datetime, entries: Sequence[RevokedEntry] = ()
) -> bytes:
    """Return the root's complete revocation list, DER, valid for two years but not beyond the root."""
    root = IssuerView.read(ROOT, root_der)
    until = min(start + ROOT_LIST_LIFE, root.not_after)
    return crl.build_crl(root, root_key, number, start, until, entries, None)


@dataclass(frozen=True, slots=True)
class Founded:
    """What a ceremony made; `root_key_pem` goes to a safe and never into the database, `root_crl` is published."""

    root_certificate: bytes
    root_key_pem: bytes
    root_crl: bytes
    issuer: IssuerRow


def found(
    issuer_id: IssuerId,
    names: Names,
    passphrase: Secret,
    publication: Publication,
    now: datetime,
    entropy: Entropy,
    held: HeldKeys | None = None,
    algorithm: KeyAlgorithm = KeyAlgorithm.P256,
) -> Founded:
    """Return a new CA: root 20 years, issuing CA 10 years, responder 2 years; key files open with `passphrase`.

    The root's key is always a file, for the safe. `held` are the other two keys; without it they are made as files.
    Raises CeremonyFailed when a check of the result fails.
    """
    start = now.replace(microsecond=0) - BACKDATE
    founding = Founding(issuer_id, ROOT, names, publication, start, Serials.fresh(entropy))
    # 1. The keys of root, issuing CA and OCSP responder.
    root = _key_file(algorithm, passphrase)
    held = held or HeldKeys(_key_file(algorithm, passphrase), _key_file(algorithm, passphrase))
    root_key, issuing_key = as_private_key(root.signer), as_private_key(held.issuing.signer)
    # 2. The root's certificate, the issuing CA's under it, the responder's under that one, and the root's list.
    root_der = founding.root_certificate(root_key)
    issuing_der = founding.issuing_certificate(root_key, root_der, held.issuing.signer.public_key_der)
    responder_der = founding.responder_certificate(issuing_key, issuing_der, held.responder.signer.public_key_der)
    root_crl = root_list(root_key, root_der, 1, start)
    # 3. Check all of it before it is returned.
    made = crosschecks.Made(root_der, issuing_der, responder_der, root_crl)
    faults = crosschecks.faults(made, held.issuing.signer, held.responder.signer, now)
    if faults:
        raise CeremonyFailed(", ".join(faults))
    stored = held.issuing.stored, held.responder.stored
    row = IssuerRow(issuer_id, names.title, issuing_der, (root_der,), stored[0], responder_der, stored[1])
    return Founded(root_der, root.stored, root_crl, row)


def _key_file(algorithm: KeyAlgorithm, passphrase: Secret) -> HeldKey:
    pem = keyfile.create(algorithm, passphrase)
    return HeldKey(keyfile.FileSigner.open(pem, passphrase), pem)


def _subject(names: Names, common_name: str) -> Attributes:
    return (("C", "TW"), ("O", names.organization), ("CN", common_name))
