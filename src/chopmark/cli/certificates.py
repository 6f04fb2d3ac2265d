"""Single certificates: looked up, put on hold, revoked."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from chopmark.cli.certificate_import import certificates_check_import, certificates_import
from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.cli.former_issuers import is_fingerprint, say_asked, tick_off
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Serial, text

if TYPE_CHECKING:
    from chopmark.app.settings import Settings
    from chopmark.ra.ports import SubscriberCertificate


certificates_app = App(name="certificates", help="Certificates: single ones, and those of a former issuer.")
certificates_app.command(certificates_check_import, name="check-import")
certificates_app.command(certificates_import, name="import")


@certificates_app.command(name="hold")
def certificates_hold(serial: str, *, by: str, approved_by: str) -> int:
    """Put a certificate on hold: it counts as revoked until it is released; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal; of an imported certificate its fingerprint: it is on hold here only.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    return run(suspend(configured(), serial, by, approved_by, held=True))


@certificates_app.command(name="release")
def certificates_release(serial: str, *, by: str, approved_by: str) -> int:
    """Release a certificate from its hold; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal; of an imported certificate its fingerprint.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    return run(suspend(configured(), serial, by, approved_by, held=False))


@certificates_app.command(name="by-hand")
def certificates_by_hand() -> int:
    """List the certificates that a person has to have revoked at another CA, and those that are done: when, by whom.

    Imported certificates that were renewed are named by their fingerprint, with their former issuer and its number.
    """
    return run(list_by_hand(configured()))


@certificates_app.command(name="revoked")
def certificates_revoked(serial: str, *, by: str, approved_by: str) -> int:
    """Record that another CA has revoked a certificate that it was asked to revoke by hand.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal; of an imported certificate its fingerprint.
    by:
        Staff id of who had it revoked.
    approved_by:
        Staff id of who has seen that it is.
    """
    return run(revoked_by_hand(configured(), serial, by, approved_by))


@certificates_app.command(name="find")
def certificates_find(what: str) -> int:
    """Find certificates by serial number (or its beginning), customer, order, account or SHA-256 of the key.

    Parameters
    ----------
    what:
        One of these.
    """
    return run(find_certificates(configured(), what))


@certificates_app.command(name="revoke")
def certificates_revoke(
    serial: str, *, reason: Literal["death", "closed-account", "court"], paper: str, by: str, approved_by: str
) -> int:
    """Revoke a certificate for good, because the firm has to; the customer is told.

    Parameters
    ----------
    serial:
        Serial number in hexadecimal; of an imported certificate its fingerprint.
    reason:
        Why. A court's order is told the world as privilegeWithdrawn, the others as cessationOfOperation.
    paper:
        Your own file number of what stands on paper; no ID number.
    by:
        Staff id of who asks.
    approved_by:
        Staff id of who approves.
    """
    return run(revoke_certificate(configured(), serial, reason, paper, by, approved_by))


async def suspend(settings: Settings, serial: str, by: str, approved_by: str, *, held: bool) -> int:
    """Put a certificate on hold, or release it."""
    number = name_of(serial)
    async with at_console(settings) as services:
        verb = services.ra.suspension.hold if held else services.ra.suspension.release
        certificate = await verb(number, by, approved_by)
    done = "is on hold" if held else "is released"
    say(f"{number} of {certificate.customer} {done}; the customer will be told.")
    if certificate.former is not None and held:
        say(f"It is on hold here only. {certificate.former.issuer}, which issued it, cannot be asked for a hold:")
        say("its own list or responder says what it said before. Where that matters, have that CA revoke it.")
    return 0


async def revoked_by_hand(settings: Settings, serial: str, by: str, approved_by: str) -> int:
    """Record that another CA has revoked a certificate at a person's request."""
    from chopmark.ra.manual_revocation import ManualRevocation
    from chopmark.store.repositories.ra.manual_revocations import ManualRevocationRepository

    if is_fingerprint(serial):
        async with at_console(settings) as services:
            await tick_off(services, serial.strip(), by, approved_by)
        return 0
    number = serial_of(serial)
    async with at_console(settings) as services:
        done = await ManualRevocation(services.ra.context, ManualRevocationRepository(services.foundation.engine)).done(
            number, by, approved_by
        )
    say(f"{done.serial} is revoked at its CA, {by} and {approved_by} say.")
    return 0


