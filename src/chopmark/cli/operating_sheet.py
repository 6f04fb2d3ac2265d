"""What `chopmark customers import` does: take a sheet in, or say what it would change; and what it says about that."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from chopmark.app.settings import Settings
from chopmark.cli.console import at_console, looking
from chopmark.cli.operating_ca import say
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.context import assert_staff
from chopmark.ra.customer_import.cells import Dates
from chopmark.ra.customer_import.ports import Allowed
from chopmark.ra.customer_import.report import Report
from chopmark.ra.customer_import.sheet import Fault, csv_lines

_SAID = 20
"""So many customers are named on a line; a dry run's report has the others."""


async def import_customers(
    settings: Settings,
    file: Path,
    by: str,
    report: Path | None,
    *,
    allow: str = "",
    dates: str = "plain",
    dry_run: bool = False,
) -> int:
    """Import a sheet, or say what that would do; show a progress bar on a terminal."""
    from rich.progress import Progress

    allowed = allowed_of(allow)
    assert_staff(by, "by")
    async with (looking if dry_run else at_console)(settings) as services:
        with Progress(disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("customers", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            if dry_run:
                found = await services.ra.customer_import.check_file(file, tell, allowed, Dates(dates))
            else:
                found = await services.ra.customer_import.run(file, by, tell, allowed, Dates(dates))
    if dry_run:
        return await _dry(found, report)
    if found.resumed_at:
        say(f"An earlier run had stopped after {found.resumed_at} lines; this one went on from there.")
    if found.faults:
        await _written(report, found.faults)
        say(f"Nothing was imported: {found.more + len(found.faults)} faults in {found.lines} lines.")
        return 1
    say(f"{found.imported} customers imported ({found.encoding}).")
    _sum_up(found)
    _shared(found)
    return 0


def allowed_of(written: str) -> frozenset[Allowed]:
    """Return what --allow names. Raises Refused for a word that it does not know."""
    words = {word.strip() for word in written.split(",") if word.strip()}
    if unknown := sorted(words - {each.value for each in Allowed}):
        said = text(
            "--allow knows %(known)s, with commas between; it does not know %(word)s.",
            known=", ".join(Allowed),
            word=unknown[0],
        )
        raise Refused(Refusal(Kind.MALFORMED, said, field="allow", code="allow"))
    return frozenset(Allowed(word) for word in words)


async def _dry(found: Report, report: Path | None) -> int:
    """Say what a sheet would change; exit code 1 when it would not be imported."""
    await _written(report, sorted((*found.faults, *found.notes), key=lambda one: one.line))
    _sum_up(found)
    _shared(found)
    if found.absent_count:
        named = ", ".join(found.absent[:_SAID]) + (" ..." if found.absent_count > _SAID else "")
        say(f"{found.absent_count} customers on record are not in this sheet and would stay as they are: {named}")
    faults = found.more + len(found.faults)
    verdict = f"it would not be imported: {faults} faults" if faults else "it would be imported"
    say(f"Dry run over {found.lines} lines ({found.encoding}); {verdict}. Nothing was written.")
    return 1 if faults else 0


async def _written(report: Path | None, said: Iterable[Fault]) -> None:
    written = "".join(f"{line}\n" for line in csv_lines(said))
    if report is None:
        sys.stdout.write(written)
    else:
        await asyncio.to_thread(report.write_text, written, encoding="utf-8")


def _sum_up(found: Report) -> None:
    """Say how many of each change there are, removals by themselves."""
    counts = {code: many for code, many in sorted(found.counts.items()) if not code.endswith(".shared")}
    gone = {code: many for code, many in counts.items() if code.endswith(".removed")}
    for title, some in (("Changes", {code: counts[code] for code in counts if code not in gone}), ("Disappears", gone)):
        if some:
            say(f"{title}: " + ", ".join(f"{many} {code.replace('.', ' ')}" for code, many in some.items()) + ".")


def _shared(found: Report) -> None:
    """Say that customers share contacts, and on which lines."""
    many = sum(count for code, count in found.counts.items() if code.endswith(".shared"))
    if many:
        lines = sorted({one.line for one in found.notes if one.code.endswith(".shared")})
        named = ", ".join(str(line) for line in lines[:_SAID]) + (" ..." if len(lines) > _SAID else "")
        say(f"{many} contacts are shared by several customers; lines {named}. Is that right (a family, a firm)?")
