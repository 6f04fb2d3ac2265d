"""A report reads as sentences and ends in a verdict; only damage makes the exit code 1."""

from dataclasses import replace
from datetime import UTC, datetime

from chopmark.audit.findings import Anchored, Code, Finding, Level, Report
from chopmark.audit.report import exit_code, lines

SOUND = Report(
    (), 0, records=12, size=10, streams=3, heads=1, macs_checked=True, file_checked=True, tables_checked=True
)
LATE = Finding(Code.UNSEQUENCED_LATE, "A@1", "One leaf waits too long.", Level.WARNING)
EDITED = Finding(Code.MAC_WRONG, "index 3 (A@1)", "The leaf does not match its MAC.")


def test_records_that_hold_are_said_to_hold():
    assert lines(SOUND) == [
        "Read 12 records of 3 chains: 10 in the tree under 1 head, 2 waiting for a place.",
        "No time-stamp over a head: nothing but our own clock says when the records were written.",
        "The records are the ones that were written, complete and in order.",
    ]
    assert exit_code(SOUND) == 0


def test_a_warning_is_told_and_is_no_failure():
    report = replace(SOUND, findings=(LATE,))
    assert lines(report)[0] == "warning unsequenced-late at A@1: One leaf waits too long."
    assert "warnings" in lines(report)[-1]
    assert exit_code(report) == 0


def test_the_newest_anchor_is_told_and_whether_anybody_asked_who_signed_it():
    anchored = Anchored(7, 9, datetime(2026, 3, 2, 1, 0, tzinfo=UTC))
    told = lines(replace(SOUND, anchored=anchored))
    assert "7 anchors hold; the newest shows that the first 9 records stood at 2026-03-02T01:00:00.000Z." in told
    assert "complete" in told[-1]
    told = lines(replace(SOUND, anchored=replace(anchored, chains_checked=False)))
    assert [line for line in told if line.startswith("Not checked: who signed the anchors")]
    assert "complete" not in told[-1]


def test_damage_is_told_first_and_fails():
    report = replace(SOUND, findings=(EDITED, LATE))
    assert lines(report)[0] == "ERROR mac-wrong at index 3 (A@1): The leaf does not match its MAC."
    assert "NOT" in lines(report)[-1]
    assert exit_code(report) == 1


def test_findings_beyond_the_limit_are_counted_and_fail():
    report = replace(SOUND, findings=(LATE,), omitted=7)
    assert "... and 7 more that are not shown." in lines(report)
    assert exit_code(report) == 1


def test_what_was_not_checked_is_said():
    report = replace(SOUND, macs_checked=False, file_checked=False)
    told = lines(report)
    assert [line[:11] for line in told].count("Not checked") == 2
    assert "complete" not in told[-1]


def test_an_export_has_no_tables_and_the_report_says_so():
    told = lines(replace(SOUND, tables_checked=False))
    assert [line for line in told if line.startswith("Not checked: the tables")]
    assert "complete" in told[-1]  # the records are


def test_an_edited_table_fails_and_leaves_the_records_their_word():
    revived = Finding(Code.HOLDING_STATE_WRONG, "certificate 01", "It is active, and its records say ended.")
    report = replace(SOUND, findings=(revived, LATE))
    assert lines(report)[-1].startswith("The records are the ones that were written, and the tables do NOT")
    assert exit_code(report) == 1
    assert lines(replace(report, findings=(revived, EDITED)))[-1].startswith("The records are NOT")


def test_a_tampered_name_cannot_command_the_terminal_or_forge_a_line():
    evil = replace(EDITED, place="A\x1b[2J\nThe records are fine\udcff\u202e")
    (told,) = lines(replace(SOUND, findings=(evil,)))[:-3]
    assert told.isprintable()
    assert told.encode() == told.encode("ascii")
    assert r"A\x1b[2J\nThe records are fine\udcff\u202e" in told


def test_times_that_cannot_be_believed_are_an_error_and_no_word_against_the_records():
    late = Finding(Code.PLACED_LATE, "index 3 (c@1)", "1 records were placed late.")
    report = Report((late,), 0, 4, 4, 1, 2, macs_checked=True, file_checked=True)
    assert exit_code(report) == 1
    assert "are the ones that were written, and not all of their times" in lines(report)[-1]
    worse = replace(report, findings=(late, Finding(Code.ROOT_WRONG, "head of size 4", "The root differs.")))
    assert "NOT the ones" in lines(worse)[-1]
