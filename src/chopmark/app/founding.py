"""Found a CA: take the result of a ceremony into use, and publish the root's revocation list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cryptography import x509

from chopmark.app.foundation import Opening, SystemEntropy, open_default, open_foundation
from chopmark.app.issuing_cas import ISSUER, CaDeps, ca_deps
from chopmark.app.secrets import open_secrets
from chopmark.app.settings import Settings
from chopmark.audit.durable import private_folder, write_durably
from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import system_stream
from chopmark.ca.ports import IssuerRow, Names
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import IssuerId, Secret
from chopmark.keys.ports import KeyAlgorithm
from chopmark.keys.shares import Shares
from chopmark.pki.publication import ROOT, Publication
from chopmark.va.ports import Crl


@asynccontextmanager
async def founding(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = open_default, shares: Shares | None = None
) -> AsyncIterator[CaDeps]:
    """Open what is needed to found a CA over a database whose schema is current, and close it afterwards.

    `shares` are the operators', where they have been asked for; otherwise those of the secrets.
    """
    settings = open_secrets(settings, SystemEntropy(), shared=shares is not None, founds=True)
    foundation = await open_foundation(settings, clock, entropy, opening, shares)
    try:
        yield ca_deps(foundation)
    finally:
        await foundation.close()


async def found_ca(
    settings: Settings, clock: Clock, entropy: Entropy, algorithm: KeyAlgorithm = KeyAlgorithm.P256
) -> bool:
    """Found the built-in CA under one pass-phrase, once; False when there is a CA already.

    The root key is left in the data directory, encrypted: the operator moves it to a safe.
    """
    async with founding(settings, clock, entropy) as deps:
        if await deps.certificates.issuers():
            return False
        founded = found(deps, algorithm)
        folder = settings.data / "ca"
        private_folder(folder)
        write_durably(folder / "root.key.pem", founded.root_key_pem)
        write_durably(folder / "root.cer", founded.taken.row.chain[-1], 0o644)
        return await take_in(deps, founded.taken)


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
    """A CA that was made without a ceremony: what is taken into use, and the root's key file for the safe."""

    taken: Taken
    root_key_pem: bytes


def ca_names(deps: CaDeps, number: int) -> Names:
    """Return what the CA of this number is called, from the brand."""
    firm = deps.foundation.brand.firm.en
    kind = " Demo" if deps.foundation.settings.mode == "demo" else ""
    which = "" if number == 1 else f" {number}"
    return Names(firm, f"{firm}{kind} CA{which}", deps.foundation.brand.ca_name.zh)


def found(deps: CaDeps, algorithm: KeyAlgorithm) -> Founded:
    """Return the first CA, its key files under the one pass-phrase of the secrets. Raises CeremonyFailed."""
    from chopmark.ca.ceremony import founding as ceremony  # noqa: PLC0415 - pkilint is heavy

    settings = deps.foundation.settings
    held = None
    if settings.signer == "pkcs11":
        labels = f"chopmark-{ISSUER}", f"chopmark-{ISSUER}-ocsp"
        held = ceremony.HeldKeys(*(ceremony.HeldKey(*deps.foundation.keyring.hold(x, algorithm)) for x in labels))
    founded = ceremony.found(
        ISSUER,
        ca_names(deps, 1),
        Secret(settings.ca_passphrase.get_secret_value()),
        Publication(settings.publication_url),
        deps.foundation.clock.now(),
        deps.foundation.entropy,
        held,
        algorithm,
    )
    return Founded(Taken(founded.issuer, ROOT, root_list(founded.root_crl)), founded.root_key_pem)


def root_list(der: bytes) -> Crl:
    """Return a root's list as it is published; ValueError if it is no list, or has no nextUpdate."""
    read = x509.load_der_x509_crl(der)
    number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    if read.next_update_utc is None:
        raise ValueError("the list has no nextUpdate")
    return Crl(number, der, read.last_update_utc, read.next_update_utc)


async def take_in(deps: CaDeps, taken: Taken) -> bool:
    """Let a CA issue from now on, and publish its root's list; False if another CA has its id. It may be repeated."""

    async def add(builder: RecordBuilder) -> bool:
        people = {"by": taken.by, "approved_by": taken.approved_by} if taken.by else {}
        record = builder.record(Event.CA_CEREMONY_DONE, issuer=taken.row.id, **people)
        return await deps.certificates.add_issuer(taken.row, deps.foundation.clock.now(), record)

    if not await deps.foundation.audit_log.write(system_stream("ca"), add):
        rows = await deps.certificates.issuers()
        if taken.row.certificate not in (row.certificate for row in rows if row.id == taken.row.id):
            return False
    await publish_root_list(deps, taken.root, taken.root_list, taken.by, taken.approved_by)
    return True


async def publish_root_list(
    deps: CaDeps, root: IssuerId, made: Crl, by: str | None = None, approved_by: str | None = None
) -> bool:
    """Publish a root's list; False when one with the same or a higher number is there."""
    people = {"by": by, "approved_by": approved_by} if by else {}

    async def publish(builder: RecordBuilder) -> bool:
        record = builder.record(Event.VA_CRL_PUBLISHED, issuer=root, crl_number=made.number, **people)
        return await deps.status.publish(root, 0, made, record)

    return await deps.foundation.audit_log.write(system_stream("ca"), publish)
