"""What looks like a setting and is none is said by `chopmark check` and at the start, and never with its value."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from chopmark.app.settings import Est, Settings
from chopmark.cli.processes import started
from chopmark.cli.settings_faults import ignored

GATEWAY = '[[gateway]]\nname = "one"\nkind = "mitake"\nuser = "u"\nsecrets = { password = "mitake" }\n'
FORMER = '[[former_issuer]]\nid = "old"\nrevoke = "cfssl"\nca = { url = "http://127.0.0.1:1", secret = "old-ca" }\n'
READ = ("otp_key", "public_url", "smtp.password", "pkcs11_pin", "mitake", "old-ca", "est.key.pem", ".otp_key.swp")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    (made / "..data").mkdir(parents=True)
    for name in READ:
        (made / name).write_text("271828")
    return made


def listed(folder: Path, content: str) -> Path:
    made = folder / f"{len(content)}.toml"
    made.write_text(content)
    return made


def test_a_secret_s_file_that_nothing_reads_is_named_and_one_that_a_setting_or_a_list_names_is_not(
    secrets: Path, tmp_path: Path
) -> None:
    settings = Settings(
        secrets_dir=secrets,
        est=Est(certificate=tmp_path / "est.pem", key=secrets / "est.key.pem"),
        gateways=listed(tmp_path, GATEWAY),
        former_issuers=listed(tmp_path, FORMER),
    )
    assert ignored(settings) == []
    (secrets / "smpt.password").write_text("314159")
    (said,) = ignored(settings)
    assert str(secrets / "smpt.password") in said
    assert "314159" not in said


def test_without_its_list_a_gateway_s_secret_is_read_by_nobody(secrets: Path, tmp_path: Path) -> None:
    said = ignored(
        Settings(
            secrets_dir=secrets,
            est=Est(certificate=tmp_path / "est.pem", key=secrets / "est.key.pem"),
            former_issuers=listed(tmp_path, FORMER),
        )
    )
    assert [str(secrets / "mitake") in one for one in said] == [True]


@pytest.fixture
def logging_of_others() -> Iterator[None]:
    """A process configures its logging once and for all; the tests after this one get back what was there before."""
    before, handlers = structlog.get_config(), [*logging.root.handlers]
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


@pytest.mark.usefixtures("logging_of_others")
def test_a_process_that_starts_logs_what_it_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHOPMARK_PLOICY", "strict")
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    (tmp_path / "audit_kye").write_text("271828")
    started()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["code"] for line in lines] == ["settings.ignored"] * 2
    assert ["CHOPMARK_PLOICY" in lines[0]["message"], "audit_kye" in lines[1]["message"]] == [True, True]
    assert "271828" not in str(lines)
