"""Small ends of the operator's day: secrets and addresses that are spelt wrong, logs, ready lines, exports."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chopmark.app.secrets import NotReady, key_of
from chopmark.app.settings import Settings, Smtp
from chopmark.cli import audit, ca
from chopmark.cli.console import settings_faults
from chopmark.core.refusal import Refused
from chopmark.core.types import AccountNumber, CustomerId, KeyHome, Operation, Secret
from chopmark.identity.password import hash_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.ra.enrolment import Enrolment
from tests.contract.test_commands import production
from tests.contract.world import ANN, CEO, World, world_fixture
from tests.journey.counter import free_port

world = world_fixture()
GOOD = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), "byte-order mark"),
        (GOOD.encode("utf-16"), "byte-order mark"),
        (b"\xff\xffx", "byte-order mark|no text"),
        (b"abc\xe9", "no text in UTF-8"),
        (GOOD[:32].encode() + b"\n" + GOOD[32:].encode() + b"\n", "more than one line"),
    ],
)
def test_a_secret_s_file_that_is_no_plain_line_is_named_and_never_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    (tmp_path / "otp_key").write_bytes(content)
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=said) as wrong:
        Settings()
    assert str(tmp_path / "otp_key") in str(wrong.value)
    assert GOOD[:16] not in str(wrong.value)


@pytest.mark.parametrize("content", [GOOD, GOOD + "\n", GOOD + "\r\n", GOOD.upper() + "\n"])
def test_a_line_end_at_the_end_is_no_part_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "otp_key").write_bytes(content.encode())
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    assert key_of(Settings(), "otp_key") == bytes.fromhex(GOOD)


@pytest.mark.parametrize("written", ["xyz", GOOD[:-1], GOOD + "00", GOOD[:-1] + "g", "0x" + GOOD])
def test_a_key_that_is_not_32_bytes_in_hexadecimal_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "audit_key").write_text(written)
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path))
    with pytest.raises(NotReady, match="32 bytes in hexadecimal") as wrong:
        key_of(Settings(), "audit_key")
    assert str(tmp_path / "audit_key") in str(wrong.value)
    assert written not in str(wrong.value).replace("64 digits", "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'\xef\xbb\xbfdata = "x"', "byte-order mark"),
        ('data = "x"'.encode("utf-16"), "byte-order mark"),
        ('data = "資料"'.encode("big5"), "no text in UTF-8"),
        (b"ca_passphrase = geheim", "no TOML, at line 1"),
        (b'ca_passphrase = "geheim', "no TOML, at"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_settings_that_cannot_be_read_is_named_and_never_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    path = tmp_path / "chopmark.toml"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("CHOPMARK_CONFIG", str(path))
    with pytest.raises(ValueError, match=said) as wrong:
        Settings()
    assert str(path) in str(wrong.value)
    assert "geheim" not in str(wrong.value)


def test_what_is_wrong_with_settings_is_told_by_their_names_and_without_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chopmark.toml"
    path.write_text('dta = "geheim"\nport = "geheim"\npublic_url = "https://x.example.com/"\n[smtp]\nhots = "geheim"\n')
    monkeypatch.setenv("CHOPMARK_CONFIG", str(path))
    with pytest.raises(ValueError, match="dta") as wrong:
        Settings()
    told = settings_faults(wrong.value)
    for part in ("dta: there is no such setting", "smtp.hots: there is no such setting", "port: "):
        assert part in told
    assert "geheim" not in told
    assert "pydantic" not in told


def test_only_variables_of_ours_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a process sets USER: it is no login name at the mail server."""
    for name in ("USER", "HOST", "PORT", "TLS", "PASSWORD", "SENDER", "REQUESTS", "CONNECTIONS"):
        monkeypatch.setenv(name, "1000")
    monkeypatch.setenv("CHOPMARK_SMTP__HOST", "127.0.0.1")
    settings = Settings()
    assert settings.smtp.model_dump() == {**Smtp().model_dump(), "host": "127.0.0.1"}
    assert (settings.smtp.user, settings.smtp.port, settings.limits.requests) == ("", 587, 64)


