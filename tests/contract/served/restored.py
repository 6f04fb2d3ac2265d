"""An installation in production whose operator types what docs/operator.en.md says of backup and restore."""

import asyncio
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from bench.http import Connection
from bench.journey import Codes, Failed, Means
from bench.site import CLIENT, Site
from chopmark.client.signing import ClientKey
from tests.ha.checker import until
from tests.ha.customers import Patient, Record
from tests.machine import program

PAGES = {language: Path(__file__).parents[3] / "docs" / f"operator.{language}.md" for language in ("en", "zh-TW")}
LIMIT_S = 120
CAS = ("root", "investor")


def typed(heading: str) -> list[str]:
    """Return the blocks of commands under a heading of the operator's page, in their order."""
    page = PAGES["en"].read_text(encoding="utf-8")
    (part,) = (part for part in re.split(r"^##+ ", page, flags=re.MULTILINE) if part.startswith(f"{heading}\n"))
    return re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    text: str


@dataclass
class Operator:
    """Who types commands, in a folder in which `data` is the installation's."""

    site: Site
    folder: Path
    record: Record = field(default_factory=Record)
    codes: Codes = field(default_factory=Codes)
    connections: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folder."""
        self.folder.mkdir()
        (self.folder / "data").symlink_to(self.site.data)

    @property
    def on_sqlite(self) -> bool:
        """Which engine this is."""
        return not self.site.settings.database

    def type(self, block: str) -> list[Said]:
        """Type a block, line by line as it stands, and return what each line said."""
        return [self.line(line) for line in block.splitlines()]

    def line(self, line: str) -> Said:
        """Type one line."""
        ours = f'chopmark() {{ "{sys.executable}" -m chopmark "$@"; }}\n'
        done = subprocess.run(
            ["sh", "-c", ours + line],
            cwd=self.folder,
            env=self.site.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        return Said(done.returncode, done.stdout + done.stderr)

    def done(self, block: str) -> str:
        """Type a block in which nothing may fail, and return what it said."""
        said = self.type(block)
        assert [one for one in said if one.code] == []
        return "".join(one.text for one in said)

    def back_up(self) -> None:
        """Copy the database while it is in use, as the page says."""
        on_sqlite, on_postgres = typed("Backup")
        self.done(on_sqlite if self.on_sqlite else on_postgres)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Let customers have their codes meanwhile, and close their connections at the end."""
        listening = await self.codes.listen(str(self.site.codes), 0, 1)
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            for connection in self.connections:
                if not connection.closed:
                    connection.close()

    def begin_anew(self) -> None:
        """Have an empty folder to work in."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif not path.is_symlink():
                path.unlink()

    def put_back(self) -> None:
        """Put the copy where the database was, as the page says; nothing of the installation runs."""
        on_sqlite, on_postgres, *_ = typed("The database was restored from a backup")
        self.done(on_sqlite if self.on_sqlite else on_postgres)

    async def start(self) -> None:
        """Start server and worker."""
        await asyncio.to_thread(self.site.start)

    async def get(self, path: str) -> httpx2.Response:
        """Ask the server."""
        async with httpx2.AsyncClient(timeout=30) as client:
            return await client.get(f"http://127.0.0.1:{self.site.port}{path}", headers={"Accept-Language": "en"})

    async def until_anchored(self) -> None:
        """Wait for the worker's first anchor: the past that was played is older than the last hour's."""
        async with asyncio.timeout(LIMIT_S):
            while await self.rows("SELECT COUNT(*) FROM anchors") < [(2,)]:
                await self.get("/health/live")

    async def in_the_tree(self) -> None:
        """Wait until no record waits for its place."""
        async with asyncio.timeout(LIMIT_S):
            while await self.rows("SELECT entry FROM leaves EXCEPT SELECT entry FROM places"):
                await self.get("/health/live")

    async def until_ready(self, status: int, check: str = "", said: str = "") -> None:
        """Ask for readiness until it is so: the processes look once a second."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                answer = await self.get("/health/ready")
                if answer.status_code == status and answer.json()["checks"].get(check, "") == said:
                    return

    # customers ----------------------------------------------------------------------------------------------------

    async def customer(self, number: int) -> Patient:
        """Return a customer with a new key, not signed in."""
        gate = asyncio.Event()
        gate.set()
        secret = self.site.secret.reveal()
        connection = Connection("127.0.0.1", self.site.port)
        self.connections.append(connection)
        key = ClientKey.generate()
        journey = Patient(
            Means(connection, self.codes, CLIENT, secret, gate, lambda *_: None), number, key, key.request()
        )
        journey.record = self.record
        return journey

    async def renewed(self, number: int) -> Patient:
        """Let a customer renew, from the launch to the proof."""
        journey = await self.customer(number)
        await journey.signed_in()
        await journey.to_review()
        await journey.confirm()
        await journey.issued()
        await journey.prove()
        journey.tell("active")
        return journey

    async def visit(self, number: int) -> None:
        """Let a customer renew and revoke; whatever keeps the customer from it ends the visit."""
        try:
            await self.revoked(await self.renewed(number))
        except (Failed, TimeoutError) as failure:
            self.record.broken.append(f"customer {number}: {type(failure).__name__}: {failure}"[:300])

    async def steps(self, count: int, crowd: Sequence["asyncio.Task[None]"]) -> None:
        """Wait until so many more steps of these customers have gone through, or they are all done."""
        wanted = len(self.record.passed) + count

        def through() -> bool:
            return len(self.record.passed) >= wanted or all(one.done() for one in crowd)

        await until("customers get through", through, LIMIT_S)
        assert self.record.broken == []

    async def revoked(self, journey: Patient) -> None:
        """Let the customer revoke the new certificate, in the same session."""
        await journey.revoke()
        journey.tell("revoked")

    # strangers ----------------------------------------------------------------------------------------------------

    async def ocsp(self, serial: str) -> str:
        """Return what `openssl ocsp` hears and believes of a serial."""
        both, issuer = self.folder.parent / "both.pem", self.folder.parent / "investor.pem"
        pem = {name: ssl.DER_cert_to_PEM_cert((await self.get(f"/pki/{name}.cer")).content) for name in CAS}
        both.write_text("".join(pem.values()))
        issuer.write_text(pem["investor"])
        command = [str(program("openssl")), "ocsp", "-no_nonce", "-issuer", str(issuer)]
        command += ["-serial", f"0x{serial}", "-CAfile", str(both)]
        command += ["-url", f"http://127.0.0.1:{self.site.port}/ocsp/investor"]
        asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert "Response verify OK" in asked.stderr + asked.stdout, asked.stdout + asked.stderr
        found = re.search(rf"^0x{serial}: (\w+)$", asked.stdout, re.MULTILINE)
        assert found is not None, asked.stdout
        return found[1]

    async def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Read the database."""
        if self.on_sqlite:
            with closing(sqlite3.connect(f"file:{self.site.data / 'chopmark.sqlite'}?mode=ro", uri=True)) as db:
                return db.execute(sql.replace("$", "?"), values).fetchall()
        connection = await asyncpg.connect(self.site.settings.database)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *values)]
        finally:
            await connection.close()
