"""One installation at the moment before a renewal is confirmed; each kill works on a copy of it."""

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp

from chopmark.app.settings import Settings
from chopmark.ca.checker import Checker
from chopmark.ca.embedded import CertificateExpectations
from chopmark.core.types import Operation, OrderId, OrderState
from chopmark.jobs.revoke import LEASE_S
from chopmark.pki.ocsp import cert_id
from chopmark.store.repositories.ca.checking import CertificateRows
from tests import postgres
from tests.contract.kill.plan import KILLED
from tests.contract.world import ANN, Clock, Dice, Errand, World

REPOSITORY = Path(__file__).parents[3]
RESTART = timedelta(seconds=30)
"""Restart and the resuming job's turn; I4 allows sixty seconds."""

LEASE = timedelta(seconds=LEASE_S)
"""What a dead worker had claimed is anybody's again after this."""


@dataclass
class Forker:
    """A process that has everything imported and forks children that die."""

    process: subprocess.Popen[str]

    def run(self, told: dict[str, Any]) -> tuple[int, list[str]]:
        """Run one child; return its exit code and what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        said: list[str] = []
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "ended":
                return int(rest), said
            said.append(f"{word} {rest}")
        raise AssertionError("the forking process has ended")


@contextmanager
def forker(program: str = "child") -> Iterator[Forker]:
    """Start the forking process."""
    command = [sys.executable, "-m", f"tests.contract.kill.{program}"]
    environment = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment
    ) as process:
        try:
            yield Forker(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


@dataclass
class Drill:
    """What the copies are made of, and the customer's part."""

    folder: Path
    dsn: str | None
    cluster: postgres.Cluster | None
    at: datetime
    order: OrderId
    errand: Errand
    children: Forker
    standard: CertificateExpectations
    copies: int = 0

    @asynccontextmanager
    async def _copy(self) -> AsyncIterator[tuple[Path, str]]:
        self.copies += 1
        folder = self.folder.with_name(f"copy-{self.copies}")
        shutil.copytree(self.folder, folder)
        dsn = None
        if self.cluster is not None and self.dsn is not None:
            dsn = await self.cluster.fresh_database(self.dsn)
        yield folder, dsn or f"sqlite:///{folder / 'house.db'}"
        if self.cluster is not None and dsn is not None:
            await self.cluster.drop(dsn)
        shutil.rmtree(folder, ignore_errors=True)  # a dying child's -shm may go by itself

    def _run(self, folder: Path, url: str, moment: str, number: int) -> tuple[int, list[str]]:
        key = self.errand.key.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        told = {
            "folder": str(folder),
            "url": url,
            "at": self.at.isoformat(),
            "dice": 100 + self.copies,
            "key": key.decode(),
            "order": self.order,
            "moment": moment,
            "number": number,
        }
        return self.children.run(told)

    async def points(self) -> list[tuple[str, int]]:
        """Return every commit and signature of one renewal that nobody kills, before and after."""
        async with self._copy() as (folder, url):
            code, said = self._run(folder, url, "", 0)
        assert code == 0, said
        passed = json.loads(said[-1].removeprefix("passed "))
        return [(moment, number) for moment in passed for number in range(1, passed[moment] + 1)]

    async def kill(self, moment: str, number: int) -> None:
        """Kill one renewal there, restart, and judge what is left."""
        async with self._copy() as (folder, url):
            code, said = self._run(folder, url, moment, number)
            assert code == KILLED, (moment, number, said)
            settings = Settings(mode="demo", data=folder, database=url)
            world = await World.opened(settings, Clock(self.at), Dice(Random(10_000 + self.copies)))
            try:
                await Aftermath(world, self, said, f"{moment} {number}").judge()
            finally:
                await world.close()


