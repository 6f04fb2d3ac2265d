"""The checks of a process's readiness: each returns None, or a sentence without any stored value.

A new check is one more function here and one more line in `checks`.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from chopmark.app.services import Services
from chopmark.core.counted import counted
from chopmark.core.refusal import Refused
from chopmark.keys.adapter import ready
from chopmark.keys.ports import SignerUnavailable
from chopmark.store.repositories.readiness import Readiness
from chopmark.web.asgi.health import Check

WAITED_TOO_LONG = timedelta(seconds=120)
"""Longer than a crashed worker's lease (60 s), shorter than a code's life (300 s)."""
_NO_DATABASE = "The database does not answer."


def checks(services: Services) -> Mapping[str, Check]:
    """Return the checks of a process that serves, in the order in which they are shown."""
    return {**_of_database(services), **_of_this_host(services), **_of_workers(services)}


def _of_database(services: Services) -> Mapping[str, Check]:
    reads = Readiness(services.foundation.engine)

    async def database() -> str | None:
        """Check that the database answers, and belongs to an installation."""
        try:
            return None if await reads.answers() else "The database is not an installation's."
        except Refused:
            return _NO_DATABASE

    async def schema() -> str | None:
        """Whether this release fits the database's schema; a later one fits (release N-1 runs on schema N)."""
        try:
            return None if await reads.schema_fits() else "The database's schema is older than this release."
        except Refused:
            return _NO_DATABASE

    return {"database": database, "schema": schema}


def _of_this_host(services: Services) -> Mapping[str, Check]:
    async def signer() -> str | None:
        """Whether the built-in CA's key can be reached; another CA is asked by nobody, `chopmark check` does that."""
        try:
            if services.ca.built_in is not None:
                await ready(services.ca.authority.signer)
        except SignerUnavailable:
            return "The CA's key cannot be reached."
        return None

    async def clock() -> str | None:
        """Check that this machine's clock is trustworthy; the log and `chopmark check` say why it is not."""
        return None if services.audit.clockwatch.trouble() is None else "The clock cannot be believed."

    async def heads() -> str | None:
        """Check that the database has all that tree heads and journal have; `chopmark check` says what is missing."""
        return "The database is older than what stands outside it." if services.foundation.restorewatch.behind else None

    async def journal() -> str | None:
        """Whether the journal can be read and written: without it nothing is signed or revoked."""
        if services.foundation.restorewatch.unreadable is not None:
            return "Signed heads or journal cannot be read."
        try:
            await asyncio.to_thread(services.foundation.journal.probe)
        except OSError:
            return "The journal cannot be written."
        return None

    return {"signer": signer, "clock": clock, "heads": heads, "journal": journal}


def _of_workers(services: Services) -> Mapping[str, Check]:
    reads = Readiness(services.foundation.engine)

    async def queue() -> str | None:
        """Check that workers process messages and revocations in time."""
        now = services.foundation.clock.now()
        try:
            since = await reads.waiting_since(now)
        except Refused:
            return _NO_DATABASE
        if since is None or now - since <= WAITED_TOO_LONG:
            return None
        return f"Work has been waiting for {counted(int((now - since).total_seconds()), 'second')}: does a worker run?"

    return {"queue": queue}
