"""Open the installation's CAs: the one that issues, and earlier ones, which still publish status."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chopmark.app.external_ca import ExternalDeps, certifier_of
from chopmark.app.foundation import Foundation
from chopmark.app.secrets import NotReady
from chopmark.audit.record import AuditKeys
from chopmark.ca.approval import Approvals, ApprovalTerms
from chopmark.ca.embedded import Authority, Books, EmbeddedIssuer, IssuerConfig
from chopmark.ca.journaled import CaJournal
from chopmark.ca.ports import Issuer, IssuerRow
from chopmark.ca.shipped import profile_named, shipped_profiles
from chopmark.core.clock import Clock
from chopmark.core.each import each
from chopmark.core.types import IssuerId
from chopmark.keys.file import KeyFileError
from chopmark.keys.keyring import NoDevice, NoShares
from chopmark.pki.publication import ROOT, Publication
from chopmark.pki.x509 import IssuerView, not_after, spki_der
from chopmark.store.repositories.ca.certificates import CertificateRepository, StatusRepository
from chopmark.store.repositories.ca.external import RequestRepository
from chopmark.store.repositories.rate_limits import RateLimitRepository
from chopmark.store.repositories.va.presigned import Presigned
from chopmark.va.alarms import Watch
from chopmark.va.overlay import Overlaid
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


class NoBuiltIn(Exception):
    """A part of the built-in CA was requested where another CA certifies."""


@dataclass(frozen=True, slots=True)
class CaDeps:
    """What is needed to open CAs or to found one: the foundation, and the tables of certificates and their status."""

    foundation: Foundation
    certificates: CertificateRepository
    status: StatusRepository
    presigned: Presigned
    approvals: Approvals


def ca_deps(foundation: Foundation) -> CaDeps:
    """Return what the CAs of this foundation need."""
    engine, policy = foundation.engine, foundation.policy
    certificates = CertificateRepository(engine)
    terms = ApprovalTerms(AuditKeys([foundation.audit_key]), policy.approval_life, policy.replace_delay)
    approvals = Approvals(terms, certificates, RateLimitRepository(engine), foundation.audit_log, foundation.clock)
    return CaDeps(foundation, certificates, StatusRepository(engine), Presigned(engine), approvals)


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
    """A stored CA, its number in the sequence of CAs (from 1), and its root's short name."""

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


@dataclass(frozen=True, slots=True)
class CaServices:
    """The bundle of the CAs: who certifies, and the installation's own CAs.

    There is no built-in CA where another one certifies and there never was one; then the properties that name a part of
    the built-in CA raise NoBuiltIn.
    """

    certifier: Issuer
    approvals: Approvals
    built_in: Ca | None
    earlier: tuple[Ca, ...]
    requests: RequestRepository

    @property
    def cas(self) -> tuple[Ca, ...]:
        """Every CA of this installation: the one that issues, if any, and those before it."""
        return self.earlier if self.built_in is None else (self.built_in, *self.earlier)

    @property
    def present(self) -> Ca:
        """The built-in CA that issues."""
        if self.built_in is None:
            raise NoBuiltIn("another CA certifies here, and there is no built-in one")
        return self.built_in

    @property
    def issuer(self) -> EmbeddedIssuer:
        """The issuer that signs with a key of our own."""
        return self.present.issuer

    @property
    def authority(self) -> Authority:
        """The built-in CA's certificate, chain and key."""
        return self.present.authority

    @property
    def responder(self) -> Responder:
        """The OCSP responder of the built-in CA."""
        return self.present.responder

    @property
    def publisher(self) -> Publisher:
        """The publisher of the built-in CA's revocation lists."""
        return self.present.publisher


async def ca_services(deps: CaDeps) -> CaServices:
    """Open the CAs and return the bundle. Raises NotReady, and ExternalFault for another CA's settings."""
    foundation = deps.foundation
    settings, engine = foundation.settings, foundation.engine
    built_in, earlier = await _open_cas(deps)
    requests = RequestRepository(engine)
    external = ExternalDeps(requests, foundation.audit_log, foundation.clock, foundation.entropy, deps.approvals)
    own = None if built_in is None else built_in.issuer
    profile = profile_named(settings.profile)
    certifier = certifier_of(settings, own, profile, constants(foundation.brand), external)
    return CaServices(certifier, deps.approvals, built_in, earlier, requests)


