"""The commands of docs/ca.en.md do what the page says, in the order of the page, on an installation of their own."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from tests.unit.messaging.test_smtp import Keeping, listening

REPOSITORY = Path(__file__).parents[2]
SECRETS = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key")
SHARED = "mkdir -m 700 alice bob\nchopmark ca share alice/share.txt\nchopmark ca share bob/share.txt\n"


def sections(language: str) -> list[str]:
    """The commands of each section."""
    page = (REPOSITORY / "docs" / f"ca.{language}.md").read_text(encoding="utf-8")
    return [
        "".join(re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)) for part in page.split("\n## ")[1:]
    ]


@pytest.fixture
def installation(tmp_path: Path, other_disk: Path) -> Path:
    """An empty installation in production, with its secrets but for the CA's; heads and journal on another disk."""
    (tmp_path / "outside").symlink_to(other_disk)
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in SECRETS:
        (tmp_path / "secrets" / name).touch(mode=0o600)
        (tmp_path / "secrets" / name).write_text(os.urandom(32).hex())
    return tmp_path


def follow(folder: Path, commands: str) -> str:
    """Run the commands as an operator in this folder, with a mail server at hand; the first that fails ends it."""

    async def at_hand() -> str:
        async with listening(lambda: SMTP(Keeping())) as port:
            return await asyncio.to_thread(_follow, folder, commands, port)

    return asyncio.run(at_hand())


def _follow(folder: Path, commands: str, mail_port: int) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")},
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}",
        "CHOPMARK_DATA": str(folder / "data"),
        "CHOPMARK_JOURNAL_DIR": str(folder / "outside"),
        "CHOPMARK_SECRETS_DIR": str(folder / "secrets"),
        "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
        "CHOPMARK_PROXY__IN_FRONT": "no",
        "CHOPMARK_CLOCK_KEPT_BY": "host",
        "CHOPMARK_STATUS_URL": "http://pki.example.com",
        "CHOPMARK_SMTP__HOST": "127.0.0.1",
        "CHOPMARK_SMTP__PORT": str(mail_port),
        "CHOPMARK_SMTP__TLS": "none",
        "CHOPMARK_BRAND": str(REPOSITORY / "deploy" / "brand.toml"),
    }
    program = [sys.executable, "-m", "tests.contract.operator_shell"]
    made = subprocess.run(
        program, input=commands, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def test_both_languages_give_the_same_commands() -> None:
    assert sections("en") == sections("zh-TW")


def test_the_ceremony_goes_as_the_page_says(installation: Path) -> None:
    ceremony, *_ = sections("en")
    said = follow(installation, ceremony)
    assert "The CA investor issues from now on" in said
    assert "NOT READY" not in said


@pytest.mark.soak
def test_ceremony_rollover_list_and_compromise_go_as_the_page_says(installation: Path) -> None:
    ceremony, _, rollover, root_list, compromise = sections("en")
    said = follow(installation, ceremony + rollover + root_list + compromise)
    for sentence in (
        "The CA investor issues from now on",
        "This ceremony is over",
        "The CA investor-2 issues from now on",
        "The CA investor-3 issues from now on",
        "of root is in force until",
    ):
        assert sentence in said
    assert "NOT READY" not in said


@pytest.mark.soak
def test_a_root_on_another_machine_goes_as_the_page_says(installation: Path) -> None:
    _, elsewhere, *_ = sections("en")
    said = follow(installation, SHARED + elsewhere)
    assert "Carry issuing.csr.pem" in said
    assert "The CA investor issues from now on" in said
