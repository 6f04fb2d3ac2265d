"""The import contracts of pyproject.toml find what they are there for, in a package made of faults."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.architecture.rules import REPOSITORY

SOUND = {"__init__.py": "", "core/types.py": "", "app/settings.py": "", "ca/sign.py": "", "limits/rate_limits.py": ""}

FAULTS = {
    "Imports go down only": {"ra/rekey.py": "import chopmark.web.app", "web/app.py": ""},
    "The application is built from the foundation upwards": {
        "app/foundation.py": "import chopmark.app.services", "app/services.py": "",
    },
    "Inside the command line, too, imports go down only": {
        "cli/console.py": "import chopmark.cli.check", "cli/check.py": "",
    },
    "In the store, repositories stand on the engine; neither engine nor tables know who uses them": {
        "store/engine/port.py": "import chopmark.store.repositories.orders", "store/repositories/orders.py": "",
    },
    "The client knows only pki, tw and the vocabulary": {"client/sdk.py": "import chopmark.ra.rekey"},
    "In the web, interfaces stand on pages and on what every request needs, and never on each other": {
        "web/portal/pages.py": "import chopmark.web.api.orders", "web/api/orders.py": "",
    },
    "Interfaces and jobs reach the CA and the rate limits only through ra": {
        "jobs/poll.py": "import chopmark.ca.sign", "web/est/service.py": "import chopmark.limits.rate_limits",
    },
    "What decides is pure: no I/O, no clock, no randomness": {
        "tw/roc.py": "import time", "pki/csr.py": "", "ra/policy.py": "import secrets",
    },
    "Database drivers live in the store's engine": {
        "store/db.py": "import asyncpg", "store/engine/sqlite.py": "import sqlite3",
    },
    "SQLAlchemy and alembic live in the store's tables and migrations, which its other parts never import": {
        "store/repositories/journal.py": "import sqlalchemy", "store/schema/ra.py": "import sqlalchemy",
    },
    "The framework lives in web": {"va/status.py": "from litestar import get", "web/state.py": "import litestar"},
    "Templates are rendered in the web's pages": {
        "web/session.py": "import jinja2", "web/pages/render.py": "import jinja2",
    },
    "The server program is driven from app": {"cli/processes.py": "import uvicorn", "app/server.py": "import uvicorn"},
    "Network clients live in the adapters of messaging, ca, identity and va, and in the client": {
        "jobs/fetch.py": "import httpx2", "messaging/smtp.py": "import aiosmtplib",
    },
    "PKCS#11 lives in keys": {"ca/hsm.py": "import pkcs11"},
    "pkilint lives in ca": {"va/lint.py": "import pkilint", "ca/lint.py": "import pkilint"},
}  # fmt: skip


def verdicts(package: Path) -> dict[str, str]:
    """contract -> KEPT or BROKEN, for the package `chopmark` under `package`."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache", "--config", REPOSITORY / "pyproject.toml"],
        cwd=package, env={"PYTHONPATH": str(package), "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.findall(r"^(.+) (KEPT|BROKEN)(?: \(\d+ ignored imports?\))?$", result.stdout, re.MULTILINE)
    return dict(found) or {"error": result.stdout + result.stderr}


def write(package: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = package / "chopmark" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source + "\n", encoding="utf-8")


def test_every_contract_is_broken_by_its_fault(tmp_path: Path) -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {c["name"] for c in contracts} == set(FAULTS)
    write(tmp_path, SOUND)
    for files in FAULTS.values():
        write(tmp_path, files)
    assert verdicts(tmp_path) == dict.fromkeys([c["name"] for c in contracts], "BROKEN")


def test_a_package_without_faults_keeps_every_contract(tmp_path: Path) -> None:
    write(tmp_path, SOUND)
    for files in FAULTS.values():
        write(tmp_path, dict.fromkeys(files, ""))
    assert set(verdicts(tmp_path).values()) == {"KEPT"}
