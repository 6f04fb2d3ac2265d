"""Build time-stamping: the authority, its key, and the hourly time-stamp over the newest tree head."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chopmark.app.auditing import AuditServices
from chopmark.app.foundation import Foundation
from chopmark.app.issuing_cas import CaServices
from chopmark.audit.anchoring import Anchoring, Places
from chopmark.audit.clockwatch import Trouble
from chopmark.audit.head import HeadPublicKey
from chopmark.audit.headfile import HeadFile
from chopmark.ca.embedded import Authority
from chopmark.jobs.loop import Task
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.pki.publication import Publication
from chopmark.pki.x509 import not_after, read_certificates
from chopmark.store.repositories.ca.certificates import StatusRepository
from chopmark.store.repositories.va.timestamps import AnchorRepository, TimestampRepository
from chopmark.va.stamping import Ask, Stamping
from chopmark.va.timestamp import TimestampAuthority
from chopmark.va.timestamp_key import Certifier, TimestampKeys

KEY_EVERY_S = 3600.0
ANCHOR_EVERY_S = 60.0
"""How often the worker looks whether an anchor is due, and tries again when none was given."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """The public time-stamp authority, its key's renewal, and the time-stamps over tree heads.

    `roots` are the certificates, DER, that may stand behind an anchor: our own roots and those of the settings.
    Where another CA certifies there is no authority of our own, and anchors only from the one that the settings name.
    """

    authority: TimestampAuthority | None
    keys: TimestampKeys | None
    anchors: AnchorRepository
    roots: tuple[bytes, ...]
    stamping: Stamping | None
    by: str
    foundation: Foundation
    heads: HeadFile
    head_key: HeadPublicKey

    async def not_after(self) -> datetime | None:
        """Return when the authority's certificate ends; None before it was founded, and without one."""
        certificate = None if self.authority is None else await self.authority.certificate()
        return None if certificate is None else not_after(certificate)

    def tasks(self, holder: str) -> tuple[Task, ...]:
        """Return the worker's jobs; `holder` names this process and no other."""
        if self.stamping is None:
            return ()
        foundation, keys = self.foundation, self.keys
        places = Places(foundation.audit_repository, self.anchors, self.heads)
        anchoring = Anchoring(places, self.stamping, [self.head_key], foundation.audit_log, foundation.clock, holder)

        async def anchored() -> int:
            if keys is not None and await self.not_after() is None:
                await keys.renew_due()
                if await self.not_after() is None:
                    return 0  # another job or worker is founding it at this moment
            return await anchoring.once()

        anchor = Task("anchor", anchored, ANCHOR_EVERY_S)
        return (anchor,) if keys is None else (Task("timestamp-key", keys.renew_due, KEY_EVERY_S), anchor)


def open_stamps(
    foundation: Foundation, line: Sequence[Authority], heads: HeadFile, head_key: HeadPublicKey, trouble: Trouble
) -> Stamps:
    """Return time-stamping under the installation's CAs, the one that issues first.

    Raises OSError or ValueError for a file of roots that is none.
    """
    settings, records = foundation.settings, TimestampRepository(foundation.engine)
    authority = keys = None
    if line:
        view, signer = line[0].view, line[0].signer
        dice = foundation.entropy
        authority = TimestampAuthority(
            view, foundation.keyring.open, settings.node, records, foundation.clock, dice, trouble
        )
        publication = Publication(settings.publication_url)
        certifier = Certifier(view, line[0].chain, signer, publication, settings.node, _lint)
        keys = _keys(foundation, certifier, records)
    remote = settings.timestamp.url
    more = () if settings.timestamp.roots is None else read_certificates(settings.timestamp.roots.read_bytes())
    roots = (*dict.fromkeys(ca.chain[-1] for ca in line), *more)
    ask = _remote(remote) if remote else authority.answer if authority is not None else None
    return Stamps(
        authority=authority,
        keys=keys,
        anchors=AnchorRepository(foundation.engine),
        roots=roots,
        stamping=None if ask is None else Stamping(ask, roots, foundation.clock, foundation.entropy),
        by=remote or ("ourselves" if line else "nobody: set timestamp.url"),
        foundation=foundation,
        heads=heads,
        head_key=head_key,
    )


def _keys(foundation: Foundation, certifier: Certifier, records: TimestampRepository) -> TimestampKeys:
    settings, firm = foundation.settings, foundation.brand.firm.en
    kind = " Demo" if settings.mode == "demo" else ""
    subject = (("C", "TW"), ("O", firm), ("CN", f"{firm}{kind} Time"))

    def new_key() -> tuple[Signer, bytes]:
        if settings.signer == "pkcs11":
            return foundation.keyring.hold(f"chopmark-{certifier.issuer.id}-tsa", KeyAlgorithm.P256)
        return foundation.keyring.make(KeyAlgorithm.P256, foundation.entropy.token(32))

    return TimestampKeys(
        certifier, subject, new_key, records, foundation.audit_log, foundation.clock, foundation.entropy
    )


def _remote(url: str) -> Ask:
    from chopmark.va.timestamp_remote import RemoteAuthority  # noqa: PLC0415 - its client is heavy, and seldom needed

    return RemoteAuthority(url).ask


def _lint(certificate_der: bytes) -> list[str]:
    from chopmark.ca.lint import Linter  # noqa: PLC0415 - pkilint is heavy, and seldom needed

    return [finding.code for finding in Linter().findings_certificate(certificate_der)]


@dataclass(frozen=True, slots=True)
class VaServices:
    """The bundle of what answers relying parties; each CA of `CaServices` has its own responder and publisher."""

    status: StatusRepository
    stamps: Stamps


def va_services(foundation: Foundation, audit: AuditServices, ca: CaServices, status: StatusRepository) -> VaServices:
    """Return the bundle. Raises OSError or ValueError for a file of time-stamp roots that is none."""
    line = tuple(one.authority for one in ca.cas)
    head_key, trouble = audit.head_signer.public_key, audit.clockwatch.trouble
    return VaServices(status, open_stamps(foundation, line, foundation.heads, head_key, trouble))
