"""The audit trail: verified, exported, and the public key of its heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cyclopts import App

from chopmark.cli.console import configured, looking, run, say
from chopmark.core.counted import counted
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

if TYPE_CHECKING:
    from chopmark.app.settings import Settings
    from chopmark.audit.export import ExportSource
    from chopmark.audit.findings import Report
    from chopmark.audit.head import HeadPublicKey
    from chopmark.audit.headlines import HeadLines


audit_app = App(name="audit", help="The audit trail.")


@audit_app.command(name="verify")
def audit_verify(
    *, export: Path | None = None, head: Path | None = None, key: Path | None = None, root: Path | None = None
) -> int:
    """Verify the audit trail: online, or an export; against a file of heads kept elsewhere.

    Parameters
    ----------
    export:
        An export to verify instead of the database.
    head:
        A heads file; without it the one in the data directory.
    key:
        The heads' public key (`chopmark audit key`): with it an export needs no installation.
    root:
        Root certificates (PEM or DER) that may stand behind the anchors' time-stamps, besides the settings' own.
    """
    return run(verify_audit(configured(), export, head, key, root))


@audit_app.command(name="key")
def audit_key_command(file: Path) -> int:
    """Write the public key of the signed heads, PEM: give it to the auditor once."""
    return run(write_audit_key(configured(), file))


@audit_app.command(name="export")
def audit_export(file: Path) -> int:
    """Write the whole audit trail as JSON lines."""
    return run(export_audit(configured(), file))


async def verify_audit(
    settings: Settings, export: Path | None, head: Path | None, key: Path | None, root: Path | None = None
) -> int:
    """Verify the trail online or an export, and print the report; `root` holds certificates for the anchors.

    With the heads' public key an export is verified without the installation: an auditor needs two files and that
    key. Seals (MACs) are checked only where the installation's audit key is.
    """
    import asyncio

    from chopmark.app.foundation import SystemClock
    from chopmark.audit.headkey import read_public
    from chopmark.audit.record import AuditKeys
    from chopmark.audit.verify import Beside, verify
    from chopmark.ra.recorded import rules_of

    if export is not None and key is not None:
        public: Sequence[HeadPublicKey] = [read_public(await asyncio.to_thread(key.read_bytes))]
        heads = await asyncio.to_thread(_heads, head)
        return _told(await verify(_exported(export), None, public, heads, SystemClock().now(), roots=_roots(root)))
    async with looking(settings) as services:
        heads = await asyncio.to_thread(_heads, head, settings.outside / "heads.jsonl")
        keys, public = AuditKeys([services.foundation.audit_key]), [services.audit.head_signer.public_key]
        now, roots = services.foundation.clock.now(), (*services.va.stamps.roots, *(_roots(root) or ()))
        if export is not None:
            return _told(await verify(_exported(export), keys, public, heads, now, roots=roots))
        async with services.foundation.audit_repository.snapshot() as live:
            beside = Beside(live, rules_of(services.foundation.policy))
            return _told(await verify(live, keys, public, heads, now, roots=roots, beside=beside))


def _exported(path: Path) -> ExportSource:
    from chopmark.audit.export import ExportSource

    return ExportSource(lambda: path.open(encoding="utf-8"))


def _heads(named: Path | None, usual: Path | None = None) -> HeadLines | None:
    """Return the heads of the named file, which must exist, or of the usual one, which may be missing."""
    from chopmark.audit.headfile import read_heads

    if named is not None and not named.exists():
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such heads file."), field="head"))
    path = named or usual
    return None if path is None or not path.exists() else read_heads(path)


def _roots(named: Path | None) -> tuple[bytes, ...] | None:
    """Return the certificates of the named file, DER; None without one."""
    from chopmark.pki.x509 import read_certificates

    if named is None:
        return None
    try:
        return read_certificates(named.read_bytes())
    except (OSError, ValueError) as error:
        refusal = Refusal(Kind.NOT_FOUND, text("The root file holds no certificate that can be read."), field="root")
        raise Refused(refusal) from error


def _told(found: Report) -> int:
    from chopmark.audit.report import exit_code, lines

    for line in lines(found):
        say(line)
    return exit_code(found)


async def write_audit_key(settings: Settings, file: Path) -> int:
    """Write the public key with which anybody checks the signed heads, PEM."""
    import asyncio

    async with looking(settings) as services:
        await asyncio.to_thread(file.write_bytes, services.audit.head_signer.public_pem)
    say(f"The heads' public key is in {file}.")
    return 0


def _private(file: Path) -> TextIO:
    """Open a file for writing that nobody else may read, also where it was there before."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file.open("w", encoding="utf-8")


async def export_audit(settings: Settings, file: Path) -> int:
    """Write the whole trail as JSON lines."""
    from chopmark.audit.export import write_export

    async with looking(settings) as services, services.foundation.audit_repository.snapshot() as source:
        with _private(file) as out:
            count = await write_export(source, out)
    say(f"{counted(count, 'line')} written to {file}.")
    return 0
