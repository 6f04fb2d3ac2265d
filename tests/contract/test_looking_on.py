"""Commands that only read migrate nothing: on an older schema or none they say so and leave everything as it is."""

import hashlib
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection

from chopmark.app.settings import Settings
from chopmark.cli import audit, ca, certificates, check, clients, customers, expiries, locks, service_certificates
from chopmark.store import db
from chopmark.store.engine.opening import RELEASE, is_postgres, sqlite_path
from chopmark.store.engine.port import Unfit
from tests import postgres
from tests.contract.test_commands import SHEET, production

OLDER = "0010"
Command = Callable[[Settings, Path], Awaitable[int]]
COMMANDS: dict[str, Command] = {
    "check certificates": lambda settings, _: check.check_certificates(settings, 0),
    "audit verify": lambda settings, _: audit.verify_audit(settings, None, None, None),
    "audit verify --export": lambda settings, folder: audit.verify_audit(settings, folder / "out", None, None),
    "audit key": lambda settings, folder: audit.write_audit_key(settings, folder / "out"),
    "audit export": lambda settings, folder: audit.export_audit(settings, folder / "out"),
    "clients list": lambda settings, _: clients.list_clients(settings),
    "hold show": lambda settings, _: locks.show_holds(settings, "C20001"),
    "expiries": lambda settings, _: expiries.look(settings, 30, 7),
    "certificates by-hand": lambda settings, _: certificates.list_by_hand(settings),
    "ca services": lambda settings, _: service_certificates.list_services(settings),
    "customers import --dry-run": lambda settings, folder: customers.import_customers(
        settings, folder / "sheet.csv", "alice", None, allow="", dry_run=True
    ),
}


def to_older(connection: Connection) -> None:
    config = db.alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, OLDER)


def content(url: str, cluster: postgres.Cluster | None) -> object:
    """Return what the database holds, to the last byte, and what files are beside it."""
    if cluster is not None:
        dump: list[str | Path] = [cluster.programs / "pg_dump", "-h", cluster.directory, "-U", postgres.OWNER]
        lines = subprocess.run([*dump, postgres.name_in(url)], check=True, capture_output=True).stdout.splitlines()
        return [
            line for line in lines if not line.startswith((b"\\restrict ", b"\\unrestrict "))
        ]  # a new key each time
    folder = Path(sqlite_path(url)).parent
    return {file: hashlib.sha256(file.read_bytes()).digest() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def cluster(engine_url: str, request: pytest.FixtureRequest) -> postgres.Cluster | None:
    return request.getfixturevalue("postgres_cluster") if is_postgres(engine_url) else None


@pytest.fixture
def settings(engine_url: str, tmp_path: Path) -> Settings:
    (tmp_path / "sheet.csv").write_text(SHEET, encoding="utf-8")
    return production(tmp_path / "data").model_copy(update={"database": engine_url})


async def prepare(url: str, state: str) -> str:
    """Bring the database into this state, and return what is said of it."""
    if state == "older":
        await db.within(url, to_older)
        return f"the database's schema is {OLDER}, older than this release's {RELEASE}"
    return "the database has no schema yet"


@pytest.mark.parametrize("state", ["older", "none"])
async def test_commands_that_read_leave_a_schema_of_before_as_it_is(
    settings, engine_url, cluster, tmp_path, capsys, state
):
    said = await prepare(engine_url, state)
    before = content(engine_url, cluster)

    for name, run in COMMANDS.items():
        with pytest.raises(Unfit, match=f"{said}.*chopmark db upgrade.*nothing was changed"):
            await run(settings, tmp_path)
        assert content(engine_url, cluster) == before, name
    assert await check.check_installation(settings) == 1
    assert f"NOT READY: {said}" in capsys.readouterr().out

    assert content(engine_url, cluster) == before
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "out").exists()


async def test_the_usual_database_and_its_folder_are_not_made_by_looking(tmp_path, capsys):
    made = production(tmp_path / "data")

    assert await check.check_installation(made) == 1

    assert "NOT READY: the database has no schema yet" in capsys.readouterr().out
    assert not made.data.exists()


async def test_on_this_releases_schema_and_on_a_later_one_they_read(settings, engine_url, capsys):
    assert await ca.init_ca(settings) == 0
    for later in (False, True):
        if later:
            await db.within(engine_url, lambda connection: _at(connection, "9999"))
        await check.check_installation(settings)
        assert f"schema {'9999' if later else db.head()}" in capsys.readouterr().out
        assert await clients.list_clients(settings) == 0


def _at(connection: Connection, revision: str) -> None:
    connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


async def test_check_names_what_keeps_postgresql_from_being_used(tmp_path, capsys):
    made = production(tmp_path / "data").model_copy(update={"database": "postgresql://u@db.example.com/db"})

    assert await check.check_installation(made) == 1

    assert "NOT READY: CHOPMARK_DATABASE leads off this machine (db.example.com)" in capsys.readouterr().out


async def test_check_says_that_postgresql_cannot_be_reached(tmp_path, capsys):
    made = production(tmp_path / "data").model_copy(update={"database": f"postgresql://u@/db?host={tmp_path}"})

    assert await check.check_installation(made) == 1

    assert "NOT READY: PostgreSQL cannot be reached" in capsys.readouterr().out
