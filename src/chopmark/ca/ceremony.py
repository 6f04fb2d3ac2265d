"""Founding a CA: root, issuing CA and OCSP responder, each with a key of its own, checked before anything is stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.ca.lint import Linter
from chopmark.ca.ports import IssuerRow
from chopmark.clock import Entropy
from chopmark.keys import file as keyfile
from chopmark.keys.adapter import as_private_key
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.pki import ceremony, crl, path
from chopmark.pki.ceremony import Attributes, Terms
from chopmark.pki.draft import SERIAL_RANDOM_BYTES, Urls, make_serial
from chopmark.pki.publication import ROOT, Publication
from chopmark.pki.x509 import IssuerView
from chopmark.words import IssuerId, Secret

ROOT_NODE = 0x7F
_YEAR = timedelta(days=365)


class CeremonyFailed(Exception):
    """A cross-check did not hold; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the CA is called: the firm, the issuing CA's common name and its title for customers."""

    organization: str
    issuing: str
    title: str


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that exists already: its signer, and what the database keeps of it (never the key of a device)."""

    signer: Signer
    stored: bytes


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """The keys of the issuing CA and of its responder."""

    issuing: HeldKey
    responder: HeldKey


@dataclass(frozen=True, slots=True)
class Founded:
    """What a ceremony made. `root_key_pem` goes to a safe, never into the database; `root_crl` is published."""

    root_certificate: bytes
    root_key_pem: bytes
    root_crl: bytes
    crl_this_update: datetime
    crl_next_update: datetime
    issuer: IssuerRow


def found(
    issuer_id: IssuerId,
    names: Names,
    passphrase: Secret,
    publication: Publication,
    now: datetime,
    entropy: Entropy,
    held: HeldKeys | None = None,
) -> Founded:
    """Return a new CA: root 20 years, issuing CA 10 years, responder 2 years; key files open with `passphrase`.

    The root's key is always a file, for the safe; `held` are the other two, without it they are made as files.
    1 keys  2 root  3 issuing CA under it  4 responder under that  5 the root's list  6 lint and chain checks.
    Raises CeremonyFailed.
    """
    start = now.replace(microsecond=0) - timedelta(minutes=5)
    root = _key_file(passphrase)
    held = held or HeldKeys(_key_file(passphrase), _key_file(passphrase))
    root_key, issuing_key = as_private_key(root.signer), as_private_key(held.issuing.signer)
    root_der = ceremony.root_certificate(
        root_key, _subject(names, f"{names.issuing} Root"), _terms(entropy, start, 20 * _YEAR)
    )
    root_view = IssuerView.read(ROOT, root_der)
    root_urls = Urls(ocsp="", ca_issuers=f"{publication.base}/pki/{ROOT}.cer", crl=publication.crl(ROOT, 0))
    issuing_der = ceremony.issuing_certificate(
        root_key,
        root_view,
        held.issuing.signer.public_key_der,
        _subject(names, names.issuing),
        _terms(entropy, start, 10 * _YEAR),
        root_urls,
    )
    responder_der = ceremony.ocsp_responder_certificate(
        issuing_key,
        IssuerView.read(issuer_id, issuing_der),
        held.responder.signer.public_key_der,
        _subject(names, f"{names.issuing} OCSP"),
        _terms(entropy, start, 2 * _YEAR),
    )
    crl_until = start + 2 * _YEAR
    root_crl = crl.build_crl(root_view, root_key, 1, start, crl_until, (), None)
    _check(root_der, issuing_der, responder_der, root_crl, now)
    stored = held.issuing.stored, held.responder.stored
    row = IssuerRow(issuer_id, names.title, issuing_der, (root_der,), stored[0], responder_der, stored[1])
    return Founded(root_der, root.stored, root_crl, start, crl_until, row)


def _key_file(passphrase: Secret) -> HeldKey:
    pem = keyfile.create(KeyAlgorithm.P256, passphrase)
    return HeldKey(keyfile.FileSigner.open(pem, passphrase), pem)


def _subject(names: Names, common_name: str) -> Attributes:
    return (("C", "TW"), ("O", names.organization), ("CN", common_name))


def _terms(entropy: Entropy, start: datetime, life: timedelta) -> Terms:
    serial = make_serial(ROOT_NODE, entropy.token(SERIAL_RANDOM_BYTES))
    return Terms(serial, start, start + life - timedelta(seconds=1))


def _check(root: bytes, issuing: bytes, responder: bytes, root_crl: bytes, now: datetime) -> None:
    linter = Linter()
    faults = [finding.code for der in (root, issuing, responder) for finding in linter.findings_certificate(der)]
    faults += [finding.code for finding in linter.findings_crl(root_crl)]
    faults += [finding.code for finding in path.chain_findings(responder, (issuing,), root, now)]
    if faults:
        raise CeremonyFailed(", ".join(faults))
