"""Key files under a pass-phrase, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chopmark.cli.ca import ca_app
from chopmark.cli.console import at_console, configured, run, say
from chopmark.core.counted import counted
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Secret, text

if TYPE_CHECKING:
    from chopmark.app.settings import Settings
    from chopmark.audit.log import RecordBuilder


@ca_app.command(name="rewrap")
def ca_rewrap(*files: Path, by: str, new_passphrase: Path | None = None) -> int:
    """Write the key files under ca_passphrase anew, so that trying pass-phrases is expensive; or under another one.

    Parameters
    ----------
    files:
        Key files outside the database that are written anew, too: the root's.
    by:
        Staff id of who does it, for the audit.
    new_passphrase:
        A file with the pass-phrase that is to hold from now on; without it, the present one.
    """
    return run(rewrap(configured(), files, new_passphrase, by))


async def rewrap(settings: Settings, files: tuple[Path, ...], following: Path | None, by: str) -> int:
    """Write every key under `ca_passphrase` anew: those on record in one transaction, and the files named.

    `following` is a file with another pass-phrase. 1 open everything 2 put each file in the place of the old one
    3 [tx] store the new files and the audit record. Raises Refused.
    """
    import asyncio

    from chopmark.audit.durable import write_durably
    from chopmark.audit.events import Event
    from chopmark.audit.record import system_stream
    from chopmark.ra.context import assert_staff
    from chopmark.store.repositories.ca.rewrapping import KeptKeys

    assert_staff(by, "by")
    present = Secret(settings.ca_passphrase.get_secret_value())
    next_one = present if following is None else Secret((await asyncio.to_thread(_read, following)).decode().strip())
    async with at_console(settings) as services:
        kept = KeptKeys(services.foundation.engine)
        mine = [one for one in await kept.all() if not _elsewhere(one.stored)]
        changes = [(one, _anew(one.stored, present, next_one, f"{one.kind} of {one.issuer}")) for one in mine]
        written = [(path, _anew(await asyncio.to_thread(_read, path), present, next_one, str(path))) for path in files]
        for path, pem in written:
            await asyncio.to_thread(write_durably, path, pem)

        async def put(builder: RecordBuilder) -> None:
            await kept.replace(changes, builder.record(Event.CA_KEYS_REWRITTEN, by=by, count=len(changes)))

        if changes:
            await services.foundation.audit_log.write(system_stream("ca"), put)
    done = f"{counted(len(changes), 'key')} on record and {counted(len(written), 'file')}"
    say(f"{done} are written anew: to try pass-phrases is expensive.")
    if following is not None:
        say("Put the new pass-phrase into ca_passphrase at every node, and restart server, worker and EST interface.")
    return 0


def _elsewhere(stored: bytes) -> bool:
    """Whether a key is in a device, or under the operators' shares."""
    from chopmark.keys.keyring import PREFIX
    from chopmark.keys.shares import Lock

    return stored.startswith(PREFIX) or Lock.of(stored) is not None


def _anew(pem: bytes, present: Secret, following: Secret, what: str) -> bytes:
    from chopmark.keys import file as keyfile
    from chopmark.keys.file import KeyFileError

    try:
        return keyfile.rewritten(pem, present, following)
    except KeyFileError as error:
        said = text("The key of %(what)s does not open with ca_passphrase; nothing was changed.", what=what)
        raise Refused(Refusal(Kind.CONFLICT, said, code="key")) from error
    except ValueError as error:
        said = text("The new pass-phrase needs at least %(least)s characters.", least=keyfile.MIN_PASSPHRASE_CHARACTERS)
        raise Refused(Refusal(Kind.MALFORMED, said, code="passphrase")) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        said = text("The file %(name)s cannot be read.", name=path.name)
        raise Refused(Refusal(Kind.NOT_FOUND, said, field="file", code="file")) from error
