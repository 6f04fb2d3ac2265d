"""What requirements-production.lock leaves out is not needed by commands, check and the server's application."""

import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.rules import REPOSITORY

LOCK = REPOSITORY / "requirements-production.lock"
LEFT_OUT = {"faker", "polyfactory", "rich-click", "httpx", "hatchling"}
PROGRAM = """
import asyncio, sys
from importlib.metadata import packages_distributions
from pathlib import Path

allowed = set(sys.argv[2].split(",")) | {"chopmark"}

def plain(name):
    return name.lower().replace("_", "-").replace(".", "-")

owners = {module: {plain(one) for one in dists} for module, dists in packages_distributions().items()}

class OnlyTheLock:
    def find_spec(self, name, path=None, target=None):
        owned = owners.get(name.partition(".")[0])
        if owned and not owned & allowed:
            raise ModuleNotFoundError(f"{name} is not in the lock", name=name)

sys.meta_path.insert(0, OnlyTheLock())

try:
    import faker
except ModuleNotFoundError:
    pass
else:
    sys.exit("nothing is kept away")

from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import found_ca
from chopmark.app.server import production
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.cli import operating
from chopmark.cli.command_line import app
from chopmark.store import db
from chopmark.web.app import create

async def main():
    Path(sys.argv[1]).mkdir()
    settings, clock, entropy = Settings(mode="demo", data=Path(sys.argv[1])), SystemClock(), SystemEntropy()
    await db.upgrade(settings.database_url)
    await found_ca(settings, clock, entropy)
    assert await operating.check(settings) == 1
    house = await build(settings, clock, entropy)
    assert create(web_services(house)).portal.openapi_schema.to_schema()["paths"]
    await house.close()

app(["--help"], result_action="return_value")
production()
asyncio.run(main())
print("done", *sorted(name for name in ("faker", "polyfactory", "rich_click", "httpx") if name in sys.modules))
"""


def named(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE))


def test_production_has_what_runs_and_nothing_else() -> None:
    everything, production = named(REPOSITORY / "requirements.lock"), named(LOCK)
    assert production < everything
    assert everything - production >= LEFT_OUT
    assert not production & LEFT_OUT
    assert {"litestar", "httpx2", "asyncpg", "cryptography", "uvicorn"} <= production


def test_commands_check_and_server_need_nothing_that_the_lock_leaves_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), ",".join(named(LOCK))],
        capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Usage: chopmark" in done.stdout
    assert done.stdout.splitlines()[-1] == "done"
