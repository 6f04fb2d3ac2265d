"""Turns the verifier's report into lines for people and into an exit code for programs."""

from chopmark.audit.findings import Anchored, Finding, Level, Report
from chopmark.audit.record import stamp
from chopmark.core.counted import counted

SOUND = 0
BROKEN = 1

_SIGNS = {Level.ERROR: "ERROR", Level.WARNING: "warning", Level.NOTICE: "notice"}


def lines(report: Report) -> list[str]:
    """Return the report as plain lines; the last one is the verdict.

    Text from the database is quoted with control characters escaped, so that it can neither end a line nor send a
    command to the terminal.
    """
    told = [_finding(finding) for finding in report.findings]
    if report.omitted:
        told.append(f"... and {report.omitted} more that are not shown.")
    told.append(
        f"Read {counted(report.records, 'record')} of {counted(report.streams, 'chain')}: "
        f"{report.size} in the tree under {counted(report.heads, 'head')}, "
        f"{report.records - report.size} waiting for a place."
    )
    told.append(_anchored(report.anchored))
    if not report.macs_checked:
        told.append("Not checked: the MACs, because no audit key was given. A record that waits may have been edited.")
    if not report.file_checked:
        told.append(
            "Not checked: the heads file, because none was given. Records and heads may have been cut together."
        )
    if not report.anchored.chains_checked:
        told.append("Not checked: who signed the anchors, because no root certificate was given.")
    if not report.tables_checked:
        told.append("Not checked: the tables beside the records. A certificate may count again that the records end.")
    told.append(_verdict(report))
    return told


def _anchored(anchored: Anchored) -> str:
    if anchored.at is None:
        return "No time-stamp over a head: nothing but our own clock says when the records were written."
    return (
        f"{counted(anchored.anchors, 'anchor holds', 'anchors hold')}; "
        f"the newest shows that the first {counted(anchored.size, 'record')} stood at {stamp(anchored.at)}."
    )


def exit_code(report: Report) -> int:
    """Return 0 when there was no error, with or without warnings, and 1 otherwise."""
    return SOUND if report.sound else BROKEN


def _finding(finding: Finding) -> str:
    return _printable(f"{_SIGNS[finding.level]} {finding.code.value} at {finding.place}: {finding.sentence}")


def _verdict(report: Report) -> str:
    if not report.sound and not report.omitted and report.of_times_only:
        return (
            "The records are the ones that were written, and not all of their times can be believed. Find out what "
            "stood still or whose clock was wrong, and keep what you find with this report."
        )
    if not report.sound and not report.omitted and report.of_tables_only:
        return (
            "The records are the ones that were written, and the tables do NOT say what they say: somebody has edited "
            "the database. Keep it as it is and call the auditor."
        )
    if not report.sound:
        return "The records are NOT the ones that were written. Keep the database as it is and call the auditor."
    lost = " But for those that the restores above have lost, they are complete." if report.restored else ""
    if any(finding.level is Level.WARNING for finding in report.findings):
        return f"The records are the ones that were written.{lost} The warnings above need somebody's eye."
    if not (report.macs_checked and report.file_checked and report.anchored.chains_checked):
        return f"As far as was checked, the records are the ones that were written.{lost}"
    if lost:
        return f"The records are the ones that were written, in order.{lost}"
    return "The records are the ones that were written, complete and in order."


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
