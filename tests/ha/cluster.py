"""The recipe of deploy/ha brought to life: etcd, Patroni and PostgreSQL on three hosts, from the files as they are."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.site import free_port
from tests.architecture.rules import REPOSITORY
from tests.ha.hosts import ACCOUNT, Host, hosts
from tests.machine import missing, program
from tests.postgres import programs

RECIPE = REPOSITORY / "deploy" / "ha"
NAMES = ("db1", "db2", "db3")
START_LIMIT_S = 60
LOOK_S = 0.2
ANSWERS_WITHIN_S = 2
_STREAMING = """
SELECT COUNT(*) FILTER (WHERE state = 'streaming'), COUNT(*) FILTER (WHERE sync_state = 'sync')
FROM pg_stat_replication WHERE application_name LIKE 'db%' AND flush_lsn IS NOT NULL
"""
DISK = 1024 * 1024 * 1024
"""Octets of a host's disk, where it is a small one: log files of PostgreSQL and etcd alone take a quarter of it."""


def awaited(what: str, true: Callable[[], Any], limit_s: float = START_LIMIT_S) -> Any:
    """Return what `true` gives as soon as that is something; AssertionError after the limit."""
    ends = time.monotonic() + limit_s
    between = threading.Event()
    while time.monotonic() < ends:
        if found := true():
            return found
        between.wait(LOOK_S)
    raise AssertionError(f"{what}: not within {limit_s:.0f} s")


