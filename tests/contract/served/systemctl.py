#!/usr/bin/python3
"""What stands in for systemd on a machine of the tests that has none: it does what a unit file says, as far as it can.

Accounts, environment, directory, umask, capabilities, no new privileges, a read-only system and memory that is never
made executable are as in the unit; system calls are not filtered. A service that ends is not started again.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run/stand-in")
MORE = RUN / "environment"
"""Lines of environment for all services: another time, for example."""
PR_SET_MDWE = 65
ENDS_WITHIN_S = 60


def settings_of(unit: str) -> dict[str, list[str]]:
    """Return the lines of a unit file, by name; a name may stand there more than once."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def start(unit: str) -> None:
    """Start a service; a timer is only looked at: its service exists."""
    if unit.endswith(".timer"):
        settings_of(unit.replace(".timer", ".service"))
        return
    if unit == "nginx.service":
        subprocess.run(["nginx"], check=True)
        return
    said = settings_of(unit)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    words = [word for line in said["Environment"] for word in shlex.split(line)]
    environment.update(word.partition("=")[::2] for word in words)
    (account,) = said["User"]
    assert said["CapabilityBoundingSet"] == [""]
    assert said["NoNewPrivileges"] == ["yes"]
    confined = ["setpriv", f"--reuid={account}", f"--regid={said['Group'][0]}", "--clear-groups", "--no-new-privs"]
    more = MORE.read_text().split() if MORE.exists() else []  # behind the account: what they make belongs to it
    confined += ["--bounding-set=-all", "env", *more, *shlex.split(said["ExecStart"][0])]
    writable = [*said["ReadWritePaths"], *(f"/var/lib/{name}" for name in said["StateDirectory"])]

    def prepare() -> None:
        os.umask(int(said["UMask"][0], 8))
        os.chdir(said["WorkingDirectory"][0])
        if said["MemoryDenyWriteExecute"] == ["yes"]:
            ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)

    read_only = " && ".join(
        [f"mount --bind {path} {path}" for path in writable]
        + [f"mount -o remount,bind,ro {path}" for path in ("/etc", "/opt", "/var", "/usr/local")]
        + ['exec "$@"']
    )
    log = Path("/var/log") / f"{unit}.log"
    before = log.read_text() if log.exists() else ""
    with log.open("a") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", read_only, "sh", *confined],
            env=environment, stdout=out, stderr=out, preexec_fn=prepare, start_new_session=True,  # noqa: PLW1509
        )  # fmt: skip
    (RUN / unit).write_text(str(process.pid))
    if "serve" in unit:
        limit = time.monotonic() + 120
        while "ready " not in log.read_text().removeprefix(before):
            if process.poll() is not None or time.monotonic() > limit:
                sys.exit(f"{unit} did not start:\n{log.read_text()}")
            time.sleep(0.1)


def stop(unit: str) -> None:
    """Stop a service, and wait for it."""
    pid = int((RUN / unit).read_text())
    os.kill(pid, signal.SIGTERM)
    limit = time.monotonic() + ENDS_WITHIN_S
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        if time.monotonic() > limit:
            sys.exit(f"{unit} does not end")
        time.sleep(0.1)
    (RUN / unit).unlink()


def main() -> None:
    """Do what the command line says."""
    RUN.mkdir(parents=True, exist_ok=True)
    verb, *units = [word for word in sys.argv[1:] if not word.startswith("--")]
    if verb == "daemon-reload":
        return
    for unit in units:
        if verb in {"enable", "start"}:
            start(unit)
        elif verb == "stop":
            stop(unit)
        elif verb == "restart":
            stop(unit)
            start(unit)
        elif verb == "reload" and unit == "nginx.service":
            running = Path("/run/nginx.pid").exists()
            subprocess.run(["nginx", "-s", "reload"] if running else ["nginx"], check=True)
        else:
            sys.exit(f"systemctl {verb} {unit}: not here")


main()
