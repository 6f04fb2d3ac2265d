"""A hundred thousand certificates of an old CA are imported in constant memory, though the process is killed twice.

CHOPMARK_IMPORT_CERTIFICATES says how many; CHOPMARK_SOAK_TOLD names a file for what was measured.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.script import Script, query
from tests.postgres import Cluster
from tests.soak.certificates import OldCa, since
from tests.soak.test_million import person_id, sheet

MANY = int(os.environ.get("CHOPMARK_IMPORT_CERTIFICATES", "100000"))
BASE_MIB, EACH_BYTES = 160, 80
"""The program with its libraries, and what the report keeps of each certificate (29 bytes), grown by doubling."""
LIST = """
[[former_issuer]]
id = "old"
name_zh = "舊"
name_en = "Old"
certificates = ["ca.pem"]
subject_templates = ["CN=TW{person_id}*, OU=RA-Soak"]
status = "none"
reason = "A test of the import."
"""


async def marks(url: str) -> list[tuple[str, int]]:
    """State and mark of the runs."""

    def script() -> Script[list[tuple[str, int]]]:
        rows = yield query("SELECT state, done FROM certificate_imports ORDER BY created_at")
        return [(row["state"], row["done"]) for row in rows]

    engine = await open_engine(url)
    try:
        return await engine.read(script)
    finally:
        await engine.close()


async def imported(url: str) -> int:
    """How many imported certificates count."""

    def script() -> Script[int]:
        rows = yield query(
            "SELECT COUNT(*) AS n FROM imported_certificates i JOIN certificate_imports r ON r.run = i.run "
            "WHERE r.state = 'live'"
        )
        return int(rows[0]["n"])

    engine = await open_engine(url)
    try:
        return await engine.read(script)
    finally:
        await engine.close()


class Operator:
    """Types commands with the settings of one installation."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        names = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase")
        self._environment = {
            **os.environ,
            **{f"CHOPMARK_{name.upper()}": os.urandom(32).hex() for name in names},
            "CHOPMARK_PUBLIC_URL": "https://a.example.com",
            "CHOPMARK_STATUS_URL": "http://a.example.com",
            "CHOPMARK_DATA": str(folder / "data"),
            "CHOPMARK_DATABASE": url,
            "CHOPMARK_FORMER_ISSUERS": str(folder / "former.toml"),
        }

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Begin a command; what it says goes to a file."""
        command = [sys.executable, "-m", "chopmark", *words]
        with (self._folder / "said").open("wb") as said:
            return subprocess.Popen(command, env=self._environment, stdout=said, stderr=subprocess.STDOUT)

    def run(self, *words: str) -> tuple[str, int]:
        """Return what a command said, and the most memory that it had, in MiB."""
        begun = time.monotonic()
        process = self.start(*words)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said, most = (self._folder / "said").read_text(encoding="utf-8"), used.ru_maxrss // 1024
        assert process.returncode == 0, said
        tell(f"{' '.join(words[:2])}: {time.monotonic() - begun:.0f} s, {most} MiB")
        return said, most

    def kill_at(self, mark: int, url: str, *words: str) -> None:
        """Start a command and kill it once the import has staged so many."""
        process = self.start(*words)
        while not (done := [done for state, done in asyncio.run(marks(url)) if state == "staging"]) or done[0] < mark:
            assert process.poll() is None, (self._folder / "said").read_text(encoding="utf-8")
            time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def tell(line: str) -> None:
    """Write a measurement where the one who measures wants it."""
    if told := os.environ.get("CHOPMARK_SOAK_TOLD"):
        with Path(told).open("a", encoding="utf-8") as out:
            out.write(f"{MANY}: {line}\n")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    tell(request.param)
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'chopmark.sqlite'}"
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return asyncio.run(cluster.fresh_database())


def test_certificates_are_imported_in_constant_memory_by_the_third_process(tmp_path: Path, url: str) -> None:
    ca = OldCa(since(30))
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "former.toml").write_text(LIST, encoding="utf-8")
    begun = time.monotonic()
    assert ca.export(tmp_path / "export.pem", (person_id(n) for n in range(MANY))) == MANY
    tell(f"certificates made: {time.monotonic() - begun:.0f} s")
    with (tmp_path / "sheet.csv").open("w", encoding="utf-8") as out:
        out.writelines(sheet(MANY))
    operator, export = Operator(tmp_path, url), str(tmp_path / "export.pem")
    (tmp_path / "data").mkdir(mode=0o700)
    operator.run("ca", "init")
    operator.run("customers", "import", str(tmp_path / "sheet.csv"), "--by", "soak")
    operator.run("certificates", "check-import", export)
    importing = ("certificates", "import", export, "--by", "soak")
    operator.kill_at(MANY // 5, url, *importing)
    operator.kill_at(MANY // 2, url, *importing)
    said, most = operator.run(*importing)
    assert re.search(rf"\b{MANY:,}\b|\b{MANY}\b", said), said
    (run,) = asyncio.run(marks(url))
    assert run == ("live", MANY)
    assert asyncio.run(imported(url)) == MANY
    assert most < BASE_MIB + MANY * EACH_BYTES // 2**20
    _, again = operator.run(*importing)
    assert asyncio.run(imported(url)) == MANY
    assert again < BASE_MIB + MANY * EACH_BYTES // 2**20
