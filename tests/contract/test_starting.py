"""Each process of the product refuses a database that will not do with one sentence, and is not started again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chopmark
from tests import pgbouncer, postgres

SOURCE = Path(chopmark.__file__).parents[1]
STARTS = [["serve"], ["serve", "--workers", "1"], ["worker"], ["est"], ["db", "upgrade"], ["ca", "init"]]


def started(command: list[str], folder: Path, database: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a production installation with this database until it ends."""
    secrets = ("OTP_KEY", "AUDIT_KEY", "DATA_KEY", "LOOKUP_KEY", "CSRF_KEY", "CA_PASSPHRASE")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SOURCE),
        "CHOPMARK_DATA": str(folder),
        "CHOPMARK_DATABASE": database,
        "CHOPMARK_CLOCK_KEPT_BY": "host",
        "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
        "CHOPMARK_STATUS_URL": "http://status.example.com",
        "CHOPMARK_PROXY__IN_FRONT": "no",
        "CHOPMARK_EST__URL": "https://est.example.com:8443",
        "CHOPMARK_EST__SOCKET": str(folder / "est.sock"),
        **{f"CHOPMARK_{name}": os.urandom(32).hex() for name in secrets},
    }
    return subprocess.run(
        [sys.executable, "-m", "chopmark", *command],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("command", STARTS, ids=" ".join)
def test_an_address_that_leads_away_unverified(tmp_path, command):
    done = started(command, tmp_path, "postgresql://u@db.example.com/db?sslmode=require")
    assert_one_sentence(done, "CHOPMARK_DATABASE leads off this machine (db.example.com)")
    assert "sslmode=verify-full" in done.stderr


@pytest.mark.parametrize("command", STARTS, ids=" ".join)
def test_a_pooler_in_transaction_mode(postgres_cluster: postgres.Cluster, postgres_dsn, tmp_path, command):
    with pgbouncer.pooling(postgres_cluster, "transaction") as pooler:
        assert_one_sentence(started(command, tmp_path, pooler.dsn(postgres_dsn)), "pool_mode = session")


@pytest.mark.parametrize("command", STARTS, ids=" ".join)
def test_a_role_that_does_not_exist(postgres_dsn, tmp_path, command):
    dsn = postgres_dsn.replace(f"//{postgres.OWNER}@", "//nobody@")
    assert_one_sentence(started(command, tmp_path, dsn), 'role "nobody" does not exist')


def test_sessions_that_another_process_has_left_its_statements_in(postgres_cluster, postgres_dsn, tmp_path):
    with pgbouncer.pooling(postgres_cluster, "session", server_reset_query="") as pooler:
        assert started(["db", "upgrade"], tmp_path, pooler.dsn(postgres_dsn)).returncode == 1
        assert_one_sentence(started(["worker"], tmp_path, pooler.dsn(postgres_dsn)), "server_reset_query = DISCARD ALL")
