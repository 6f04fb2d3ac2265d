"""Keys that nobody may use."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from chopmark.cli.console import at_console, configured, run, say
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

if TYPE_CHECKING:
    from chopmark.app.settings import Settings


keys_app = App(name="keys", help="Keys that nobody may use.")


@keys_app.command(name="block")
def keys_block(
    key: str,
    *,
    by: str,
    approved_by: str,
    reason: Literal["keyCompromise", "privilegeWithdrawn"] = "keyCompromise",
) -> int:
    """Block a reported key for ever and revoke every certificate with it.

    Parameters
    ----------
    key:
        A file with the key (certificate, request, public or private key; PEM or DER), or the SHA-256 of its
        SubjectPublicKeyInfo in hexadecimal.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    reason:
        The reason that the world is told.
    """
    return run(block_key(configured(), key, reason, by, approved_by))


REASONS = {"keyCompromise": "key_compromise", "privilegeWithdrawn": "privilege_withdrawn"}
"""RFC 5280 s.5.3.1, as the CA calls it."""


_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


async def block_key(settings: Settings, key: str, reason: str, by: str, approved_by: str) -> int:
    """Block a reported key; a file or a digest names it."""
    import asyncio

    digest = key.lower() if _DIGEST.fullmatch(key) else await asyncio.to_thread(digest_of, Path(key))
    async with at_console(settings) as services:
        blocked = await services.ra.key_blocks.block(digest, REASONS[reason], by, approved_by)
    say(f"key {digest}")
    say("It is blocked now." if blocked.changed else "It was blocked already; nothing was changed.")
    for certificate in blocked.revoked:
        say(f"revoked {certificate.serial} of {certificate.customer}; the customer will be told.")
    return 0


def digest_of(file: Path) -> str:
    """Return the SHA-256 of the key in a file; raises Refused."""
    from chopmark.pki.reported import spki_of_report

    if not file.is_file():
        said = text("There is no such file, and this is no SHA-256 in hexadecimal.")
        raise Refused(Refusal(Kind.NOT_FOUND, said, field="key"))
    spki = spki_of_report(file.read_bytes())
    if spki is None:
        said = text("No RSA or EC key can be read from this file.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="key", code="key"))
    return hashlib.sha256(spki).hexdigest()
