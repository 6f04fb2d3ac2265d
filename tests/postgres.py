"""A PostgreSQL of the tests' own: a new cluster in a temporary directory, on a Unix socket, gone afterwards.

Durability is PostgreSQL's default (fsync on): what a test kills and finds again was really committed.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from tests.machine import MEMORY, missing

OWNER = "chopmark"  # the superuser inside the cluster
START_LIMIT_S = 60
POLL_S = 0.05
STANDING = "TESTING_CHOPMARK_CLUSTER"
"""Names the directory of a cluster that runs already: tools/mutants starts one for all its processes."""
TEMPLATES = "TESTING_CHOPMARK_TEMPLATES"
"""Names a folder with installations that are founded already (tests/contract/world.py)."""
ALONE = "alone"
"""A file among them: it names a database with our tables and nothing else, to be copied."""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running PostgreSQL; every database in it starts empty (or as a copy of a template)."""

    programs: Path
    directory: Path

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database, as asyncpg and SQLAlchemy's asyncpg dialect read it."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}"

    async def fresh_database(self, template: str | None = None) -> str:
        """Make a database that nobody else uses, and return its dsn.

        `template` is the dsn of a database to copy (schema and rows); nobody may be connected to it then. In memory its
        files are copied, which takes a third of the work; on a disk each of them would have to be written through.
        """
        name = f"t{os.getpid()}_{next(_numbers)}"
        source = name_in(template) if template else "template0"
        how = "FILE_COPY" if self.directory.is_relative_to(MEMORY) else "WAL_LOG"
        connection = await asyncpg.connect(self.dsn())
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY {how}')
        finally:
            await connection.close()
        return self.dsn(name)

    async def drop(self, dsn: str) -> None:
        """Remove a database, whoever is still connected."""
        connection = await asyncpg.connect(self.dsn())
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name_in(dsn)}" WITH (FORCE)')
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Started(Cluster):
    """A cluster that this process has started."""

    process: subprocess.Popen[bytes] = field(repr=False)


def name_in(dsn: str) -> str:
    """The database's name in a dsn of `Cluster.dsn`."""
    return dsn.partition("@/")[2].partition("?")[0]


def programs() -> Path:
    """The directory of the newest PostgreSQL server on this machine."""
    versions = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda p: int(p.parent.name))
    found = shutil.which("initdb")
    if found is None:
        missing("PostgreSQL")
    return Path(found).parent


@contextmanager
def running(settings: Sequence[str] = ()) -> Iterator[Started]:
    """Start a cluster, with further settings (`name=value`); stop and remove it at the end."""
    bin_ = programs()
    # Not pytest's tmp_path: only root may enter that, and a socket's path is at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="chopmark-pg-"))
    try:
        account = server_account(directory)
        data = directory / "data"
        initdb: list[str | Path] = [
            bin_ / "initdb",
            "-D",
            data,
            "-U",
            OWNER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        ]
        subprocess.run(initdb, user=account, group=account, cwd=directory, check=True, capture_output=True)
        with _serving(bin_, directory, account, settings) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory)


@contextmanager
def following(primary: Cluster) -> Iterator[Started]:
    """Start a standby of a cluster, with a socket of its own; stop and remove it at the end."""
    bin_ = primary.programs
    directory = Path(tempfile.mkdtemp(prefix="chopmark-pg-"))
    try:
        account = server_account(directory)
        copy: list[str | Path] = [
            *(bin_ / "pg_basebackup", "-D", directory / "data", "-h", primary.directory, "-U", OWNER),
            *("-R", "-c", "fast"),
        ]
        subprocess.run(copy, user=account, group=account, cwd=directory, check=True, capture_output=True)
        with _serving(bin_, directory, account) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory)


@contextmanager
def _serving(bin_: Path, directory: Path, account: str | None, settings: Sequence[str] = ()) -> Iterator[Started]:
    server: list[str | Path] = [
        *(bin_ / "postgres", "-D", directory / "data", "-k", directory),
        *("-c", "listen_addresses=", "-c", "max_connections=200"),
        *(part for setting in settings for part in ("-c", setting)),
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            server, user=account, group=account, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        port = next((setting.partition("=")[2] for setting in settings if setting.startswith("port=")), "5432")
        await_answer(bin_, directory, process, port)
        yield Started(bin_, directory, process)
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
        process.wait()


@contextmanager
def shared() -> Iterator[Cluster]:
    """Use the cluster that stands ready; start one where none does."""
    standing = os.environ.get(STANDING)
    if standing is not None:
        yield Cluster(programs(), Path(standing))
        return
    with running() as cluster:
        yield cluster


def server_account(directory: Path) -> str | None:
    """Whose processes they are: PostgreSQL refuses root, so root starts it as `postgres`."""
    if os.geteuid() != 0:
        return None
    try:
        owner = pwd.getpwnam("postgres")
    except KeyError:
        missing("The system account postgres")
    os.chown(directory, owner.pw_uid, owner.pw_gid)
    directory.chmod(0o755)
    return "postgres"


def await_answer(bin_: Path, directory: Path, process: subprocess.Popen[bytes], port: str = "5432") -> None:
    question: list[str | Path] = [bin_ / "pg_isready", "-q", "-h", directory, "-p", port, "-U", OWNER]
    for _ in range(int(START_LIMIT_S / POLL_S)):
        if subprocess.run(question, check=False).returncode == 0:
            return
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError("PostgreSQL did not start:\n" + (directory / "log").read_text(errors="replace"))
