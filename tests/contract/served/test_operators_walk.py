"""The operator's page, walked as it is written: from a machine with nothing of ours on it to a customer's renewal."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.architecture.rules import REPOSITORY
from tests.contract.served.emptied import Machine, commands, emptied
from tests.contract.served.restored import PAGES
from tests.contract.served.serving import faketime
from tests.machine import program

CHAPTERS = {"en": "From an empty machine", "zh-TW": "從空機器開始"}
UNITS = sorted((REPOSITORY / "deploy" / "systemd").glob("*.*"))
MOST_EXPOSED = 2.0
"""Of `systemd-analyze security`: 10 is a service that may do everything."""
MONTHS_LATER = "+340d"
STEPS = 11


def blocks(language: str) -> list[str]:
    """Return the blocks of commands of the chapter, without the indentation of their list."""
    parts = PAGES[language].read_text(encoding="utf-8").split("\n## ")
    (part,) = (part for part in parts if part.startswith(f"{CHAPTERS[language]}\n"))
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", part, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def test_both_languages_have_the_same_commands() -> None:
    assert len(blocks("en")) == STEPS
    assert blocks("en") == blocks("zh-TW")


def test_the_page_says_how_many_commands_there_are() -> None:
    count = sum(len(commands(block)) for block in blocks("en"))
    for language, said in (("en", f"{count} commands"), ("zh-TW", f"{count} 道命令")):
        assert said in PAGES[language].read_text(encoding="utf-8")


def test_every_file_that_is_typed_is_there() -> None:
    named = {name for block in blocks("en") for name in re.findall(r"(?:deploy/\S+|requirements\S+)", block)}
    assert len(named) > 5
    for name in named:
        assert list(REPOSITORY.glob(name)), name


def test_what_verifies_the_installation_runs_by_timers_that_the_page_switches_on() -> None:
    run = {}
    for timer in (unit for unit in UNITS if unit.suffix == ".timer"):
        assert timer.name in "".join(blocks("en"))
        said = timer.with_suffix(".service").read_text(encoding="utf-8")
        (run[timer.stem],) = re.findall(
            r"^ExecStart=\S+ (.*)$", said, re.MULTILINE
        )  # a second would wait for the first
    assert run == {"chopmark-verify": "audit verify", "chopmark-check": "check certificates"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_takes_each_unit_and_calls_each_service_confined(unit: Path, tmp_path: Path) -> None:
    if not unit.suffix:
        return
    analyze = str(program("systemd-analyze"))
    text = unit.read_text(encoding="utf-8").replace("/opt/chopmark/bin/chopmark", "/bin/true")
    (tmp_path / unit.name).write_text(text)
    if unit.suffix == ".timer":
        (tmp_path / f"{unit.stem}.service").write_text(
            unit.with_suffix(".service").read_text().replace("/opt/chopmark/bin/chopmark", "/bin/true")
        )
    verified = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    if unit.suffix == ".service":
        judged = subprocess.run(
            [analyze, "security", "--offline=true", str(tmp_path / unit.name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = re.search(r"Overall exposure level .*: ([0-9.]+) ", judged.stdout)
        assert found is not None, judged.stdout + judged.stderr
        assert float(found[1]) <= MOST_EXPOSED


def sheet() -> str:
    """Return the page's own sheet."""
    (found,) = re.findall(r"^```csv\n(.*?)^```", PAGES["en"].read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def customer(machine: Machine, *words: str) -> str:
    """Let the customer act; return the serial number of the certificate that works now."""
    done = subprocess.run(
        machine.command(sys.executable, "-m", "tests.contract.served.walker", str(machine.folder), *words),
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    logs = machine.line("tail -n 20 /var/log/chopmark-*.log").text
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return done.stdout.strip()


def start_what_is_there(machine: Machine) -> None:
    """Start what a Debian machine starts by itself after its packages, and the mail relay that the page asks for."""
    machine.cut_off()
    machine.sure("pg_ctlcluster 15 main start")
    machine.sure("nginx")
    relay = [sys.executable, "-m", "aiosmtpd", "-n", "-u", "-l", "127.0.0.1:25"]
    machine.start(*relay, "-c", "aiosmtpd.handlers.Mailbox", str(machine.folder / "mail"))


@pytest.mark.soak
def test_the_page_is_walked_from_an_empty_machine_to_a_renewal() -> None:
    packages, wheel, *others = blocks("en")
    with emptied() as machine:
        begun = time.monotonic()
        machine.type(packages)
        machine.type(wheel)
        start_what_is_there(machine)
        said = []
        for number, block in enumerate(others, 3):
            if number == 8:  # a machine of the tests has no NTP client of its own; the page's sample has the line
                machine.sure("sed -i 's/^# clock_kept_by/clock_kept_by/' /etc/chopmark/chopmark.toml")
            if number == 11:
                (machine.folder / "customers.csv").write_text(sheet(), encoding="utf-8")
                machine.sure(f"cp {machine.folder}/customers.csv customers.csv")
            said += machine.type(block)
        minutes = (time.monotonic() - begun) / 60
        text = "".join(one.text for one in said)
        assert "NOT READY" not in text
        password, secret = (re.findall(rf"^{name}  (\S+)$", text, re.MULTILINE)[-1] for name in ("password", "secret"))
        first = customer(machine, "apply", "C20001", password)
        assert f"{first}" in machine.sure("chopmark customers show C20001").text
        machine.sure(
            f"echo LD_PRELOAD={faketime()} FAKETIME={MONTHS_LATER} FAKETIME_DONT_FAKE_MONOTONIC=1 "
            "> /run/stand-in/environment"
        )
        machine.sure("systemctl restart chopmark-serve.service chopmark-worker.service")
        second = customer(machine, "renew", "trading-desk", secret)
        assert second != first
        shown = machine.sure("chopmark customers show C20001").text
        assert first in shown
        assert second in shown
        machine.sure("chopmark audit verify")
        print(f"{len(machine.typed)} commands, {minutes:.1f} minutes")
        for line, seconds in sorted(machine.typed, key=lambda one: -one[1])[:8]:
            print(f"{seconds:6.1f} s  {line.splitlines()[0][:90]}")
