"""An address is judged as the driver reads it: each host of it, wherever it was said, before anything is sent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import chopmark
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.postgres_address import read_address
from tests.tls import certified

SOURCE = Path(chopmark.__file__).parents[1]
HERE = [
    "postgresql://u@/db?host=/run/postgresql",
    "postgresql://u@localhost/db",
    "postgresql://u@LOCALHOST:5433/db",
    "postgresql://u@127.0.0.1/db",
    "postgres://u@127.8.9.10/db",
    "postgresql://u@[::1]:5432/db",
    "postgresql://u@%2Frun%2Fpostgresql/db",
    "postgresql://u@localhost:5432,127.0.0.1:5433/db?target_session_attrs=primary",
    "postgresql://u@/db?host=/run/postgresql,localhost&port=5432,5433",
    "postgresql://u@localhost/db?sslmode=disable",
    "postgresql:///db",
]
AWAY = [
    "postgresql://u@db.example.com/db",
    "postgresql://u@localhost.example.com/db",
    "postgresql://u@192.0.2.7/db",
    "postgresql://u@128.0.0.1/db",
    "postgresql://u@0.0.0.0/db",
    "postgresql://u@[2001:db8::1]/db",
    "postgresql://u@[::ffff:127.0.0.1]/db",
    "postgresql://u@127.1/db",
    "postgresql://u@localhost@192.0.2.7/db",
    "postgresql://u@/db?host=db.example.com",
    "postgresql://u@localhost,db.example.com/db",
    "postgresql://u@db.example.com,localhost/db",
    "postgresql://u@/db?host=/run/postgresql,192.0.2.7",
    "postgresql://u@db%2Eexample.com/db",
]


@pytest.mark.parametrize("url", HERE)
def test_on_this_machine_no_tls_is_asked_for(url):
    assert read_address(url).hosts


@pytest.mark.parametrize("mode", ["", "disable", "allow", "prefer", "require"])
@pytest.mark.parametrize("url", AWAY)
def test_off_this_machine_anything_less_than_verified_tls_is_refused(url, mode):
    with pytest.raises(Unfit, match=r"CHOPMARK_DATABASE.*sslmode=verify-full.*sslrootcert"):
        read_address(url + (f"{'&' if '?' in url else '?'}sslmode={mode}" if mode else ""))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a CA's certificate that can be read."""
    file = tmp_path_factory.mktemp("tls") / "root.pem"
    file.write_bytes(certified("192.0.2.7")[1])
    return file


@pytest.mark.parametrize("url", AWAY)
def test_off_this_machine_verified_tls_is_let_through(url, root):
    asked = f"{url}{'&' if '?' in url else '?'}sslmode=verify-full&sslrootcert={root}"
    assert any(not isinstance(host, str) for host in read_address(asked).hosts)


def test_a_certificate_that_is_checked_without_its_name_is_not_enough(root):
    with pytest.raises(Unfit, match="verify-full"):
        read_address(f"postgresql://u@db.example.com/db?sslmode=verify-ca&sslrootcert={root}")


def test_a_ca_file_that_is_missing_is_a_sentence(tmp_path):
    with pytest.raises(Unfit, match="sslrootcert"):
        read_address(f"postgresql://u@db.example.com/db?sslmode=verify-full&sslrootcert={tmp_path / 'none.pem'}")


READ = """
import json, sys
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.postgres_address import read_address
try:
    print(json.dumps(["read", read_address(sys.argv[1]).hosts]))
except Unfit as unfit:
    print(json.dumps(["unfit", str(unfit)]))
"""


def read_with(environment: dict[str, str], url: str) -> tuple[str, object]:
    """Read an address in a process that has these variables and no others."""
    command = [sys.executable, "-c", READ, url]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(SOURCE), "PGUSER": "u", **environment}, stdout=subprocess.PIPE, check=True
    )
    kind, what = json.loads(done.stdout)
    return kind, what


def test_a_host_named_by_a_variable_is_looked_at():
    kind, said = read_with({"PGHOST": "localhost,db.example.com"}, "postgresql:///db")
    assert kind == "unfit"
    assert "db.example.com" in str(said)
    assert read_with({"PGHOST": "127.0.0.1"}, "postgresql:///db") == ("read", [["127.0.0.1", 5432]])


def test_a_mode_named_by_a_variable_counts(root):
    environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(root)}
    assert read_with(environment, "postgresql://db.example.com/db")[0] == "read"
    assert read_with({"PGSSLMODE": "require"}, "postgresql://db.example.com/db")[0] == "unfit"
    assert read_with(environment, "postgresql://db.example.com/db?sslmode=prefer")[0] == "unfit"


def test_a_host_in_a_service_file_is_looked_at(tmp_path, root):
    (tmp_path / "services").write_text(
        f"[plain]\nhost=db.example.com\n[verified]\nhost=db.example.com\nsslmode=verify-full\nsslrootcert={root}\n"
    )
    environment = {"PGSERVICEFILE": str(tmp_path / "services")}
    assert read_with(environment, "postgresql:///db?service=plain")[0] == "unfit"
    assert read_with(environment, "postgresql:///db?service=verified") == ("read", [["db.example.com", 5432]])


@pytest.mark.parametrize("attributes", ["any", "primary", "read-write"])
def test_a_session_that_can_write_may_be_asked_for(attributes):
    read_address(f"postgresql://u@localhost/db?target_session_attrs={attributes}")


@pytest.mark.parametrize("attributes", ["standby", "prefer-standby", "read-only"])
def test_one_that_cannot_is_refused(attributes):
    with pytest.raises(Unfit, match="say primary"):
        read_address(f"postgresql://u@localhost/db?target_session_attrs={attributes}")


@pytest.mark.parametrize("name", ["hostaddr", "channel_binding", "require_auth", "gssencmode"])
def test_what_the_driver_does_not_read_is_refused_and_not_passed_over(name):
    with pytest.raises(Unfit, match=name):
        read_address(f"postgresql://u@localhost/db?{name}=127.0.0.1")


def test_settings_leave_the_address_and_are_kept_beside_it():
    url = r"postgresql://u:p%40ss@localhost:5433/db?geqo=off&options=-c%20a.b%3Dc%5C%20d%20--jit-above-cost%3D7&sslmode=disable"
    read = read_address(url)
    assert read.settings == {"geqo": "off", "a.b": "c d", "jit_above_cost": "7"}
    assert read.dsn == "postgresql://u:p%40ss@localhost:5433/db?sslmode=disable"


def test_options_of_another_form_are_refused():
    with pytest.raises(Unfit, match="options="):
        read_address("postgresql://u@localhost/db?options=-W%205")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret:word@x:y@localhost/db",
        "postgresql://u:p@secretword@db.example.com/db",
        "postgresql://u@localhost:secretword/db",
        "postgresql://u:p@[secretword/db",
        "postgresql://u:p@db.example.com,[secretword@localhost/db",
    ],
)
def test_no_piece_of_a_password_is_in_the_sentence(url):
    with pytest.raises(Unfit) as unfit:
        read_address(url)
    assert "secret" not in str(unfit.value)
    assert unfit.value.__cause__ is None