@dataclass
class Aftermath:
    """A fresh house over what a killed process left."""

    world: World
    drill: Drill
    said: list[str]
    where: str

    async def judge(self) -> None:
        """1 intent first  2 nothing unissued is good  3 no limbo  4 what was told holds  5 one certificate, sound."""
        await self.no_false_alarm()
        await self.intent_first()
        await self.never_good_before_it_is_issued()
        self.world.clock.at += RESTART
        for job in ("journal", "resume", "revoke", "publish"):
            await self.world.once(job)
        await self.no_false_alarm()
        await self.no_limbo()
        await self.what_was_told_holds()
        await self.finish()
        report = await self.world.audit()
        assert report.findings == (), self.where
        checker = Checker(self.drill.standard, CertificateRows(self.world.services.foundation.engine), lint_each=0)
        assert (await checker.check(self.world.clock.now())).faults == (), self.where

    async def no_false_alarm(self) -> None:
        """A crash is no restore: heads and journal never say that the database has forgotten anything."""
        watch = self.world.services.foundation.restorewatch
        await watch.look()
        assert watch.trouble() is None, self.where
        assert watch.unreadable is None, self.where

    def signed(self) -> list[bytes]:
        """What the CA's key has signed for certificates."""
        return [bytes.fromhex(line.split()[1]) for line in self.said if line.startswith("certificate ")]

    async def intent_first(self) -> None:
        """I1: for each signature there was a durable row with exactly these bytes."""
        rows = await self.world.rows("SELECT tbs FROM certificates WHERE order_id = :order", order=self.drill.order)
        assert len(self.signed()) <= len(rows), self.where
        assert set(self.signed()) <= {bytes(row["tbs"]) for row in rows}, self.where

    async def status(self, serial: str) -> ocsp.OCSPCertStatus | None:
        """Ask the responder; None for tryLater and the like."""
        issuer = self.world.services.ca.authority.view
        asked = cert_id(issuer, int(serial, 16), "sha256").der
        request = _sequence(_sequence(_sequence(_sequence(asked))))
        answer = ocsp.load_der_ocsp_response((await self.world.services.ca.responder.answer(request)).der)
        return answer.certificate_status if answer.response_status.value == 0 else None

    async def never_good_before_it_is_issued(self) -> None:
        """I4, I27: whatever was signed, a serial is not good until its certificate is stored."""
        sql = "SELECT serial FROM certificates WHERE order_id = :order AND state <> 'issued'"
        for row in await self.world.rows(sql, order=self.drill.order):
            assert await self.status(row["serial"]) is not ocsp.OCSPCertStatus.GOOD, self.where

    async def no_limbo(self) -> None:
        """I4: no reservation is left; what was given up is revoked."""
        rows = await self.world.rows(
            "SELECT serial, state FROM certificates WHERE order_id = :order", order=self.drill.order
        )
        assert {row["state"] for row in rows} <= {"issued", "orphaned"}, self.where
        assert sum(row["state"] == "issued" for row in rows) <= 1, self.where
        for row in rows:
            wanted = ocsp.OCSPCertStatus.GOOD if row["state"] == "issued" else ocsp.OCSPCertStatus.REVOKED
            assert await self.status(row["serial"]) is wanted, self.where

    async def what_was_told_holds(self) -> None:
        """I5: an answer that left the process is true after its death."""
        for line in self.said:
            word, _, rest = line.partition(" ")
            if word == "told":
                state, serial = rest.split()
                stored = await self._errand().stored()
                assert stored.serial == serial, self.where
                assert stored.state in ({OrderState(state), OrderState.ACTIVE}), self.where

    def _errand(self) -> Errand:
        return Errand(self.world, self.drill.errand.caller, self.drill.order, self.drill.errand.key, None)

    async def finish(self) -> None:
        """The customer goes on where the order stands, and gets one certificate that signs; the old one is ended."""
        errand = self._errand()
        if await errand.state() is OrderState.BIRTH_DATE_VERIFIED:
            await errand.confirm()
        if await errand.state() is OrderState.ISSUED:
            await errand.prove()
        order = await errand.order()
        assert order.state is OrderState.ACTIVE, self.where
        self.world.clock.at += LEASE
        await self.world.work()
        rows = await self.world.rows(
            "SELECT serial, der FROM certificates WHERE order_id = :order AND state = 'issued'", order=order.id
        )
        assert [row["serial"] for row in rows] == [order.serial], self.where
        certificate = x509.load_der_x509_certificate(bytes(rows[0]["der"]))
        issuer = x509.load_der_x509_certificate(self.world.services.ca.authority.view.certificate_der)
        certificate.verify_directly_issued_by(issuer)
        assert await self.world.count("holdings", "order_id = :order", order=order.id) == 1, self.where
        old = self.drill.errand.old
        assert old is not None
        assert await self.world.ca_state(old.certificate.serial) == ("revoked", "superseded"), self.where


def _sequence(content: bytes) -> bytes:
    assert len(content) < 256
    length = bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))
    return b"\x30" + length + content


async def drill(world: World, children: Forker, cluster: postgres.Cluster | None) -> Drill:
    """Bring Ann's renewal to its confirmation, close the house, and give what copies are made of."""
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.to_review(ANN, Operation.REKEY)
    await world.work()
    assert errand.old is not None
    await world.services.close()
    return Drill(
        folder=world.services.foundation.settings.data,
        dsn=world.url if cluster is not None else None,
        cluster=cluster,
        at=world.clock.at,
        order=errand.id,
        errand=errand,
        children=children,
        standard=world.services.ca.issuer.standard(),
    )
