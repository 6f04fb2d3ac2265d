"""The command that a mail server or a cron job calls with the mails that came back."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from chopmark.cli.console import run, say, settings_faults
from chopmark.core.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chopmark.app.settings import Settings
    from chopmark.core.clock import Entropy
    from chopmark.messaging.bounces import Bounce, Bounces, Came, Unread

bounces_app = App(name="bounces", help="Mails that came back: they end the messages that did not arrive.")

TRY_AGAIN: Final = 75
"""EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and comes again."""
MOST_KEPT: Final = 10_000
"""So many mails for people fill no disk: strangers can write to the address of bounces."""
_MOST: Final = (1 << 18) + 1
"""One octet more than is read of a mail (`messaging.bounces.MOST_OCTETS`)."""


@bounces_app.default
def bounces_command(
    source: Annotated[Path, Parameter(name="source")] = Path("-"), /, *, keep: Path | None = None
) -> int:
    """Take mails that came back to `smtp.bounces`.

    What is no bounce of ours is left alone, and is no fault. Exit code 75: nothing could be recorded now; a mail server
    that pipes the mail keeps it and tries again.

    Parameters
    ----------
    source:
        Nothing: one mail from a mail server's pipe. A folder: the new mails of a Maildir; bounces of ours are removed,
        the others are moved to `cur`, for people. A file: one mail or an mbox, which is not changed.
    keep:
        For one mail from a pipe: a Maildir into which a mail is put that is no bounce of ours, for people. Without it
        such a mail is gone when the mail server has handed it over.
    """
    from chopmark.app.foundation import SystemEntropy
    from chopmark.app.gateways import GatewayUnfit
    from chopmark.app.logs import configure_logging
    from chopmark.app.secrets import NotReady
    from chopmark.app.settings import Settings
    from chopmark.core.refusal import Refused
    from chopmark.store.engine.port import Unfit

    configure_logging()
    try:
        return run(take(Settings(), source, SystemEntropy(), keep))
    except Refused as refused:
        fault = str(refused.refusal.public)
    except (GatewayUnfit, NotReady, Unfit, OSError) as error:
        fault = str(error)
    except ValueError as error:
        fault = settings_faults(error)
    sys.stderr.write(f"chopmark: {fault}\n")
    return TRY_AGAIN


async def take(settings: Settings, source: Path, entropy: Entropy, keep: Path | None = None) -> int:
    """Take the mails of `source`, and print what was done, without addresses. Raises OSError, and as `bounces_of`."""
    from chopmark.app.bounces import bounces_of
    from chopmark.core.clock import new_id
    from chopmark.messaging.bounces import Came

    async with bounces_of(settings, entropy) as bounces:
        if source == Path("-"):
            octets = _piped(sys.stdin.buffer)
            came, found = await bounces.take(octets)
            kept = came is Came.OTHER and keep is not None and keep_mail(keep, new_id(entropy), octets)
            say(_told(came, found) + (", kept" if kept else ""))
        else:
            await (_folder if _is_folder(source) else _file)(bounces, source)
    return 0


def _told(came: Came, found: Bounce | Unread) -> str:
    why = found.value if isinstance(found, str) else f"{found.state.value} {found.status}".rstrip()
    return f"{came.value}: {why}"


def _piped(pipe: IO[bytes]) -> bytes:
    """Return the mail, or as much of it as is read; the mail server gets rid of the rest, too."""
    octets = pipe.read(_MOST)
    while pipe.read(_MOST):
        pass
    return octets


async def _folder(bounces: Bounces, folder: Path) -> None:
    """Take the new mails of a Maildir. Another process may take them at the same time."""
    from chopmark.messaging.bounces import Came

    tally: Counter[str] = Counter()
    for mail in _new(folder):
        with suppress(FileNotFoundError):
            octets = _mail(mail)
            if octets is None:
                continue
            came, found = await bounces.take(octets)
            tally[_told(came, found)] += 1
            if came is Came.OTHER:
                mail.rename(folder / "cur" / f"{mail.name}:2,")
            else:
                mail.unlink()
    _say_all(tally)


def keep_mail(folder: Path, name: str, octets: bytes) -> bool:
    """Put a mail into a Maildir, for people; False if `MOST_KEPT` are there that nobody has looked at.

    It is on the disk when this returns, because the mail server forgets it then.
    """
    from chopmark.audit.durable import fsync_directory, private_folder

    for part in ("tmp", "new", "cur"):
        private_folder(folder / part)
    if sum(1 for _ in islice((folder / "new").iterdir(), MOST_KEPT)) == MOST_KEPT:
        return False
    written = folder / "tmp" / name
    written.touch(mode=0o600)
    with written.open("wb") as out:
        out.write(octets)
        out.flush()
        os.fsync(out.fileno())
    written.rename(folder / "new" / name)
    fsync_directory(folder / "new")
    return True


def _is_folder(source: Path) -> bool:
    return source.is_dir()


def _new(folder: Path) -> list[Path]:
    return sorted((folder / "new").iterdir())


def _mail(path: Path) -> bytes | None:
    """Return a mail, or as much of it as is read; None for what is no regular file."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    with path.open("rb") as file:
        return file.read(_MOST)


async def _file(bounces: Bounces, path: Path) -> None:
    tally: Counter[str] = Counter()
    with path.open("rb") as file:
        for octets in mails_of(file):
            tally[_told(*await bounces.take(octets))] += 1
    _say_all(tally)


def mails_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the mails of an mbox (RFC 4155), or the one mail that the file is; of each only as much as is read."""
    parts: list[bytes] = []
    size, blank, mailbox = 0, True, None
    while line := file.readline(_MOST):
        mailbox = line.startswith(b"From ") if mailbox is None else mailbox
        if mailbox and blank and line.startswith(b"From "):
            if parts:
                yield b"".join(parts)
            parts, size = [], 0
        elif size < _MOST:
            parts.append(line[: _MOST - size])
            size += len(parts[-1])
        blank = not line.strip()
    if parts:
        yield b"".join(parts)


def _say_all(tally: Counter[str]) -> None:
    for what in sorted(tally):
        say(f"{tally[what]} {what}")
    say(f"{counted(tally.total(), 'mail')} read.")
