"""Commands for certificates of former issuers: a check of what an import would find, and the import itself."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chopmark.cli.console import at_console, configured, looking, run, say
from chopmark.core.counted import counted

if TYPE_CHECKING:
    from chopmark.app.settings import Settings
    from chopmark.ra.certificate_import.report import CertificateReport, Estimate, Example, Found

_SHOWN = 20
"""How many unreadable parts of the input are printed; the report has the others."""


def certificates_check_import(
    *old: Path, examples: int = 5, by_file: int = 0, by_vault: int = 0, report: Path | None = None
) -> int:
    """Say what an import of these certificates would find, and who will renew by which way; write nothing.

    Parameters
    ----------
    old:
        Files or folders: PEM with any number of certificates, DER, PKCS #7, or CSV with a certificate in each line. A
        CSV without certificates, with serial and customer numbers, says whose certificates are.
    examples:
        How many certificates of each kind are named.
    by_file:
        Your estimate: of 100 customers of whom nothing says where the key is, so many have a file.
    by_vault:
        Your estimate: so many have it in the old component, which no browser reaches. The rest has no key.
    report:
        Where to write everything that is named, as CSV.
    """
    return run(check_import(configured(), old, examples, (by_file, by_vault), report))


def certificates_import(
    *old: Path,
    by: str,
    examples: int = 5,
    by_file: int = 0,
    by_vault: int = 0,
    report: Path | None = None,
) -> int:
    """Import the certificates that customers have of former issuers, wholly or not at all.

    What matches no customer, has expired, or is not from a former issuer is counted and left out. Anything that cannot
    be read keeps all out. A run that was killed goes on where it stopped when it is started again.

    Parameters
    ----------
    old:
        Files or folders, as for `check-import`.
    by:
        Staff id of who imports, for the audit.
    examples:
        How many certificates of each kind are named.
    by_file:
        Your estimate, as for `check-import`.
    by_vault:
        Your estimate, as for `check-import`.
    report:
        Where to write everything that is named, as CSV.
    """
    return run(import_certificates(configured(), old, by, examples, (by_file, by_vault), report))


async def check_import(
    settings: Settings, old: Sequence[Path], examples: int, estimate: tuple[int, int], report: Path | None
) -> int:
    """Print what an import would find.

    Return exit code 1 if something cannot be read, so that nothing would be imported.
    """
    from rich.progress import Progress

    guess = estimate_of(estimate)
    assert_writable(report, old)
    async with looking(settings) as services:
        with Progress(disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("certificates", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            found = await services.ra.certificate_import.check(old, tell, examples)
    say_report(found, guess)
    write_report(found, report)
    if found.unreadable:
        say("Nothing would be imported, because of what cannot be read.")
    return 1 if found.unreadable else 0


async def import_certificates(
    settings: Settings, old: Sequence[Path], by: str, examples: int, estimate: tuple[int, int], report: Path | None
) -> int:
    """Import, and print what was found. Return exit code 1 if nothing was imported because something cannot be read."""
    from rich.progress import Progress

    from chopmark.ra.context import assert_staff

    guess = estimate_of(estimate)
    assert_staff(by, "by")
    assert_writable(report, old)
    async with at_console(settings) as services:
        with Progress(disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("certificates", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            found = await services.ra.certificate_import.run(old, by, tell, examples)
    if found.resumed_at:
        before = counted(found.resumed_at, "certificate", form=",")
        say(f"An earlier run had stopped after {before}; this one went on from there.")
    say_report(found, guess)
    write_report(found, report)
    if found.unreadable:
        say("Nothing was imported, because of what cannot be read.")
        return 1
    say(f"{counted(found.imported, 'certificate', form=',')} imported (run {found.run}).")
    return 0


def estimate_of(given: tuple[int, int]) -> Estimate:
    """Return the firm's estimate. Raises Refused if the numbers are no percentages."""
    from chopmark.core.refusal import Kind, Refusal, Refused
    from chopmark.core.types import text
    from chopmark.ra.certificate_import.report import Estimate

    by_file, by_vault = given
    if min(given) < 0 or by_file + by_vault > 100:
        said = text("--by-file and --by-vault are percentages, together at most 100.")
        raise Refused(Refusal(Kind.MALFORMED, said, field="by-file", code="estimate"))
    return Estimate(by_file, by_vault)


