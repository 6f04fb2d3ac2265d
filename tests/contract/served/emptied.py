"""A machine with nothing of ours on it, for the operator's page: this machine's own system under layers that are
thrown away, with a network of its own, a second disk, a mail relay, and something that stands in for systemd.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.architecture.rules import REPOSITORY
from tests.contract.served.restored import Said
from tests.tls import certified

NAMES = ("counter.example.com", "pki.example.com")
LAYERED = ("/etc", "/opt", "/var", "/media", "/usr/local", "/srv", str(REPOSITORY))
LINE_LIMIT_S = 900
HERE = Path(__file__).parent


@dataclass
class Machine:
    """A place of its own for files, and another one for the network; what is typed is counted."""

    folder: Path
    files: "subprocess.Popen[str]"
    network: "subprocess.Popen[str] | None" = None
    typed: list[tuple[str, float]] = field(default_factory=list)
    """Each command, and how many seconds it took."""
    beside: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """Return a command of this machine: before `cut_off` it still reaches the world, to install packages."""
        entered = ["nsenter", f"--target={self.files.pid}", "--mount"]
        if self.network is not None:
            entered.append(f"--net=/proc/{self.network.pid}/ns/net")
        return [*entered, f"--wdns={REPOSITORY}", "--", *words]

    def cut_off(self) -> None:
        """Give the machine a network of its own, with nothing in it but itself."""
        self.network = _certificate(["unshare", "--net"])
        self.beside.append(self.network)
        self.sure("ip link set lo up")

    def type(self, block: str) -> list[Said]:
        """Type a block, command by command as a shell reads it, and count them; each has to succeed."""
        said = []
        for line in commands(block):
            begun = time.monotonic()
            said.append(self.sure(line))
            self.typed.append((line, time.monotonic() - begun))
        return said

    def sure(self, line: str) -> Said:
        """Run a line that has to succeed."""
        said = self.line(line)
        assert said.code == 0, f"{line}\n{said.text[-3000:]}"
        return said

    def line(self, line: str) -> Said:
        """Run a line."""
        done = subprocess.run(
            self.command("sh", "-c", f"make() {{ command make -o setup \"$@\"; }}\n{line}"),
            env=_plain(), capture_output=True, text=True, check=False, timeout=LINE_LIMIT_S,
        )  # fmt: skip
        return Said(done.returncode, done.stdout + done.stderr)

    def start(self, *words: str) -> None:
        """Run a program beside, until the machine is thrown away."""
        self.beside.append(subprocess.Popen(self.command(*words), env=_plain(), text=True))


def commands(block: str) -> list[str]:
    """Return the commands of a block: a loop is one."""
    found: list[str] = []
    for line in block.splitlines():
        inside = bool(found) and found[-1].count("do\n") > found[-1].count("\ndone")
        if inside:
            found[-1] += f"\n{line}"
        else:
            found.append(f"{line}\n" if line.endswith("do") else line)
    return [one.strip() for one in found]


def _plain() -> dict[str, str]:
    """The environment of a root shell; how packages are reached is this machine's own affair."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        **kept,
        "PATH": path,
        "LANG": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        "DEBIAN_FRONTEND": "noninteractive",
    }


def _certificate(how: list[str], script: str = "") -> "subprocess.Popen[str]":
    """Start a process that holds a namespace open, and wait until it is as it should be."""
    process = subprocess.Popen(
        [*how, "sh", "-ec", f"{script}\necho held\nexec sleep infinity"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line == "held\n":
            return process
        lines.append(line)
    raise RuntimeError("".join(lines))


@contextmanager
def emptied() -> Iterator[Machine]:
    """Give such a machine, with what the page says to have ready."""
    folder = Path(tempfile.mkdtemp(prefix="chopmark-walk-"))
    layers = [f"mount -t tmpfs tmpfs {folder}"]
    for number, path in enumerate(LAYERED):
        upper, work = folder / f"{number}u", folder / f"{number}w"
        layers.append(f"mkdir {upper} {work}")
        layers.append(f"mount -t overlay overlay -o lowerdir={path},upperdir={upper},workdir={work} {path}")
    layers += ["mount -t tmpfs tmpfs /run", "mkdir -p /run/postgresql /run/stand-in"]
    layers += ["chown postgres: /run/postgresql", "mkdir -p /srv/chopmark-journal"]
    layers += ["mount -t tmpfs tmpfs /srv/chopmark-journal", "mkdir -p /media/safe /etc/nginx/chopmark"]
    layers += ["rm -f /etc/nginx/conf.d/* /etc/nginx/sites-enabled/*"]
    layers += [f"echo 127.0.0.1 {' '.join(NAMES)} >> /etc/hosts"]
    layers += [f"install -m 755 {HERE / 'systemctl.py'} /usr/local/sbin/systemctl"]
    key, certificate = certified(*NAMES)
    made = folder.with_name(f"{folder.name}-files")
    made.mkdir(mode=0o755)
    (made / "counter.key").write_bytes(key)
    (made / "counter.crt").write_bytes(certificate)
    layers += [f"cp {made}/counter.* /etc/nginx/chopmark/"]
    layers += [f"cp {made}/counter.crt /usr/local/share/ca-certificates/counter.crt", "update-ca-certificates"]
    machine = Machine(made, _certificate(["unshare", "--mount", "--propagation", "private"], "\n".join(layers)))
    try:
        yield machine
    finally:
        machine.line("nginx -s quit; pg_ctlcluster 15 main stop --mode immediate")
        for unit in ("chopmark-serve.service", "chopmark-worker.service"):
            machine.line(f"test ! -e /run/stand-in/{unit} || systemctl stop {unit}")
        for process in (*reversed(machine.beside), machine.files):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        shutil.rmtree(made)
        folder.rmdir()
