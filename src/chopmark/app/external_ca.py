"""Build the client of another CA from the settings: its protocol, trust anchors and names."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from chopmark.app.settings import Settings
from chopmark.audit.log import AuditLog
from chopmark.ca import approval
from chopmark.ca.approval import Approvals
from chopmark.ca.external.cfssl import AuthKey, CfsslClient
from chopmark.ca.external.cmp import CmpClient
from chopmark.ca.external.est import EstClient
from chopmark.ca.external.issuer import ExternalCaTerms, ExternalIssuer
from chopmark.ca.external.ports import Client, ExternalCaExpectations, Requests
from chopmark.ca.external.wire import Address, Said, Wire
from chopmark.ca.ports import Issuer
from chopmark.ca.rollover import Rollover
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import IssuerId, Secret
from chopmark.pki.cmp import Shared
from chopmark.pki.profile import Profile
from chopmark.pki.received import Anchors, Naming, read_anchors


class ExternalFault(Exception):
    """The settings of another CA do not work; the text says which and what to do."""


def anchors_of(settings: Settings) -> Anchors:
    """Return the trust anchors of the other CA. Raises ExternalFault."""
    if settings.external_ca.anchors is None:
        raise ExternalFault("external_ca.anchors is not set: name a PEM file with the certificates of the CA")
    try:
        return read_anchors(settings.external_ca.anchors.read_bytes())
    except (OSError, ValueError) as error:
        raise ExternalFault(f"external_ca.anchors cannot be used: {error}") from error


def published(settings: Settings) -> Iterator[tuple[IssuerId, str, bytes]]:
    """Yield short name, title and certificate, DER, of each certificate of the other CA, its issuing CA first.

    The short name is a part of an address, of the certificate's digest: it never means another one. Their lists are the
    other CA's to publish. Raises ExternalFault.
    """
    if settings.external_ca.protocol == "none":
        return
    anchors = anchors_of(settings)
    for place, der in enumerate((*anchors.between, *anchors.roots)):
        names = x509.load_der_x509_certificate(der).subject
        common = names.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        title = str(common[0].value) if common else names.rfc4514_string()
        if place == 0 and settings.external_ca.title:
            title = settings.external_ca.title
        yield IssuerId(f"ca-{hashlib.sha256(der).hexdigest()[:16]}"), title, der


def address_of(settings: Settings) -> Address:
    """Return the address of the other CA, with its TLS files. Raises ExternalFault."""
    files: tuple[Path | None, Path | None] = (settings.external_ca.tls_certificate, settings.external_ca.tls_key)
    identity = None if files[0] is None or files[1] is None else (files[0], files[1])
    return Address(
        settings.external_ca.url, settings.external_ca.tls_trust, identity, float(settings.external_ca.wait_s)
    )


def client_of(settings: Settings, anchors: Anchors, clock: Clock, entropy: Entropy) -> Client:
    """Return the client of the protocol that the settings name. Raises ExternalFault."""
    secret = Secret(settings.external_ca.secret.get_secret_value())
    try:
        wire = Wire(address_of(settings))
    except OSError as error:
        raise ExternalFault(f"the TLS files of the other CA cannot be used: {error}") from error
    if settings.external_ca.protocol == "cfssl":
        try:
            bytes.fromhex(secret.reveal())
        except ValueError as error:
            raise ExternalFault("external_ca.secret is cfssl's authentication key, in hexadecimal") from error
        return CfsslClient(wire, AuthKey(secret))
    if settings.external_ca.protocol == "cmp":
        shared = Shared(settings.external_ca.user, secret)
        return CmpClient(wire, shared, _issuing(anchors).subject.public_bytes(), clock, entropy)
    return EstClient(wire, settings.external_ca.profile, settings.external_ca.user, secret)


def _issuing(anchors: Anchors) -> x509.Certificate:
    """Return the CA that signs customers' certificates: the first below the roots, or the root itself."""
    return x509.load_der_x509_certificate((*anchors.between, *anchors.roots)[0])


def _id(settings: Settings, anchors: Anchors) -> IssuerId:
    """Return the short name of the other CA in our records."""
    return IssuerId(f"{settings.external_ca.protocol}-{hashlib.sha256(anchors.roots[0]).hexdigest()[:8]}")


def known_of(
    settings: Settings, profiles: Sequence[Profile], constants: Mapping[str, str], terms: approval.ApprovalTerms
) -> ExternalCaExpectations:
    """Return what the checks of stored certificates of other CAs compare with. Raises ExternalFault."""
    anchors = None if settings.external_ca.protocol == "none" else anchors_of(settings)
    return ExternalCaExpectations(
        issuer=None if anchors is None else _id(settings, anchors),
        anchors=anchors,
        naming=Naming(settings.external_ca.naming),
        profiles={name: [one for one in profiles if one.name == name] for name in {one.name for one in profiles}},
        constants=constants,
        terms=terms,
    )


@dataclass(frozen=True, slots=True)
class ExternalDeps:
    """What the client of another CA works with."""

    requests: Requests
    audit_log: AuditLog
    clock: Clock
    entropy: Entropy
    approvals: Approvals


def certifier_of(
    settings: Settings, own: Issuer | None, profile: Profile, constants: Mapping[str, str], deps: ExternalDeps
) -> Issuer:
    """Return who certifies. `own` is the built-in CA; beside another one it only revokes. Raises ExternalFault."""
    if settings.external_ca.protocol == "none" and own is not None:
        return own
    present = issuer_of(settings, profile, constants, deps)
    return present if own is None else Rollover(present, own)


def issuer_of(settings: Settings, profile: Profile, constants: Mapping[str, str], deps: ExternalDeps) -> ExternalIssuer:
    """Return the other CA as an issuer. Raises ExternalFault."""
    anchors = anchors_of(settings)
    names = _issuing(anchors).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    terms = ExternalCaTerms(
        issuer=_id(settings, anchors),
        title=settings.external_ca.title or (str(names[0].value) if names else settings.external_ca.protocol),
        anchors=anchors,
        naming=Naming(settings.external_ca.naming),
        overlap=settings.external_ca.overlap == "yes",
        profiles={profile.name: profile},
        called={profile.name: settings.external_ca.profile or profile.name},
        constants=constants,
    )
    client = client_of(settings, anchors, deps.clock, deps.entropy)
    return ExternalIssuer(terms, client, deps.requests, deps.audit_log, deps.clock, deps.entropy, deps.approvals)


async def reach(settings: Settings) -> str | None:
    """Return why the other CA cannot be reached, as a word; None if anything answers at its address."""
    said = await Wire(address_of(settings)).get("/")
    return None if isinstance(said, Said) else said.code
