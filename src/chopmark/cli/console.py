"""What all commands share: their settings, an open installation, who is signed in to this machine, and lines of output.

What is heavy is imported inside the functions: `chopmark --help` imports this file.
"""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from chopmark.app.services import Services
    from chopmark.app.settings import Settings


def say(line: str) -> None:
    """Write a line for the operator."""
    sys.stdout.write(f"{line}\n")


def configured(**given: Any) -> Settings:
    """Return the settings from environment, files and what the command line gave; from here on, logs are written."""
    from chopmark.app.logs import configure_logging
    from chopmark.app.settings import Settings

    configure_logging()
    return Settings(**given)


def run(body: Coroutine[Any, Any, int]) -> int:
    """Run what a command does, and return its exit code."""
    import asyncio

    return asyncio.run(body)


def settings_faults(error: Exception) -> str:
    """Return what is wrong with the settings, by the settings' names and without their values; empty otherwise."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error) if type(error) is ValueError else ""
    told = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(map(str, one["loc"]))
        unknown = one["type"] == "extra_forbidden"
        said = "there is no such setting" if unknown else one["msg"].removeprefix("Value error, ")
        told.append(f"{name}: {said}" if name and not said.startswith(f"{name}.") else said)
    return "; ".join(told)


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
    """Open the services like `opened`; audit records also name the operating system's user."""
    from chopmark.app.services import opened

    async with opened(settings) as services:
        services.foundation.audit_log.at_console(os_user())
        yield services


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Services]:
    """Open the services like `at_console` for a command that only reads: it does not migrate the database.

    Raises Unfit, and has made no file and no table, where the schema is older than this release's or missing.
    """
    from chopmark.store.engine.opening import assert_current

    await assert_current(settings.database_url)
    async with at_console(settings) as services:
        yield services
