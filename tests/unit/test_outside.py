"""Where signed heads and journal may lie, and what is said of a place where a restore would take them along."""

from pathlib import Path

import pytest

from chopmark.app.outside import device_of, placement, reach
from chopmark.app.settings import Settings


def settings(data: Path, journal: Path | None, mode: str = "production") -> Settings:
    return Settings.model_validate({"mode": mode, "data": data, "journal_dir": journal})


def other_disk(*on_it: Path) -> object:
    """A machine on which these directories, and what is in them, are on a disk of their own."""
    return lambda path: 2 if any(path.is_relative_to(one) for one in on_it) else 1


def test_production_names_a_directory(tmp_path: Path) -> None:
    (said,) = placement(settings(tmp_path, None), None)
    assert said.startswith("journal_dir is not set")


def test_a_demo_keeps_everything_in_one_directory(tmp_path: Path) -> None:
    assert placement(settings(tmp_path, None, "demo"), tmp_path) == []


def test_on_another_disk_it_is_well(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    device = other_disk(journal)
    assert placement(settings(tmp_path / "data", journal), tmp_path / "data", device) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("below", [".", "journal", "a/b"])
def test_within_the_data_directory_a_backup_takes_it_along_whatever_disk_it_is_on(tmp_path: Path, below: str) -> None:
    journal = tmp_path / "data" / below
    (said,) = placement(settings(tmp_path / "data", journal), None, other_disk(journal))  # type: ignore[arg-type]
    assert "within the data directory" in said


def test_within_the_databases_directory_a_backup_takes_it_along(tmp_path: Path) -> None:
    journal = tmp_path / "pg" / "journal"
    made = settings(tmp_path / "data", journal)
    (said,) = placement(made, tmp_path / "pg", other_disk(journal))  # type: ignore[arg-type]
    assert "within the database's directory" in said


def test_on_the_databases_own_file_system_it_is_not_outside(tmp_path: Path) -> None:
    (said,) = placement(settings(tmp_path / "data", tmp_path / "journal"), tmp_path / "pg")
    assert "the database's own file system" in said


def test_a_database_that_is_on_another_machine_says_nothing(tmp_path: Path) -> None:
    assert placement(settings(tmp_path / "data", tmp_path / "journal"), None) == []


def test_a_heads_file_that_was_left_behind_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "heads.jsonl").write_text("head\n")
    journal = tmp_path / "journal"
    (said,) = placement(settings(tmp_path / "data", journal), None)
    assert said.startswith(f"the heads file is still {tmp_path / 'data' / 'heads.jsonl'}")
    journal.mkdir()
    (journal / "heads.jsonl").write_text("head\n")
    assert placement(settings(tmp_path / "data", journal), None) == []


def test_what_cannot_be_written_is_named_with_its_reason(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    (said,) = reach(settings(tmp_path, tmp_path / "journal"), full)
    assert f"{tmp_path / 'journal'} (No space left on device)" in said
    assert reach(settings(tmp_path, None), lambda: None) == []


def test_a_directory_that_is_not_there_yet_is_on_its_parents_file_system(tmp_path: Path) -> None:
    assert device_of(tmp_path / "not" / "there") == tmp_path.stat().st_dev
