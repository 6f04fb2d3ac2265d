"""Hosts on one machine: a network namespace each, on a bridge of our own; what runs in one lives and dies together."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.machine import missing, program

ACCOUNT = "postgres"
ENDS_WITHIN_S = 30


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program("ip")), *arguments], capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Host:
    """One host: what it is called, its address, and the name of its namespace."""

    name: str
    address: str
    space: str
    wire: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, arguments: Sequence[str | Path], account: str = ACCOUNT) -> list[str]:
        """Return the command line that runs something on this host."""
        who = ["setpriv", "--reuid", account, "--regid", account, "--init-groups"] if account != "root" else []
        return ["ip", "netns", "exec", self.space, *who, *map(str, arguments)]

    def start(self, arguments: Sequence[str | Path], log: Path) -> None:
        """Start a program on this host; it lives until the host ends."""
        with log.open("ab") as out:
            command = self.command(arguments)
            kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
            self.started.append(
                subprocess.Popen(command, env=kept, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=log.parent)
            )

    def run(self, arguments: Sequence[str | Path], limit_s: float = 60, **how: str) -> subprocess.CompletedProcess[str]:
        """Run a program on this host to its end."""
        return subprocess.run(
            self.command(arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            env={**os.environ, **how},
            stdin=subprocess.DEVNULL,
        )

    def pids(self) -> list[int]:
        """Return what runs on this host."""
        return [int(pid) for pid in _ip("netns", "pids", self.space).stdout.split()]

    def tell(self, what: signal.Signals) -> None:
        """Send a signal to everything on this host, until nothing new appears meanwhile."""
        told: set[int] = set()
        while fresh := set(self.pids()) - told:
            for pid in fresh:
                with suppress(ProcessLookupError):
                    os.kill(pid, what)
            told |= fresh

    def power_off(self) -> None:
        """Kill everything on this host as a power cut would."""
        while self.pids():
            self.tell(signal.SIGKILL)
            for process in self.started:
                process.wait(ENDS_WITHIN_S)
        self.started.clear()

    def cut(self) -> None:
        """Take the network from this host: its processes run on."""
        _ip("link", "set", self.wire, "down")

    def join(self) -> None:
        """Give it the network again."""
        _ip("link", "set", self.wire, "up")


@contextmanager
def hosts(names: Sequence[str]) -> Iterator[Mapping[str, Host]]:
    """Give hosts on a bridge, reached from here too; all of them are gone afterwards, with what runs on them."""
    mark = secrets.token_hex(2)
    second, third = secrets.randbelow(200) + 20, secrets.randbelow(250)
    network = f"10.{second}.{third}"
    bridge = f"chop{mark}"
    if os.geteuid() != 0 or _ip("link", "add", bridge, "type", "bridge").returncode:
        missing("The right to make network namespaces")
    with ExitStack() as stack:
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made: dict[str, Host] = {}
        for number, name in enumerate(names):
            host = Host(name, f"{network}.{number + 11}", f"chop{mark}-{name}", f"chop{mark}{number}")
            stack.callback(_ip, "netns", "del", host.space)
            _made(host, bridge)
            stack.callback(host.power_off)
            made[name] = host
        yield made


def _made(host: Host, bridge: str) -> None:
    inside = ("-n", host.space)
    for arguments in (
        ("netns", "add", host.space),
        ("link", "add", host.wire, "type", "veth", "peer", "name", "eth0", "netns", host.space),
        ("link", "set", host.wire, "master", bridge),
        ("link", "set", host.wire, "up"),
        (*inside, "link", "set", "lo", "up"),
        (*inside, "addr", "add", f"{host.address}/24", "dev", "eth0"),
        (*inside, "link", "set", "eth0", "up"),
    ):
        done = _ip(*arguments)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr}")