@dataclass(frozen=True)
class Cluster:
    """Three hosts, and where their files are."""

    members: Mapping[str, Host]
    folder: Path
    site: Path
    values: Mapping[str, str]

    def rendered(self, name: str) -> Path:
        """Return the folder with a host's own files, as `render.sh` writes them."""
        return self.folder / "rendered" / name

    def start(self, name: str) -> None:
        """Start a host's etcd and Patroni, as its boot would."""
        host, files = self.members[name], self.rendered(name)
        host.start([program("etcd"), "--config-file", files / "etcd.yml"], self.folder / f"{name}-etcd.log")
        host.start([program("patroni"), files / "patroni.yml"], self.folder / f"{name}-patroni.log")

    def says(self, name: str, path: str) -> Any:
        """Return what a member's Patroni answers; None when it does not."""
        address = f"https://{self.members[name].address}:{self.values['API_PORT']}{path}"
        context = ssl.create_default_context(cafile=str(self.folder / "certificates" / "ca.pem"))
        try:
            with urllib.request.urlopen(address, timeout=ANSWERS_WITHIN_S, context=context) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def roles(self, asked: str | None = None) -> dict[str, str]:
        """Return who is what, as one of the members sees it who answers: only those that run."""
        for name in (asked,) if asked else NAMES:
            seen = self.says(name, "/cluster")
            if seen:
                running = {"running", "streaming"}
                return {one["name"]: one["role"] for one in seen["members"] if one["state"] in running}
        return {}

    def leader(self) -> str | None:
        """Return who takes writes: the member whose own Patroni says so."""
        for name in NAMES:
            seen = self.says(name, "/primary")
            if seen and seen.get("role") in {"master", "primary"}:
                return name
        return None

    def whole(self) -> bool:
        """Tell whether all three are there: a leader to which two stream, one of them synchronously.

        The leader itself is asked: what a member last said of itself may be older than its fault.
        """
        leader = self.leader()
        if leader is None or sorted(self.roles(leader).values()) != ["leader", "replica", "sync_standby"]:
            return False
        return self.psql(leader, "-c", _STREAMING).stdout.strip() == "2|1"

    def address(self, account: str = "chopmark", database: str = "chopmark", only: str | None = None) -> str:
        """Return the database's address for a program on this machine: all three hosts, or one."""
        passwords = {"chopmark": "DATABASE_PASSWORD", "postgres": "SUPERUSER_PASSWORD"}
        names = (only,) if only else NAMES
        places = ",".join(f"{self.members[name].address}:{self.values['PG_PORT']}" for name in names)
        ca = self.folder / "certificates" / "ca.pem"
        attribute = "" if only else "target_session_attrs=primary&"
        word = self.values[passwords[account]]
        return f"postgresql://{account}:{word}@{places}/{database}?{attribute}sslmode=verify-full&sslrootcert={ca}"

    def psql(
        self, name: str, *arguments: str, database: str = "postgres", limit_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run psql on a host, at its own server, over its socket."""
        directory = self.folder / name / "run"
        port = self.values["PG_PORT"]
        call = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(directory), "-p", port]
        call[0] = str(programs() / "psql")
        return self.members[name].run([*call, "-d", database, *arguments], limit_s, PGCONNECT_TIMEOUT="5")

    def patronictl(self, *arguments: str) -> str:
        """Run patronictl as the operator does, on a host that is up; return what it says."""
        host = next(name for name in NAMES if self.says(name, "/patroni"))
        done = self.members[host].run([program("patronictl"), "-c", self.rendered(host) / "patroni.yml", *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def freeze(self, name: str) -> None:
        """Stop everything on a host, without its noticing."""
        self.members[name].tell(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it all go on as if nothing had been."""
        self.members[name].tell(signal.SIGCONT)

    def logs(self) -> str:
        """Return the last lines of what everybody wrote."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {file.name}\n" + file.read_text(errors="replace")[-1500:] for file in files)


@contextmanager
def running(small_disks: bool = False) -> Iterator[Cluster]:
    """Give the whole cluster with the counter's database in it; kill and remove it at the end."""
    for name in ("etcd", "patroni", "patronictl", "haproxy", "setpriv", "openssl"):
        program(name)
    with ExitStack() as stack:
        members = stack.enter_context(hosts(NAMES))
        # Not pytest's tmp_path: only root may enter that, and a socket's path is at most 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="chopmark-ha-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        cluster = _prepared(members, folder)
        for name in NAMES:
            if small_disks:
                stack.enter_context(_small_disk(folder / name))
            (folder / name / "run").mkdir()
            for made in (folder / name, folder / name / "run"):
                shutil.chown(made, ACCOUNT, ACCOUNT)
                made.chmod(0o700)
        for host in members.values():
            stack.callback(host.power_off)  # before the disks go: nothing may run on them any more
        try:
            for name in NAMES:
                cluster.start(name)
            awaited("three members", cluster.whole)
            leader = cluster.leader()
            assert leader is not None
            done = cluster.psql(leader, "-f", str(cluster.rendered(leader) / "database.sql"))
            assert done.returncode == 0, done.stderr
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{cluster.logs()}") from failure
        yield cluster


def _prepared(members: Mapping[str, Host], folder: Path) -> Cluster:
    """Write the site's file, and have the recipe's own scripts make everything from it."""
    network = next(iter(members.values())).address.rpartition(".")[0]
    values = {
        **{name.upper(): host.address for name, host in members.items()},
        "APP1": "127.0.0.1",
        "APP2": "127.0.0.1",
        "NETWORK": f"{network}.0/24",
        **{name: str(free_port()) for name in _PORTS},
        "DATA": f"{folder}/@NAME@",
        "CERTIFICATES": f"{folder}/certificates/@NAME@",
        "JOURNAL": f"{folder}/outside",
        "PROGRAMS": str(programs()),
        "SHARED_BUFFERS": "16MB",
        "WATCHDOG": "off",
        **{f"{who}_PASSWORD": os.urandom(12).hex() for who in _WHO},
    }
    asked = {line.partition("=")[0] for line in (RECIPE / "site.env").read_text().splitlines() if "=" in line[:30]}
    assert asked == set(values), asked ^ set(values)
    site = folder / "site.env"
    site.touch(mode=0o600)
    site.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    certificates = folder / "certificates"
    _sh("certificates.sh", str(site), str(certificates))
    certificates.chmod(0o755)
    (certificates / "ca.pem").chmod(0o644)
    for name in (*NAMES, "app1", "app2"):
        _sh("render.sh", str(site), name, str(folder / "rendered" / name))
        own = certificates / name
        own.mkdir()
        shutil.copy(certificates / "ca.pem", own)
        if name in NAMES:
            (folder / name).mkdir()
            shutil.move(certificates / f"{name}.pem", own / "host.pem")
            shutil.move(certificates / f"{name}.key", own / "host.key")
            for file in (*own.iterdir(), *(folder / "rendered" / name).iterdir()):
                shutil.chown(file, ACCOUNT, ACCOUNT)
                file.chmod(0o600)
            shutil.chown(folder / "rendered" / name, ACCOUNT, ACCOUNT)
        own.chmod(0o755)
    (folder / "rendered").chmod(0o755)
    return Cluster(members, folder, site, values)


_PORTS = ("PG_PORT", "API_PORT", "ETCD_PORT", "PEER_PORT", "APP1_PORT", "APP2_PORT", "PORTAL_PORT")
_WHO = ("SUPERUSER", "REPLICATION", "REWIND", "API", "DATABASE")


def _sh(script: str, *arguments: str) -> None:
    done = subprocess.run(
        ["sh", str(RECIPE / script), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    mount = [str(program("mount")), "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("The right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run([str(program("umount")), "-l", str(folder)], check=True)
