"""What operators are told about former issuers: how their status is known, and what a person has to have revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chopmark.cli.console import say
from chopmark.core.counted import counted

if TYPE_CHECKING:
    from datetime import datetime

    from chopmark.app.former_issuers import FormerEntry
    from chopmark.app.services import Services
    from chopmark.core.types import Serial
    from chopmark.ra.former_revocation import FormerRevocation
    from chopmark.va.former.ports import KeptList

FINGERPRINT_DIGITS = 64


async def former_faults(services: Services) -> list[str]:
    """Print how the status of each former issuer's certificates is found out, and return the faults that prevent it."""
    from chopmark.va.former.ports import ListSource, NoSource

    faults = await _unnamed_faults(services)
    for entry in services.former.entries:
        issuer, source = entry.issuer.id, entry.ca.source
        kept = await services.former.lists.kept(issuer)
        now = services.foundation.clock.now()
        if isinstance(source, NoSource):
            say(f"WARNING: certificates of {issuer} renew without their status being asked: {source.reason}")
        elif isinstance(source, ListSource):
            for location in source.locations:
                faults += _list_faults(issuer, location.place, kept.get(location.place), now)
        else:
            faults += _responder_faults(entry, source.url, kept.get(source.url))
    return faults


async def _unnamed_faults(services: Services) -> list[str]:
    """Return a sentence for each issuer of valid imported certificates that the settings do not name any more."""
    from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository

    imported = ImportedCertificateRepository(services.foundation.engine)
    named = {entry.issuer.id for entry in services.former.entries}
    return [
        f"{counted(many, 'imported certificate is', 'imported certificates are')} of {issuer}, which the list of "
        "former issuers does not name, so none renews: put it back into the file that CHOPMARK_FORMER_ISSUERS names"
        for issuer, many in (await imported.issuers(services.foundation.clock.now())).items()
        if issuer not in named
    ]


def _list_faults(issuer: str, place: str, kept: KeptList | None, now: datetime) -> list[str]:
    """Print what is stored of a list. Return a sentence if nobody can renew because of its state."""
    from chopmark.va.former.sentences import fault

    name = f"the list of {issuer} at {place}"
    why = "" if kept is None or kept.fault is None else f": {fault(kept.fault)}"
    if kept is None or kept.next_update is None:
        return [f"{name} was never taken, so none of its certificates renews{why or ': does a worker run?'}"]
    until = f"{kept.next_update:%Y-%m-%d %H:%M} UTC"
    if kept.next_update <= now:
        return [f"{name} is late, it has ended at {until}, so none of its certificates renews{why}"]
    number = "" if kept.number is None else f" number {kept.number}"
    say(f"former issuer {issuer}: list{number} of {counted(kept.entries, 'entry', 'entries')} counts until {until}")
    if kept.failing_since is not None:
        say(f"WARNING: {name} could not be taken since {kept.failing_since:%Y-%m-%d %H:%M} UTC{why}")
    return []


def _responder_faults(entry: FormerEntry, url: str, kept: KeptList | None) -> list[str]:
    from chopmark.va.former.sentences import fault

    if kept is None or kept.fault is None or kept.failing_since is None:
        say(f"former issuer {entry.issuer.id}: its responder {url} is asked at each renewal")
        return []
    since = f"{kept.failing_since:%Y-%m-%d %H:%M} UTC"
    why = fault(kept.fault)
    times = counted(kept.failures, "time")
    return [f"the responder of {entry.issuer.id} at {url} has not been of use since {since}, {times}: {why}"]


def former_revocation(services: Services) -> FormerRevocation:
    """Return the service that lists and records what former issuers have to revoke."""
    from chopmark.ra.former_revocation import FormerRevocation
    from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository

    imported = ImportedCertificateRepository(services.foundation.engine)
    return FormerRevocation(services.ra.context, imported, services.former.clients)


async def say_asked(services: Services) -> int:
    """Print the certificates that former issuers have to revoke after a renewal, and return how many there are."""
    verb = former_revocation(services)
    found = await verb.listed()
    for one in found:
        told = "WAITS"
        if one.revoked_there_at is not None:
            told = f"done on {one.revoked_there_at:%Y-%m-%d %H:%M} UTC"
        elif verb.by_client(one.issuer):
            told = "is asked for by the worker"
        say(f"{one.fingerprint}  {one.issuer}  serial {one.serial}  superseded  {told}")
    return len(found)


async def tick_off(services: Services, fingerprint: Serial | str, by: str, approved_by: str) -> None:
    """Record that a former issuer has revoked this imported certificate. Raises Refused."""
    from chopmark.ra.imported import Fingerprint

    done = await former_revocation(services).done(Fingerprint(fingerprint.lower()), by, approved_by)
    say(f"{done.fingerprint} (serial {done.serial}) is revoked at {done.issuer}, {by} and {approved_by} say.")


def is_fingerprint(given: str) -> bool:
    """Tell whether the text is a fingerprint, by which imported certificates are named."""
    bare = given.strip().lower()
    return len(bare) == FINGERPRINT_DIGITS and all(one in "0123456789abcdef" for one in bare)