async def _open_cas(deps: CaDeps) -> tuple[Ca | None, tuple[Ca, ...]]:
    """Open the CAs, the one that issues first; None when another certifies and there never was one. Raises NotReady."""
    if deps.foundation.settings.external_ca.protocol != "none" and not await deps.certificates.issuers():
        return None, ()
    try:
        return await open_all(deps)
    except Unopened as error:
        raise NotReady(str(error)) from error


async def open_all(deps: CaDeps) -> tuple[Ca, tuple[Ca, ...]]:
    """Return the CA that issues, and those before it, newest first. Raises Unopened."""
    line = lineage(await deps.certificates.issuers())
    if not line:
        raise Unopened("there is no CA yet: run `chopmark ca init` or `chopmark ca ceremony`")
    chains = {one.row.id: (one.row.certificate, *one.row.chain) for one in line}
    status_watcher = StatusWatcher(deps.status)
    (issuing,) = (_open(deps, one, chains, status_watcher) for one in line if one.row.issues)
    return issuing, tuple(_open(deps, one, chains, status_watcher) for one in reversed(line) if not one.row.issues)


def _open(deps: CaDeps, one: Named, chains: Mapping[IssuerId, tuple[bytes, ...]], status_watcher: StatusWatcher) -> Ca:
    row, settings, clock = one.row, deps.foundation.settings, deps.foundation.clock
    status = Overlaid(deps.status, deps.foundation.restorewatch)
    view = IssuerView.read(row.id, row.certificate)
    try:
        signer = deps.foundation.keyring.open(row.key_pem, view.spki_der)
        responder_signer = deps.foundation.keyring.open(row.responder_key_pem, spki_der(row.responder_certificate))
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
        constants(deps.foundation.brand),
        publication,
        settings.node,
        tuple(one for one in shipped_profiles() if one != profile),
    )
    key = ResponderKey(view, row.responder_certificate, responder_signer, not_after(row.responder_certificate))
    responder = Responder(key, status, clock, status_watcher=status_watcher, opened=deps.foundation.keyring.open)
    return Ca(
        authority,
        _issuer(deps, authority, issuer_config, chains),
        responder,
        Presigner(view, responder, status, deps.presigned, clock),
        Watch(view, row.chain, one.root, profile.shards, status, clock),
        Publisher(view, signer, profile.shards, publication, status, deps.foundation.audit_log, clock),
        ResponderRenewal(
            view, row.chain, signer, settings.node, status, deps.foundation.audit_log, clock, deps.foundation.entropy
        ),
        one.root,
        status_watcher,
    )


def _issuer(
    deps: CaDeps, authority: Authority, issuer_config: IssuerConfig, chains: Mapping[IssuerId, tuple[bytes, ...]]
) -> EmbeddedIssuer:
    books = Books(
        deps.certificates, deps.foundation.audit_log, CaJournal(deps.foundation.journal, deps.foundation.clock)
    )
    return EmbeddedIssuer(
        authority, issuer_config, books, deps.foundation.clock, deps.foundation.entropy, deps.approvals, chains
    )


def title(ca: Ca) -> str:
    """Return a CA's title with its number; the first CA has none."""
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
    """When something expires: a certificate, or a root's list; `until` is aware UTC.

    `first` is how many days before that somebody has to know: fewer where a worker renews it by itself.
    """

    what: str
    until: datetime
    remedy: str
    first: int = 30


def living(cas: Sequence[Ca], now: datetime) -> tuple[Ca, ...]:
    """Return the CA that issues, and those before it whose certificate has not ended: nobody asks about the others."""
    return (*cas[:1], *(ca for ca in cas[1:] if ca.authority.view.not_after > now))


async def for_each_living(cas: Sequence[Ca], clock: Clock, job: Callable[[Ca], Awaitable[int]]) -> int:
    """Do a job for each living CA; return how much was done. One for which it fails delays no other."""
    return sum(await each(living(cas, clock.now()), job))


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
            found.append(Ending(f"the OCSP responder's certificate of {issuer}", not_after(responder), renewed, 14))
    for root, _, certificate in roots(cas):
        remedy = "roll over to a CA under a new root: `chopmark ca rollover`"
        found.append(Ending(f"the certificate of {root}", not_after(certificate), remedy))
        crl = await status.crl(root, 0)
        until = datetime.min.replace(tzinfo=UTC) if crl is None else crl.next_update
        found.append(Ending(f"the revocation list of {root}", until, "make the next one: `chopmark ca root-crl`"))
    return sorted(found, key=lambda ending: ending.until)
