"""The installation's CAs, opened: the one that issues, and those before it, which answer for what they issued."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.audit.journaling import Journal
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import system_stream
from chopmark.audit.restorewatch import RestoreWatch
from chopmark.ca.approval import Approvals
from chopmark.ca.embedded import Authority, Books, EmbeddedIssuer, IssuerConfig
from chopmark.ca.journaled import CaJournal
from chopmark.ca.ports import IssuerRow, Names
from chopmark.ca.shipped import profile_named, shipped_profiles
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import IssuerId, Secret
from chopmark.keys.file import KeyFileError
from chopmark.keys.keyring import Keyring, NoDevice, NoShares
from chopmark.keys.ports import KeyAlgorithm, SignerUnavailable
from chopmark.pki.publication import ROOT, Publication
from chopmark.pki.x509 import IssuerView, not_after, spki_der
from chopmark.store.repositories.ca.certificates import CertificateRepository, StatusRepository
from chopmark.store.repositories.va.presigned import Presigned
from chopmark.va.alarms import Watch
from chopmark.va.overlay import Overlaid
from chopmark.va.ports import Crl
from chopmark.va.presigning import Presigner
from chopmark.va.publisher import Publisher
from chopmark.va.renewal import ResponderRenewal
from chopmark.va.responder import Responder, ResponderKey
from chopmark.va.status_watcher import StatusWatcher
from chopmark.web.brand import Brand

ISSUER = IssuerId("investor")
"""The first issuing CA; its successors are investor-2, investor-3 ..."""
_SUCCESSOR = re.compile(r"-([1-9][0-9]{0,5})$")


class Unopened(Exception):
    """A CA cannot be opened; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Means:
    """What it takes to open the CAs."""

    settings: Settings
    brand: Brand
    certificates: CertificateRepository
    status: StatusRepository
    audit_log: AuditLog
    keyring: Keyring
    clock: Clock
    entropy: Entropy
    presigned: Presigned
    approvals: Approvals
    journal: Journal
    restorewatch: RestoreWatch


@dataclass(frozen=True, slots=True)
class Ca:
    """One issuing CA and its status services; `root` is its root's short name in addresses."""

    authority: Authority
    issuer: EmbeddedIssuer
    responder: Responder
    presigner: Presigner
    watch: Watch
    publisher: Publisher
    renewal: ResponderRenewal
    root: IssuerId
    status_watcher: StatusWatcher
    """One for all CAs of a process."""


@dataclass(frozen=True, slots=True)
class Named:
    """A stored CA, which it is of its line (from 1), and its root's short name."""

    row: IssuerRow
    number: int
    root: IssuerId


def lineage(rows: Sequence[IssuerRow]) -> list[Named]:
    """Return the CAs in their order with their roots' names.

    The first root is `root`; one that a later CA brought is called after that CA's number: `root-3`.
    """
    roots: dict[bytes, IssuerId] = {}
    line = []
    for row in sorted(rows, key=lambda row: _number(row.id)):
        number = _number(row.id)
        line.append(Named(row, number, roots.setdefault(row.chain[-1], own_root(number))))
    return line


def successor(rows: Sequence[IssuerRow]) -> int:
    """Return the number of the CA that comes next."""
    return max((_number(row.id) for row in rows), default=0) + 1


def named(number: int) -> IssuerId:
    """Return the id of the CA of this number."""
    return ISSUER if number == 1 else IssuerId(f"{ISSUER}-{number}")


def own_root(number: int) -> IssuerId:
    """Return the short name of a root that comes with the CA of this number."""
    return ROOT if number == 1 else IssuerId(f"{ROOT}-{number}")


def _number(issuer: IssuerId) -> int:
    found = _SUCCESSOR.search(issuer)
    return int(found[1]) if found else 1


def constants(brand: Brand) -> dict[str, str]:
    """Return the subject values that are the firm's."""
    return {"firm": brand.firm.en, "unit": "Investors", "ra": "RA-Chopmark"}


async def open_all(means: Means) -> tuple[Ca, tuple[Ca, ...]]:
    """Return the CA that issues, and those before it, newest first. Raises Unopened."""
    line = lineage(await means.certificates.issuers())
    if not line:
        raise Unopened("there is no CA yet: run `chopmark ca init` or `chopmark ca ceremony`")
    chains = {one.row.id: (one.row.certificate, *one.row.chain) for one in line}
    status_watcher = StatusWatcher(means.status)
    (issuing,) = (_open(means, one, chains, status_watcher) for one in line if one.row.issues)
    return issuing, tuple(_open(means, one, chains, status_watcher) for one in reversed(line) if not one.row.issues)


