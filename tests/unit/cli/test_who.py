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


WORDS = {
    "clients put desk --by=alice --name": "name",
    "clients put --by=alice --client": "client",
    "clients limit desk --by=alice --account": "account",
    "db restored --by=alice --reason": "reason",
    "certificates revoke 0A --reason=court --by=alice --approved-by=bob --paper": "paper",
    "certificates find --what": "what",
    "customers show --who": "who",
    "customers password --by=alice --customer": "customer",
    "customers import sheet.csv --by=alice --allow": "allow",
    "hold show --customer": "customer",
    "ca ceremony folder --two=Ben --one": "one",
    "ca ceremony folder --one=Amy --two=Ben --witness": "witness",
}
UNSEEN = ("   ", "\u3000", "a\nb", "a\x1b[31mb", "\u202eab", "a\u200fb", "\u200b", "a" * 201)


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize("words", UNSEEN, ids=ascii)
def test_words_that_nobody_can_read_are_refused_by_every_command_before_anything_is_opened(
    command: str, words: str
) -> None:
    *called, name = command.split()
    with pytest.raises(Refused) as refused:
        app([*called, f"{name}={words}"], exit_on_error=False, print_error=False)
    assert (refused.value.refusal.field, refused.value.refusal.code) == (WORDS[command], "words")
    assert str(refused.value.refusal.public).startswith(f"{name} has to be one line of 1 to 200 characters")


@pytest.mark.parametrize("command", [one for one, field in WORDS.items() if field not in {"allow", "one"}])
def test_nothing_between_the_quotes_is_refused_where_it_stands_for_nothing(command: str) -> None:
    *called, name = command.split()
    with pytest.raises(Refused) as refused:
        app([*called, f"{name}="], exit_on_error=False, print_error=False)
    assert refused.value.refusal.field == WORDS[command]


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "head.pub.pem"
    called = [sys.executable, "-m", "chopmark", "audit", "verify", "--export", "x", "--key", str(missing)]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, f"chopmark: {missing}: No such file or directory\n")
