"""A server that is not on loopback by its name has to show a certificate, of a CA that we know and for this name.

0.0.0.0 is no loopback address, and Linux leads it to this machine all the same.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from chopmark.store import db
from chopmark.store.current import make_current
from chopmark.store.engine.opening import assert_usable, open_engine, schema_of
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.script import Script, query
from tests import postgres
from tests.journey.counter import apart, free_port
from tests.tls import certified

AWAY = "0.0.0.0"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def cluster(port: int) -> Iterator[postgres.Cluster]:
    """A server that speaks TLS, and plainly too, on 127.0.0.1; its certificate is for 0.0.0.0."""
    with postgres.running(["listen_addresses=127.0.0.1", f"port={port}"]) as made:
        key, certificate = certified(AWAY)
        for name, content in {"key.pem": key, "cert.pem": certificate}.items():
            file = made.directory / name
            file.write_bytes(content)
            file.chmod(0o600)
            os.chown(file, (made.directory / "data").stat().st_uid, -1)

        async def switch_on() -> None:
            connection = await asyncpg.connect(f"{made.dsn()}&port={port}")
            await connection.execute(f"ALTER SYSTEM SET ssl_cert_file = '{made.directory / 'cert.pem'}'")
            await connection.execute(f"ALTER SYSTEM SET ssl_key_file = '{made.directory / 'key.pem'}'")
            await connection.execute("ALTER SYSTEM SET ssl = on")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.close()

        apart(switch_on())
        yield made


@pytest.fixture
def root(cluster: postgres.Cluster, tmp_path: Path) -> Path:
    file = tmp_path / "root.pem"
    file.write_bytes((cluster.directory / "cert.pem").read_bytes())
    return file


def is_encrypted() -> Script[bool]:
    return bool((yield query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))[0]["ssl"])


async def test_a_verified_server_is_used_encrypted(cluster, port, root):
    url = f"postgresql://{postgres.OWNER}@{AWAY}:{port}/postgres?sslmode=verify-full&sslrootcert={root}"
    engine = await open_engine(url)
    assert await engine.run(is_encrypted)
    assert await engine.read(is_encrypted)
    await engine.close()


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=require"])
async def test_what_is_not_verified_is_refused_by_every_way_in(port, mode):
    url = f"postgresql://{postgres.OWNER}@{AWAY}:{port}/postgres{mode}"
    for way in (open_engine, schema_of, make_current, assert_usable, db.upgrade, db.current):
        with pytest.raises(Unfit, match=r"CHOPMARK_DATABASE leads off this machine \(0\.0\.0\.0\).*verify-full"):
            await way(url)


async def test_a_certificate_of_another_ca_is_refused(port, tmp_path):
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(certified(AWAY)[1])
    with pytest.raises(Unfit, match=r"certificate of PostgreSQL does not hold.*sslrootcert"):
        await open_engine(
            f"postgresql://{postgres.OWNER}@{AWAY}:{port}/postgres?sslmode=verify-full&sslrootcert={stranger}"
        )


async def test_a_certificate_for_another_host_is_refused(port, root):
    with pytest.raises(Unfit, match=r"certificate of PostgreSQL does not hold"):
        await open_engine(
            f"postgresql://{postgres.OWNER}@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={root}"
        )


async def test_on_loopback_nothing_is_asked_for(port):
    engine = await open_engine(f"postgresql://{postgres.OWNER}@127.0.0.1:{port}/postgres?sslmode=disable")
    assert not await engine.run(is_encrypted)
    await engine.close()