def _open(means: Means, one: Named, chains: Mapping[IssuerId, tuple[bytes, ...]], status_watcher: StatusWatcher) -> Ca:
    row, settings, clock = one.row, means.settings, means.clock
    status = Overlaid(means.status, means.restorewatch)
    view = IssuerView.read(row.id, row.certificate)
    try:
        signer = means.keyring.open(row.key_pem, view.spki_der)
        responder_signer = means.keyring.open(row.responder_key_pem, spki_der(row.responder_certificate))
    except (NoDevice, NoShares) as error:
        raise Unopened(str(error)) from error
    except KeyFileError as error:
        said = f"the keys of the CA {row.id} do not open with the secrets that are set (ca_passphrase, or both shares)"
        raise Unopened(f"{said}: {error}") from error
    if (signer.public_key_der, responder_signer.public_key_der) != (view.spki_der, spki_der(row.responder_certificate)):
        raise Unopened(f"the keys of the CA {row.id} are not those of its certificates")
    authority = Authority(view, row.chain, signer, row.name)
    profile = profile_named(settings.profile)
    publication = Publication(settings.publication_url)
    issuer_config = IssuerConfig(
        {profile.name: profile},
        constants(means.brand),
        publication,
        settings.node,
        tuple(one for one in shipped_profiles() if one != profile),
    )
    key = ResponderKey(view, row.responder_certificate, responder_signer, not_after(row.responder_certificate))
    responder = Responder(key, status, clock, status_watcher=status_watcher, opened=means.keyring.open)
    return Ca(
        authority,
        _issuer(means, authority, issuer_config, chains),
        responder,
        Presigner(view, responder, status, means.presigned, clock),
        Watch(view, row.chain, one.root, profile.shards, status, clock),
        Publisher(view, signer, profile.shards, publication, status, means.audit_log, clock),
        ResponderRenewal(view, row.chain, signer, settings.node, status, means.audit_log, clock, means.entropy),
        one.root,
        status_watcher,
    )


def _issuer(
    means: Means, authority: Authority, issuer_config: IssuerConfig, chains: Mapping[IssuerId, tuple[bytes, ...]]
) -> EmbeddedIssuer:
    books = Books(means.certificates, means.audit_log, CaJournal(means.journal, means.clock))
    return EmbeddedIssuer(authority, issuer_config, books, means.clock, means.entropy, means.approvals, chains)


@dataclass(frozen=True, slots=True)
class Taken:
    """A CA to be taken into use: its row, its root's short name and list, and the two persons who made it."""

    row: IssuerRow
    root: IssuerId
    root_list: Crl
    by: str | None = None
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class Founded:
    """A CA that was made in one go: what is taken into use, and the root's key file for the safe."""

    taken: Taken
    root_key_pem: bytes


def ca_names(means: Means, number: int) -> Names:
    """Return what the CA of this number is called, from the brand."""
    firm = means.brand.firm.en
    kind = " Demo" if means.settings.mode == "demo" else ""
    which = "" if number == 1 else f" {number}"
    return Names(firm, f"{firm}{kind} CA{which}", means.brand.ca_name.zh)


def found(means: Means, algorithm: KeyAlgorithm) -> Founded:
    """Return the first CA, its key files under the one pass-phrase of the secrets. Raises CeremonyFailed."""
    from chopmark.ca.ceremony import founding  # noqa: PLC0415 - pkilint is heavy

    settings = means.settings
    held = None
    if settings.signer == "pkcs11":
        labels = f"chopmark-{ISSUER}", f"chopmark-{ISSUER}-ocsp"
        held = founding.HeldKeys(*(founding.HeldKey(*means.keyring.hold(x, algorithm)) for x in labels))
    founded = founding.found(
        ISSUER,
        ca_names(means, 1),
        Secret(settings.ca_passphrase.get_secret_value()),
        Publication(settings.publication_url),
        means.clock.now(),
        means.entropy,
        held,
        algorithm,
    )
    return Founded(Taken(founded.issuer, ROOT, root_list(founded.root_crl)), founded.root_key_pem)


