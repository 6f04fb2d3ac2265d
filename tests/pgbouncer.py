"""A pgbouncer of the tests' own before a cluster of the tests' own, on a Unix socket, gone afterwards."""

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests import postgres
from tests.machine import missing

PORT = 6432
START_LIMIT_S = 20
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Pooler:
    """A running pgbouncer; it lends sessions of every database of its cluster."""

    directory: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def dsn(self, direct: str, user: str = postgres.OWNER) -> str:
        """The address through the pooler of a database by its direct address."""
        return f"postgresql://{user}@/{postgres.name_in(direct)}?host={self.directory}&port={PORT}"


@contextmanager
def pooling(cluster: postgres.Cluster, mode: str, **settings: object) -> Iterator[Pooler]:
    """Start a pgbouncer in this mode, with further settings; stop and remove it at the end."""
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if found is None:
        missing("The program pgbouncer")
    directory = Path(tempfile.mkdtemp(prefix="chopmark-pgb-"))  # as the cluster's: whom it runs as can enter it
    try:
        account = postgres.server_account(directory)
        users = directory / "users.txt"
        users.write_text(f'"{postgres.OWNER}" ""\n')
        given = {
            "unix_socket_dir": directory,
            "listen_port": PORT,
            "auth_type": "trust",
            "auth_file": users,
            "pool_mode": mode,
            "max_client_conn": 200,
        } | settings
        lines = ["[databases]", f"* = host={cluster.directory}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in given.items()]
        config = directory / "pgbouncer.ini"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [found, config], user=account, group=account, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _await_socket(directory, process)
            yield Pooler(directory, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    finally:
        shutil.rmtree(directory)


def _await_socket(directory: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(int(START_LIMIT_S / POLL_S)):
        with socket.socket(socket.AF_UNIX) as asking, suppress(FileNotFoundError, ConnectionRefusedError):
            asking.connect(str(directory / f".s.PGSQL.{PORT}"))
            return
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError("pgbouncer did not start:\n" + (directory / "log").read_text(errors="replace"))
