"""Who acts at the console: everybody names himself, and the machine's own user is recorded beside the name."""

import getpass
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chopmark.app.settings import Settings
from chopmark.cli import ca, clients, customers, keys, locks
from chopmark.cli.console import os_user
from chopmark.cli.customers import import_customers
from chopmark.core.refusal import Refused
from tests.contract.test_commands import SHEET, production

CHANGED = SHEET.replace("A123456789", "A130000019").replace("0922345678", "").replace("0912345678", "0955000111")


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    made = production(tmp_path / "data")
    assert await ca.init_ca(made) == 0
    return made


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(SHEET, encoding="utf-8")
    return path


def fill(sheet: Path, text: str) -> None:
    sheet.write_text(text, encoding="utf-8")


def acts(settings: Settings) -> list[tuple[str, dict[str, object]]]:
    """Every record that names who acted."""
    with sqlite3.connect(settings.data / "chopmark.sqlite") as database:
        rows = database.execute("SELECT event, facts FROM leaves ORDER BY entry").fetchall()
    return [(event, facts) for event, text in rows if "by" in (facts := json.loads(text))]


async def test_the_user_of_the_machine_stands_beside_whoever_names_himself(settings: Settings, sheet: Path) -> None:
    await import_customers(settings, sheet, "amy", None)
    fill(sheet, CHANGED)
    await import_customers(settings, sheet, "amy", None, allow="id,blanked")
    await customers.password_slip(settings, "C20001", "amy")
    await clients.put_client(settings, "trading", "Trading", "amy")
    with pytest.raises(Refused):
        await locks.release_hold(settings, "C20001", "amy", "Amy")
    await locks.release_hold(settings, "C20001", "amy", "ben")
    await keys.block_key(settings, "ab" * 32, "keyCompromise", "amy", "ben")
    found = acts(settings)
    assert {event for event, _ in found} == {
        "staff:customers:imported",
        "staff:customer:changed",
        "staff:contact:changed",
        "staff:cooldown:started",
        "staff:password:printed",
        "staff:client:created",
        "staff:action:refused",
        "staff:hold:released",
        "staff:key:blocked",
    }
    assert {(facts["by"], facts["os_user"]) for _, facts in found} == {("amy", os_user())}


def test_the_user_is_the_one_of_the_process_and_sudo_names_the_one_behind_it() -> None:
    ask = [sys.executable, "-c", "from chopmark.cli.console import os_user; print(os_user())"]
    told = [
        subprocess.run(ask, env={"PYTHONPATH": ":".join(sys.path), **more}, capture_output=True, text=True, check=True)
        for more in ({"LOGNAME": "mallory", "USER": "mallory"}, {"SUDO_USER": "amy"})
    ]
    name = getpass.getuser() if not os_user().startswith("uid ") else os_user()
    assert [one.stdout.strip() for one in told] == [os_user(), f"{os_user().split(',')[0]}, by sudo from amy"]
    assert name in os_user()


NAMING = [
    ["customers", "import", "sheet.csv"],
    ["customers", "password", "C1"],
    ["clients", "put", "trading"],
    ["hold", "release", "C1", "--approved-by", "ben"],
    ["certificates", "hold", "01", "--approved-by", "ben"],
    ["certificates", "release", "01", "--approved-by", "ben"],
    ["certificates", "revoked", "01", "--approved-by", "ben"],
    ["keys", "block", "key.pem", "--approved-by", "ben"],
    ["ca", "revoke", "01", "--approved-by", "ben"],
]


@pytest.mark.parametrize("call", NAMING, ids=" ".join)
def test_a_command_that_records_who_acted_has_nobody_to_put_there_instead(call: list[str], tmp_path: Path) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path), "CHOPMARK_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-m", "chopmark", *call]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Say who you are: add --by and your staff id.")
    assert not (tmp_path / "data").exists()


async def test_a_dry_run_prints_what_would_change_and_leaves_everything_as_it_is(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    before, report = acts(settings), sheet.with_name("report.csv")
    fill(sheet, "\n".join(CHANGED.splitlines()[:2]) + "\n")
    capsys.readouterr()
    assert await import_customers(settings, sheet, "amy", report, dry_run=True) == 1
    said = capsys.readouterr().out
    assert "Changes: 1 mobile changed, 1 person_id changed." in said
    assert "1 customer on record is not in this sheet and would stay as it is: C20002" in said
    assert "it would not be imported: 1 fault. Nothing was written." in said
    written = report.read_text(encoding="utf-8")
    assert '2,mobile,mobile.changed,"Customer C20001: mobile changed."' in written
    assert "2,person_id,person_id.changed" in written
    assert await import_customers(settings, sheet, "amy", report, allow="id", dry_run=True) == 0
    assert "it would be imported" in capsys.readouterr().out
    fill(sheet, SHEET.replace("0922345678", "").replace(",two@example.com", ","))
    assert await import_customers(settings, sheet, "amy", report, allow="blanked", dry_run=True) == 0
    assert "Disappears: 1 email removed, 1 mobile removed." in capsys.readouterr().out
    assert acts(settings) == before


async def test_the_command_refuses_and_says_which_word_lets_it_through(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_customers(settings, sheet, "amy", None)
    fill(sheet, CHANGED)
    assert await import_customers(settings, sheet, "amy", None) == 1
    said = capsys.readouterr().out
    assert "2,person_id,person_id.changed" in said
    assert "--allow id" in said
    assert "3,mobile,mobile.blanked" in said
    assert "Nothing was imported: 2 faults in 2 lines." in said
    with pytest.raises(Refused) as refused:
        await import_customers(settings, sheet, "amy", None, allow="id,everything")
    assert "everything" in str(refused.value.refusal.public)
    assert await import_customers(settings, sheet, "amy", None, allow=" id , blanked") == 0
    assert "Changes: 1 mobile changed, 1 person_id changed." in capsys.readouterr().out


async def test_contacts_that_customers_share_are_said_after_the_import(
    settings: Settings, sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(sheet, SHEET.replace("0922345678", "0912345678"))
    assert await import_customers(settings, sheet, "amy", None) == 0
    assert "1 contact is shared by several customers; lines 3." in capsys.readouterr().out