def _sentences() -> dict[Found, str]:
    from chopmark.ra.certificate_import.report import Found

    return {
        Found.MATCHED: "belong to one customer each",
        Found.KEY_UNFIT: "belong to one customer each, but their key may prove no renewal: these must apply",
        Found.THERE: "were imported before",
        Found.TWICE: "stand in the files more than once",
        Found.NO_CUSTOMER: "name nobody who is in the directory",
        Found.NO_TEMPLATE: "have a subject that no template fits (or no valid number), and no table says whose",
        Found.TWO_CUSTOMERS: "could be of two customers",
        Found.TABLE_UNKNOWN: "match a customer, but a table names somebody else for them who is not in the directory",
        Found.EXPIRED: "have expired",
        Found.NOT_FORMER: "are not from a former issuer: no pinned certificate verifies their signature",
        Found.KEY_SHARED: "have a key that another customer has too",
        Found.KEY_BLOCKED: "have a key that was reported and is blocked",
        Found.AUTHORITY: "are CAs' own certificates",
        Found.UNREADABLE: "cannot be read",
    }


def say_report(found: CertificateReport, estimate: Estimate) -> None:
    """Print what was found."""
    from chopmark.ra.imported import Way

    say(f"{counted(found.certificates, 'certificate', form=',')} in the files:")
    for kind, sentence in _sentences().items():
        if many := found.counts.get(kind, 0):
            say(f"{many:>10,}  {sentence}{_named(found.examples.get(kind, ()))}")
    for one in found.unreadable[:_SHOWN]:
        say(f"            {one.file}:{one.place}: {one.text}")
    say(f"Of those that belong to a customer, {found.renew:,} can renew, {found.apply:,} must apply, and")
    say(f"{found.certified:,} have a certificate of yours already.")
    ways = {way: found.ways.get(way, 0) for way in Way}
    say(f"Where their keys are: in a file {ways[Way.FILE]:,}, in the old component {ways[Way.VAULT]:,},")
    say(f"no key that can sign {ways[Way.NONE]:,}, not told {ways[Way.UNKNOWN]:,}.")
    if estimate.given and ways[Way.UNKNOWN]:
        by_file = ways[Way.UNKNOWN] * estimate.by_file // 100
        rest = ways[Way.UNKNOWN] - by_file
        say(f"By your estimate, {by_file:,} of the last renew with a file, and {rest:,} must apply.")
    for month, many in found.months.items():
        say(f"  {month}: {counted(many, 'ends', 'end', form=',')}")


def _named(examples: Iterable[Example]) -> str:
    """Return examples in brackets. They contain no names and no ID numbers."""
    named = [f"no. {one.number}" if not one.file else f"{one.file}:{one.place} ({one.serial})" for one in examples]
    return f" [{', '.join(named)}]" if named else ""


def assert_writable(report: Path | None, old: Sequence[Path]) -> None:
    """Raise Refused before anything is done when the report could not be written, or would take a file's place."""
    from chopmark.core.refusal import Kind, Refusal, Refused
    from chopmark.core.types import text

    if report is None:
        return
    said = None
    if report.exists() and any(one.exists() and one.samefile(report) for one in old):
        said = text("--report names one of the files to read. Please name another file.")
    else:
        try:
            report.open("a").close()
        except OSError as error:
            said = text(
                "The report cannot be written to %(name)s (%(why)s). Please name another file with --report.",
                name=str(report),
                why=str(error.strerror),
            )
    if said is not None:
        raise Refused(Refusal(Kind.MALFORMED, said, field="report", code="report"))


def write_report(found: CertificateReport, report: Path | None) -> None:
    """Write what is named in the report as CSV."""
    if report is None:
        return
    with report.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kind", "number", "file", "place", "serial", "reason"))
        for kind, examples in found.examples.items():
            for one in examples:
                writer.writerow((kind.value, one.number, _cell(one.file), one.place, one.serial, ""))
        for bad in found.unreadable:
            writer.writerow(("unreadable", "", _cell(bad.file), bad.place, "", str(bad.text)))


def _cell(value: str) -> str:
    """Return a file's name so that a spreadsheet takes it for text and never for a formula."""
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
