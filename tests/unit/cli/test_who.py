"""Who gives a command is recorded for ever: what is no staff id is refused before anything is opened."""

import subprocess
import sys
from pathlib import Path

import pytest

from chopmark.cli.command_line import app
from chopmark.core.refusal import Refused

COMMANDS = (
    "customers password C1",
    "customers import sheet.csv",
    "clients put desk --name Desk",
    "clients disable desk",
    "ca rewrap root.pem",
    "certificates import old.pem",
    "hold release C1 --approved-by bob",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("by", ["alice chen", "陳", "", "-a\n", "a" * 65])
def test_a_name_that_is_no_staff_id_is_refused_by_every_command_that_asks_for_one(command: str, by: str) -> None:
    with pytest.raises(Refused) as refused:
        app([*command.split(), f"--by={by}"], exit_on_error=False, print_error=False)
    assert refused.value.refusal.field == "by"


def test_who_approves_is_looked_at_too() -> None:
    with pytest.raises(Refused) as refused:
        app("hold release C1 --by=alice --approved-by=b/b", exit_on_error=False, print_error=False)
    assert refused.value.refusal.field == "approved_by"


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "head.pub.pem"
    called = [sys.executable, "-m", "chopmark", "audit", "verify", "--export", "x", "--key", str(missing)]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, f"chopmark: {missing}: No such file or directory\n")
