"""The counter on two nodes over the cluster: two servers, two workers, HAProxy in front, a mail gateway."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.fill import fill, job_of
from bench.site import Site, ended, founded
from bench.template import played
from tests.ha.cluster import Cluster, awaited
from tests.machine import program

NODES = ("app1", "app2")


@dataclass
class Counter:
    """What runs: `ports` are the servers' own, `portal` is HAProxy's."""

    cluster: Cluster
    site: Site
    folder: Path
    customers: int
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def portal(self) -> int:
        """Where customers come in."""
        return int(self.cluster.values["PORTAL_PORT"])

    @property
    def ports(self) -> tuple[int, ...]:
        """Where the two servers listen."""
        return tuple(int(self.cluster.values[f"{node.upper()}_PORT"]) for node in NODES)

    def environment(self, node: str) -> dict[str, str]:
        """Return the environment of a node's processes: the recipe's settings file, and this installation's secrets."""
        ours = ("CHOPMARK_DATABASE", "CHOPMARK_PORT", "CHOPMARK_PROXY__IN_FRONT", "CHOPMARK_JOURNAL_DIR")
        kept = {name: value for name, value in self.site.environment().items() if name not in ours}
        settings = self.cluster.rendered(node) / "chopmark.toml"
        return {**kept, "CHOPMARK_CONFIG": str(settings), "CHOPMARK_DATA": str(self.folder / node)}

    def start(self, node: str) -> None:
        """Start a node's server and its worker; the server answers when this returns."""
        for what, arguments in (("server", ["serve", "--workers", "1"]), ("worker", ["worker"])):
            with (self.folder / f"{node}-{what}.log").open("a") as log:
                self.processes[f"{node} {what}"] = subprocess.Popen(
                    [sys.executable, "-m", "chopmark", *arguments],
                    env=self.environment(node),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    text=True,
                )
        port = int(self.cluster.values[f"{node.upper()}_PORT"])
        awaited(f"{node}'s server", lambda: answers(port))

    def start_haproxy(self) -> None:
        """Start HAProxy with the recipe's file."""
        call = [str(program("haproxy")), "-db", "-f", str(self.cluster.rendered("app1") / "haproxy.cfg")]
        with (self.folder / "haproxy.log").open("a") as log:
            self.processes["haproxy"] = subprocess.Popen(
                call, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
            )

    def stop(self) -> None:
        """End whatever runs."""
        for process in self.processes.values():
            ended(process)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an operator's command on the first node."""
        call = [sys.executable, "-m", "chopmark", *arguments]
        return subprocess.run(
            call, env=self.environment("app1"), capture_output=True, text=True, check=False, timeout=120
        )

    def logs(self) -> str:
        """Return all that servers and workers wrote."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))


def answers(port: int) -> bool:
    """Tell whether a server, or HAProxy for one, answers at a port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def opened(cluster: Cluster, customers: int) -> Iterator[Counter]:
    """Found an installation with customers who may renew now, and start it on two nodes."""
    with ExitStack() as stack:
        site = stack.enter_context(founded(cluster.address()))
        job = job_of(site.settings, asyncio.run(played(site.settings, datetime.now(UTC))))
        # The generator switches triggers off: that takes PostgreSQL's own account.
        fill(replace(job, database=cluster.address("postgres")), site.data, 1, customers + 1)
        folder = Path(tempfile.mkdtemp(prefix="chopmark-ha-nodes-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        counter = Counter(cluster, site, folder, customers)
        stack.callback(counter.stop)
        outside = Path(cluster.values["JOURNAL"])
        outside.mkdir()
        for file in site.settings.outside.glob("*.jsonl"):
            shutil.copy(file, outside)
        kept = shutil.ignore_patterns("codes", "*.log", "secrets", "*.jsonl")
        for node in NODES:
            shutil.copytree(site.data, folder / node, ignore=kept)
            counter.start(node)
        counter.start_haproxy()
        awaited("the portal", lambda: answers(counter.portal))
        yield counter
