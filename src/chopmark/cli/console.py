"""The console: an installation opened by a person who is signed in to this machine, and who that is."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chopmark.app.services import Services, opened
from chopmark.app.settings import Settings
from chopmark.store.engine.opening import assert_current


def os_user() -> str:
    """Return the account that runs this process; with sudo also the one that it was called from.

    `SUDO_USER` is set by sudo, and can be set by whoever may run commands as this account anyway.
    """
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"uid {number}"
    caller = os.environ.get("SUDO_USER", "")
    return f"{name}, by sudo from {caller}" if caller and caller != name else name


@asynccontextmanager
async def at_console(settings: Settings) -> AsyncIterator[Services]:
    """Give the services as `opened` does; whoever acts in it is recorded with the user of the operating system."""
    async with opened(settings) as services:
        services.foundation.audit_log.at_console(os_user())
        yield services


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Services]:
    """Give the services as `at_console` does to a command that only reads: who looks on migrates nothing.

    Raises Unfit, and has made no file and no table, where the schema is older than this release's or missing.
    """
    await assert_current(settings.database_url)
    async with at_console(settings) as services:
        yield services
