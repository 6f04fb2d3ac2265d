"""Check that tree heads and journal are on another disk than the database, and can be written."""

from collections.abc import Callable, Sequence
from pathlib import Path

from chopmark.app.settings import Settings
from chopmark.audit.restorewatch import RestoreWatch
from chopmark.core.counted import counted

UNSET = (
    "journal_dir is not set: signed heads and journal would be restored together with the database, and nobody would "
    "see that it forgot. Name a directory on another disk, which no backup of the database takes along"
)
Device = Callable[[Path], int | None]


def device_of(path: Path) -> int | None:
    """Return the number of the file system that a path is on, or would be; None where that cannot be seen."""
    for one in (path, *path.parents):
        try:
            return one.stat().st_dev
        except OSError:
            continue
    return None


def placement(settings: Settings, database: Path | None, device: Device = device_of) -> list[str]:
    """Return what is wrong with the place of heads and journal; `database`: the directory of the database's files.

    None where that is on another machine, or cannot be seen.
    """
    if settings.mode != "production":
        return []
    if settings.journal_dir is None:
        return [UNSET]
    found = []
    for taken, what in ((settings.data, "the data directory"), (database, "the database's directory")):
        if taken is not None and settings.journal_dir.absolute().is_relative_to(taken.absolute()):
            found.append(f"journal_dir is within {what}, which a backup takes along: name a directory outside it")
    if not found and database is not None and device(settings.journal_dir) == device(database):
        found.append("journal_dir is on the database's own file system: name a directory on another disk")
    left = settings.data / "heads.jsonl"
    if left.exists() and not (settings.journal_dir / left.name).exists():
        found.append(f"the heads file is still {left}: move it into journal_dir, with the journal's files beside it")
    return found


def reach(settings: Settings, probe: Callable[[], None]) -> list[str]:
    """Return why heads and journal cannot be written, if they cannot; blocking."""
    try:
        probe()
    except OSError as error:
        why = error.strerror or type(error).__name__
        return [f"nothing can be written in {settings.outside} ({why}): without a journal nothing is signed or revoked"]
    return []


def standing(watch: RestoreWatch) -> tuple[Sequence[str], Sequence[str]]:
    """Return what is wrong by heads and journal, and what a person should look at."""
    faults = [said for said in (watch.trouble(), watch.unreadable) if said is not None]
    if not watch.damaged:
        return faults, ()
    lines = counted(watch.damaged, "line")
    return faults, [f"{lines} of the journal cannot be read: torn by a crash, edited, or of another installation"]