async def list_by_hand(settings: Settings) -> int:
    """Print the certificates that a person has to have revoked at another CA, a line each, open ones first."""
    from chopmark.ra.manual_revocation import ManualRevocation
    from chopmark.store.repositories.ra.manual_revocations import ManualRevocationRepository

    async with looking(settings) as services:
        found = await ManualRevocation(
            services.ra.context, ManualRevocationRepository(services.foundation.engine)
        ).listed()
        imported = await say_asked(services)
    for one in found:
        told = "WAITS"
        if one.done_at is not None:
            told = f"done on {one.done_at:%Y-%m-%d %H:%M} UTC by {one.by}, approved by {one.approved_by}"
        say(f"{one.serial}  {one.issuer}  {one.reason}  {told}")
    if not found and not imported:
        say("No certificate has to be revoked by a person.")
    return 0


_SERIAL = re.compile(r"[0-9A-F]{1,40}")


def name_of(given: str) -> Serial:
    """Return what names a certificate here: a serial number, or the fingerprint of an imported one. Raises Refused."""
    bare = re.sub(r"[: ]", "", given).lower()
    return Serial(bare) if is_fingerprint(bare) else serial_of(given)


def serial_of(given: str) -> Serial:
    """Return a serial number in upper-case hexadecimal; colons, spaces and lower case are accepted. Raises Refused."""
    bare = re.sub(r"[: ]", "", given).upper()
    if not _SERIAL.fullmatch(bare):
        said = text("A serial number has 1 to 40 hexadecimal digits.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="serial", code="serial"))
    return Serial(bare.zfill(len(bare) + len(bare) % 2))


async def find_certificates(settings: Settings, what: str) -> int:
    """Print the certificates that a number names; exit code 1 for none."""
    from chopmark.store.repositories.staff.views import StaffViews

    async with looking(settings) as services:
        found = await StaffViews(services.foundation.engine).find(what.strip(), MOST)
    for certificate in found:
        say(f"{certificate.customer}  {certificate_line(certificate)}")
    if not found:
        say("No certificate has this serial number, customer, order, account, key or fingerprint.")
    return 0 if found else 1


async def revoke_certificate(
    settings: Settings, serial: str, reason: str, paper: str, by: str, approved_by: str
) -> int:
    """Revoke a certificate for good for one of the firm's own reasons."""
    from chopmark.ra.ending import FirmRevocation, Grounds
    from chopmark.store.repositories.staff.views import StaffViews

    number = name_of(serial)
    async with at_console(settings) as services:
        verb = FirmRevocation(
            services.ra.context, StaffViews(services.foundation.engine), services.ca.certifier, services.ra.revocation
        )
        certificate = await verb.revoke(number, Grounds(reason), paper, by, approved_by)
        by_hand = number in await services.ca.requests.attention() or (
            certificate.former is not None and certificate.former.issuer not in services.former.clients
        )
    say(f"{number} of {certificate.customer} is revoked for good; the customer will be told.")
    if by_hand:
        say("Its CA has to be asked by a person. When it has revoked it, tick it off, two of you:")
        say(f"`chopmark certificates revoked {number} --by ... --approved-by ...`")
    return 0


MOST = 20
"""At most so many lines of one kind are printed."""


def certificate_line(certificate: SubscriberCertificate) -> str:
    """Return a certificate on one line."""
    ended = (
        f", ended {local_time(certificate.ended_at)}: {certificate.reason}" if certificate.ended_at is not None else ""
    )
    until = local_time(certificate.not_after)
    named = certificate.serial
    if certificate.former is not None:
        named = Serial(f"{certificate.former.serial} of {certificate.former.issuer}, fingerprint {certificate.serial}")
    return f"certificate {named}  {certificate.state}  {certificate.account}  until {until}{ended}"


def local_time(moment: datetime) -> str:
    """Return a moment in the firm's time zone, Asia/Taipei."""
    from chopmark.tw.zone import TAIPEI

    return f"{moment.astimezone(TAIPEI):%Y-%m-%d %H:%M}"
