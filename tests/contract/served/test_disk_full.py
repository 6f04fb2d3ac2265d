"""A full disk under the real server (F16): no signature, no lost order, status goes on, and space is all it needs."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.contract.served.serving import Served, Visit, serve, session
from tests.contract.world import ANN, BEN, World, world_fixture
from tests.machine import missing, program

world = world_fixture(("sqlite",))
SIZE = 8 * 1024 * 1024
STEP = 16 * 4096  # an attempt that is refused has written its session all the same
LOOKS = 1_000  # at the order, with a pause after each


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [str(program("mount")), "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("The right to mount a small disk")
    yield folder
    subprocess.run([str(program("umount")), "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing fits any more."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


def states(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT state, COUNT(*) FROM certificates GROUP BY state").fetchall())


async def status(served: Served, world: World, der: bytes) -> ocsp.OCSPCertStatus:
    issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(der), issuer, hashes.SHA256())
    answer = await served.request("POST", "/ocsp/investor", content=builder.build().public_bytes(Encoding.DER))
    return ocsp.load_der_ocsp_response(answer.content).certificate_status


async def full(visit: Visit, order: str, terms: str, database: Path) -> None:
    """With no room at all nothing begins: no reservation, so no signature."""
    refused = await visit.confirm(order, terms)
    assert refused.status_code == 503, refused.text
    assert refused.json()["kind"] == "unavailable"
    assert int(refused.headers["retry-after"]) > 0
    assert states(database) == {"issued": 1}


async def nearly_full(visit: Visit, order: str, terms: str, ballast: Path) -> int:
    """Give the room back step by step until the order is confirmed; return how often it was refused."""
    for refusals in range(60):
        answer = await visit.confirm(order, terms)
        if answer.status_code in {200, 201, 202}:
            return refusals
        assert answer.json()["kind"] in {"unavailable", "conflict"}, answer.text
        with ballast.open("r+b") as file:
            file.truncate(file.seek(0, os.SEEK_END) - STEP)
    raise AssertionError("the order is refused though there is room")


async def issued(visit: Visit, order: str) -> None:
    """Look until the order is issued."""
    for _ in range(LOOKS):
        if (await visit.call("GET", f"/orders/{order}")).json().get("state") == "issued":
            return
        await visit.served.leave_alone("worker")
    raise AssertionError("the order was not resumed")


async def test_f16_a_full_disk_refuses_before_it_signs_and_status_goes_on_and_space_is_all_it_needs(
    world: World, tmp_path: Path, disk: Path
) -> None:
    await world.to_active(BEN)
    der = world.held[BEN].certificate.der
    await world.once("publish")
    errand = await world.to_review(ANN)
    token = await session(world, ANN)
    await world.close()
    data = disk / "data"
    shutil.copytree(world.services.foundation.settings.data, data)
    database = data / "house.db"
    served = serve(world, tmp_path)
    served.data, served.database = data, f"sqlite:///{database}"
    try:
        served.start("server")
        await served.ready()
        visit = await served.visit(token)
        terms = await visit.terms(errand.id)
        ballast = fill(disk)
        await full(visit, errand.id, terms, database)
        good = ocsp.OCSPCertStatus.GOOD
        assert [await status(served, world, der) for _ in range(3)] == [good] * 3
        assert (await served.request("GET", "/pki/investor-0.crl")).status_code == 200
        assert await nearly_full(visit, errand.id, terms, ballast) > 0
        ballast.unlink()
        served.at(world.clock.at + timedelta(seconds=30))
        served.start("worker")
        await issued(visit, errand.id)
    finally:
        await served.close()
    left = states(database)
    assert left.pop("issued") == 2
    assert set(left) <= {"orphaned"}
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