def root_list(der: bytes) -> Crl:
    """Return a root's list as it is published; ValueError when it is none, or says not when the next one comes."""
    read = x509.load_der_x509_crl(der)
    number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    if read.next_update_utc is None:
        raise ValueError("the list has no nextUpdate")
    return Crl(number, der, read.last_update_utc, read.next_update_utc, 0)


async def take_in(means: Means, taken: Taken) -> bool:
    """Have a CA issue from now on, and publish its root's list; False when another CA has its id. Twice is once."""

    async def add(builder: RecordBuilder) -> bool:
        people = {"by": taken.by, "approved_by": taken.approved_by} if taken.by else {}
        record = builder.record(Event.CA_CEREMONY_DONE, issuer=taken.row.id, **people)
        return await means.certificates.add_issuer(taken.row, means.clock.now(), record)

    if not await means.audit_log.write(system_stream("ca"), add):
        rows = await means.certificates.issuers()
        if taken.row.certificate not in (row.certificate for row in rows if row.id == taken.row.id):
            return False
    await publish_root_list(means, taken.root, taken.root_list, taken.by, taken.approved_by)
    return True


async def publish_root_list(
    means: Means, root: IssuerId, made: Crl, by: str | None = None, approved_by: str | None = None
) -> bool:
    """Publish a root's list; False when one with the same or a higher number is there."""
    people = {"by": by, "approved_by": approved_by} if by else {}

    async def publish(builder: RecordBuilder) -> bool:
        record = builder.record(Event.VA_CRL_PUBLISHED, issuer=root, crl_number=made.number, **people)
        return await means.status.publish(root, 0, made, record)

    return await means.audit_log.write(system_stream("ca"), publish)


def title(ca: Ca) -> str:
    """Return a CA's title with its number, but for the first."""
    number = _number(ca.authority.view.id)
    return ca.authority.title if number == 1 else f"{ca.authority.title} {number}"


def roots(cas: Sequence[Ca]) -> Iterator[tuple[IssuerId, str, bytes]]:
    """Yield short name, title and certificate of each root, once, in the CAs' order."""
    seen = set()
    for ca in cas:
        if ca.root not in seen:
            seen.add(ca.root)
            yield ca.root, f"{ca.authority.title} {ca.root.capitalize()}", ca.authority.chain[-1]


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends when: a CA's or a responder's certificate, or a root's list; `until` is aware UTC."""

    what: str
    until: datetime
    remedy: str


def living(cas: Sequence[Ca], now: datetime) -> tuple[Ca, ...]:
    """Return the CA that issues, and those before it whose certificate has not ended: nobody asks about the others."""
    return (*cas[:1], *(ca for ca in cas[1:] if ca.authority.view.not_after > now))


async def for_each_living(cas: Sequence[Ca], clock: Clock, job: Callable[[Ca], Awaitable[int]]) -> int:
    """Do a job for each living CA; return how much was done. A CA whose key is out of reach keeps no other waiting."""
    done, away = 0, None
    for ca in living(cas, clock.now()):
        try:
            done += await job(ca)
        except SignerUnavailable as unavailable:
            away = unavailable
    if away is not None:
        raise away
    return done


async def endings(cas: Sequence[Ca], status: StatusRepository, now: datetime) -> list[Ending]:
    """Return what relying parties need of these CAs and when it ends, soonest first.

    A CA before the one that issues ends by itself, with everything that it issued. A root's list that is not published
    here ends at once: certificates name it.
    """
    remedy = "roll over to a new CA: `chopmark ca rollover`"
    issuing = [ca.authority.view for ca in cas[:1]]
    found = [Ending(f"the certificate of {view.id}", view.not_after, remedy) for view in issuing]
    cas = living(cas, now)
    for ca in cas:
        issuer = ca.authority.view.id
        responder = await status.responder_certificate(issuer)
        if responder is not None:
            renewed = "a worker renews it by itself in its last 30 days"
            found.append(Ending(f"the OCSP responder's certificate of {issuer}", not_after(responder), renewed))
    for root, _, certificate in roots(cas):
        remedy = "roll over to a CA under a new root: `chopmark ca rollover`"
        found.append(Ending(f"the certificate of {root}", not_after(certificate), remedy))
        crl = (await status.shard(root, 0)).crl
        until = datetime.min.replace(tzinfo=UTC) if crl is None else crl.next_update
        found.append(Ending(f"the revocation list of {root}", until, "make the next one: `chopmark ca root-crl`"))
    return sorted(found, key=lambda ending: ending.until)
