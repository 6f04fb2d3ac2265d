"""The demo keeps away from production, its first start has nothing to complain of, and its page says where to go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chopmark.app.secrets import NotReady
from chopmark.app.settings import Settings
from chopmark.demo.history import is_demo_data, require_demo
from chopmark.store import db
from chopmark.store.engine.opening import open_engine
from chopmark.store.repositories.installation import Installation
from tests.journey.counter import free_port


def demo(data: Path, **given: object) -> Settings:
    return Settings.model_validate({"mode": "demo", "data": data, **given})


@pytest.mark.parametrize(
    ("given", "environment", "why"),
    [
        ({}, {"CHOPMARK_MODE": "production"}, "CHOPMARK_MODE"),
        ({"secrets_dir": Path("secrets")}, {}, "secrets"),
        ({"otp_key": "0" * 64}, {}, "secrets"),
        ({"public_url": "https://counter.example.com"}, {}, "https"),
        ({"hsm": {"module": "m", "token": "t", "pin": "1"}}, {}, "HSM"),
    ],
)
async def test_a_demo_takes_no_settings_of_a_production_installation(
    tmp_path: Path, given: dict[str, object], environment: dict[str, str], why: str
) -> None:
    data = tmp_path / "none"
    with pytest.raises(NotReady, match=why):
        await require_demo(demo(data, **given), environment)
    assert not data.exists()


async def test_a_demo_takes_an_empty_directory_or_its_own_and_no_other(tmp_path: Path) -> None:
    await require_demo(demo(tmp_path / "none"), {})
    (tmp_path / "empty").mkdir()
    await require_demo(demo(tmp_path / "empty"), {})
    for name in ("chopmark.sqlite", "heads.jsonl", "audit-head.key.pem", "secrets"):
        folder = tmp_path / f"with-{name}"
        (folder / name).mkdir(parents=True)
        with pytest.raises(NotReady, match="not a demo's directory"):
            await require_demo(demo(folder), {})
    (tmp_path / "own" / "demo").mkdir(parents=True)
    (tmp_path / "own" / "heads.jsonl").touch()
    await require_demo(demo(tmp_path / "own"), {})


async def test_a_demo_writes_into_no_database_that_is_not_its_own(tmp_path: Path, engine_url: str) -> None:
    settings = demo(tmp_path / "data", database=engine_url)
    await require_demo(settings, {})
    assert await db.current(engine_url) is None, "an empty one is left empty until it is known to be right"
    await db.upgrade(engine_url)
    with pytest.raises(NotReady, match="not a demo's database"):
        await require_demo(settings, {})
    engine = await open_engine(engine_url)
    await Installation(engine).remember("demo_begun", "2026-01-01")
    await engine.close()
    await require_demo(settings, {})


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
    command = [sys.executable, "-m", "chopmark", "demo", "--data", str(folder), *words]
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)


def test_the_command_refuses_production_data_and_reset_removes_none_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "secrets").mkdir(parents=True)
    (folder / "chopmark.sqlite").write_bytes(b"customers")
    for words in ((), ("--reset",)):
        made = run(folder, *words)
        assert made.returncode != 0
        assert "not a demo's directory" in made.stderr
    assert (folder / "chopmark.sqlite").read_bytes() == b"customers"
    assert sorted(path.name for path in folder.iterdir()) == ["chopmark.sqlite", "secrets"]


def test_the_first_start_prints_no_error_and_says_where_to_go(tmp_path: Path) -> None:
    """Watched until each of the worker's jobs has run: its hourly anchor is there."""
    folder, port = tmp_path / "demo", free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
    command = [sys.executable, "-m", "chopmark", "demo", "--data", str(folder), "--port", str(port)]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if line.startswith("ready "):
                    break
            process.send_signal(2)  # Ctrl-C: what has begun is finished, and each job is begun when the demo is ready
            process.wait(60)
        finally:
            process.kill()
            process.wait(20)
            process.stdout.close()
    url = f"http://localhost:{port}"
    assert f"open {url}/demo, or sign in at {url}/sign-in" in lines
    assert is_demo_data(folder)
    page = (folder / "demo" / "README.txt").read_text(encoding="utf-8")
    for place in ("/demo ", "/sign-in ", "/demo/inbox"):
        assert f"{url}{place}" in page.replace("\n", " \n")
    said = (tmp_path / "errors").read_text()
    assert [line for line in said.splitlines() if '"level": "error"' in line or "Traceback" in line] == []
