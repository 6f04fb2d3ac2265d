"""What two people at the firm do to a certificate, key or customer: each command calls one verb and says what came."""

import asyncio
import hashlib
import re
from pathlib import Path

from chopmark.app.settings import Settings
from chopmark.cli.console import at_console, looking
from chopmark.cli.operating import say
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Serial, text
from chopmark.pki.key_words import key_words
from chopmark.pki.reported import spki_of_report
from chopmark.ra.manual_revocation import ManualRevocation
from chopmark.ra.slips import Papers, SlipDesk
from chopmark.store.repositories.ra.manual_revocations import ManualRevocationRepository
from chopmark.store.repositories.ra.slips import SlipRepository
from chopmark.store.repositories.stepup.challenges import FailureRepository
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.zone import TAIPEI

REASONS = {"keyCompromise": "key_compromise", "privilegeWithdrawn": "privilege_withdrawn"}
"""RFC 5280 s.5.3.1, as the CA calls it."""
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_SERIAL = re.compile(r"[0-9A-F]{1,40}")


async def suspend(settings: Settings, serial: str, by: str, approved_by: str, *, held: bool) -> int:
    """Put a certificate on hold, or release it."""
    number = serial_of(serial)
    async with at_console(settings) as services:
        verb = services.ra.suspension.hold if held else services.ra.suspension.release
        holding = await verb(number, by, approved_by)
    done = "is on hold" if held else "is released"
    say(f"{number} of {holding.customer} {done}; the customer will be told.")
    return 0


def serial_of(given: str) -> Serial:
    """Return a serial number as this house writes it; colons, spaces and lower case are taken. Raises Refused."""
    bare = re.sub(r"[: ]", "", given).upper()
    if not _SERIAL.fullmatch(bare):
        said = text("A serial number has 1 to 40 hexadecimal digits.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="serial", code="serial"))
    return Serial(bare.zfill(len(bare) + len(bare) % 2))


async def block_key(settings: Settings, key: str, reason: str, by: str, approved_by: str) -> int:
    """Block a reported key; a file or a digest names it."""
    digest = key.lower() if _DIGEST.fullmatch(key) else await asyncio.to_thread(digest_of, Path(key))
    async with at_console(settings) as services:
        blocked = await services.ra.key_blocks.block(digest, REASONS[reason], by, approved_by)
    say(f"key {digest}")
    say("It is blocked now." if blocked.changed else "It was blocked already; nothing was changed.")
    for holding in blocked.revoked:
        say(f"revoked {holding.serial} of {holding.customer}; the customer will be told.")
    return 0


async def revoked_by_hand(settings: Settings, serial: str, by: str, approved_by: str) -> int:
    """Record that another CA has revoked a certificate, as a person has asked of it."""
    number = serial_of(serial)
    async with at_console(settings) as services:
        done = await ManualRevocation(services.ra.context, ManualRevocationRepository(services.foundation.engine)).done(
            number, by, approved_by
        )
    say(f"{done.serial} is revoked at its CA, {by} and {approved_by} say.")
    return 0


async def list_by_hand(settings: Settings) -> int:
    """Print what a person has to have revoked at another CA, a line each, those that wait first."""
    async with looking(settings) as services:
        found = await ManualRevocation(
            services.ra.context, ManualRevocationRepository(services.foundation.engine)
        ).listed()
    for one in found:
        told = "WAITS"
        if one.done_at is not None:
            told = f"done on {one.done_at:%Y-%m-%d %H:%M} UTC by {one.by}, approved by {one.approved_by}"
        say(f"{one.serial}  {one.issuer}  {one.reason}  {told}")
    if not found:
        say("No certificate has to be revoked by a person.")
    return 0


async def approval_slip(
    settings: Settings, customer: str, by: str, approved_by: str, papers: str, key: str | None
) -> int:
    """Print an approval slip, once: it stands in for a code where no contact of the customer can carry one."""
    number = parse_customer_number(customer)
    if isinstance(number, Refusal):
        raise Refused(number)
    async with at_console(settings) as services:
        slips = SlipDesk(
            services.ra.context,
            SlipRepository(services.foundation.engine),
            FailureRepository(services.foundation.engine),
        )
        made = await slips.print(number, by, approved_by, Papers(papers), key)
        say(f"{services.foundation.brand.firm.zh} {services.foundation.brand.portal.zh}")
    say(f"customer  {number}")
    say(f"slip      {made.letters.reveal()}")
    say(f"It is good for one certificate until {made.slip.expires_at.astimezone(TAIPEI):%Y-%m-%d %H:%M} (Taiwan time).")
    if made.slip.key_words is not None:
        say(f"It approves the key {made.slip.key_words} and no other.")
    elif made.open is not None:
        words = key_words(made.open.spki_sha256 or "")
        say(
            f"An order is open; its key is {words}. Does the customer's page show these letters? If not, keep the slip:"
        )
        say("somebody else has signed in as this customer. Print a password slip, then another approval slip.")
    say("Slips before it are void, and the customer will be told wherever an address is on record.")
    return 0


def digest_of(file: Path) -> str:
    """Return the SHA-256 of the key in a file; raises Refused."""
    if not file.is_file():
        said = text("There is no such file, and this is no SHA-256 in hexadecimal.")
        raise Refused(Refusal(Kind.NOT_FOUND, said, field="key"))
    spki = spki_of_report(file.read_bytes())
    if spki is None:
        said = text("No RSA or EC key can be read from this file.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="key", code="key"))
    return hashlib.sha256(spki).hexdigest()