def test_a_directory_of_secrets_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPMARK_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="names no directory"):
        Settings()


@pytest.mark.parametrize("end", ["/counter", "/counter/x", "?a=b", "#x"])
@pytest.mark.parametrize(("name", "said"), [("public_url",) * 2, ("status_url",) * 2, ("est_url", r"est\.url")])
def test_an_address_with_a_path_is_refused(name: str, said: str, end: str) -> None:
    with pytest.raises(ValueError, match=f"{said} has a host name"):
        Settings.model_validate({"mode": "production", name: f"https://counter.example.com{end}"})


async def test_an_export_of_the_audit_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = production(tmp_path / "data")
    await ca.init_ca(settings)
    for path in (tmp_path / "new.jsonl", tmp_path / "old.jsonl"):
        if path.name == "old.jsonl":
            path.touch(mode=0o644)
        assert await audit.export_audit(settings, path) == 0
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_customer_number_that_looks_like_a_company_number_is_its_customer_s(world: World) -> None:
    """CEO's company number is another customer's own number: each signs in, the company by its own number."""
    company = "24680132"
    row = {
        "customer": company, "person_id": "A130000019", "name": "張試客戶", "birth_date": "1960-07-15",
        "mobile": "0912000001", "email": "", "accounts": "9A95-5000001", "verified_on": "2026-01-05",
    }  # fmt: skip
    assert (await world.services.ra.customer_import.add([row], "alice")).imported == 1
    for number in (company, CEO):
        phc = hash_password(Secret(f"pass-{number}-word"), world.dice.token(16))
        await world.services.identity.sessions.set_password(
            PasswordRow(CustomerId(number), phc, PasswordKind.DEMO, None), "alice"
        )
    door = world.services.identity.sessions
    for typed, number in ((company, company), (CEO, CEO), ("2468 0132", company), ("A130000019", company)):
        opened_session = await door.sign_in(typed, Secret(f"pass-{number}-word"), "203.0.113.9", None)
        assert opened_session.session.customer == number
    found = await world.services.identity.people.find(company)
    assert found is not None
    assert found.id == company


async def test_an_order_for_a_program_is_refused_where_there_is_no_door_for_programs(world: World) -> None:
    without = Enrolment(world.services.ra.context, programs=False)
    asked = (world.caller(ANN), Operation.ENROL, AccountNumber("F014000-0000001"))
    with pytest.raises(Refused) as refused:
        await without.start(*asked, KeyHome.HELPER)
    assert (refused.value.refusal.code, refused.value.refusal.field) == ("no_programs", "key_home")
    assert await world.count("orders") == 0
    assert (await without.start(*asked, KeyHome.FILE)).order.key_home is KeyHome.FILE


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_says_when_it_answers_however_many_processes_it_has(tmp_path: Path, workers: int) -> None:
    settings = production(tmp_path / "data")
    asyncio.run(ca.init_ca(settings))
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    for name in ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase"):
        (secrets / name).write_text(getattr(settings, name).get_secret_value())
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
    environment = {
        **kept,
        "CHOPMARK_DATA": str(settings.data),
        "CHOPMARK_SECRETS_DIR": str(secrets),
        "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
        "CHOPMARK_PROXY__IN_FRONT": "no",
        "CHOPMARK_CLOCK_KEPT_BY": "host",
        "CHOPMARK_PORT": str(port),
    }
    command = [sys.executable, "-m", "chopmark", "serve", "--workers", str(workers)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert server.stdout is not None
    try:
        ready = [server.stdout.readline() for _ in range(workers)]
        assert ready == ["ready https://counter.example.com\n"] * workers, (tmp_path / "log").read_text()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        server.stdout.close()


def test_the_log_is_on_stderr_as_the_page_says() -> None:
    code = (
        "from chopmark.app.logs import configure_logging; configure_logging();"
        "import structlog; structlog.get_logger().error('job failed', job='x')"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ('"event": "job failed"' in made.stderr, made.stdout) == (True, "")
