"""A full disk under PostgreSQL (F16): nothing is signed, status goes on, and space is all it needs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import OrderState
from tests import postgres
from tests.contract.test_revocation import status
from tests.contract.world import ANN, BEN, Errand, World, outcome, world_fixture
from tests.machine import missing, program

world = world_fixture(("postgresql",))
SIZE = 32 * 1024 * 1024
MOST = 3_000


@pytest.fixture
def disk(postgres_cluster: postgres.Cluster) -> Iterator[Path]:
    """A small disk of its own that the database server may write to."""
    folder = Path(tempfile.mkdtemp(dir=postgres_cluster.directory))
    mount = [str(program("mount")), "-t", "tmpfs", "-o", f"size={SIZE},mode=0777", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("The right to mount a small disk")
    yield folder
    subprocess.run([str(program("umount")), "-l", str(folder)], check=True)


async def moved(cluster: postgres.Cluster, database: str, disk: Path) -> str:
    """Move a database onto the disk; return the name of its tablespace."""
    place = disk / "space"
    place.mkdir()
    if os.geteuid() == 0:
        shutil.chown(place, "postgres", "postgres")
    connection = await asyncpg.connect(cluster.dsn())
    try:
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        await connection.execute(f'ALTER DATABASE "{database}" SET TABLESPACE small')
    finally:
        await connection.close()
    return "small"


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


async def until_refused(errand: Errand) -> Refusal:
    """Write until the pages that were there already are full."""
    for _ in range(MOST):
        answer = await outcome(errand.services.ra.enrolment.nonce(errand.caller, errand.id))
        if isinstance(answer, Refusal):
            return answer
    raise AssertionError("the disk is never full")


async def test_f16_without_room_nothing_is_signed_and_with_room_the_order_goes_on(
    disk: Path, world: World, postgres_cluster: postgres.Cluster
) -> None:
    await world.to_active(BEN)
    der = world.held[BEN].certificate.der
    errand = await world.to_review(ANN)
    busy = await world.open("C6")
    await world.services.close()
    await moved(postgres_cluster, postgres.name_in(world.url), disk)
    again = await world.node(2)
    ann, filler = (Errand(again, one.caller, one.id, one.key, None) for one in (errand, busy))
    ballast = fill(disk)
    assert (await until_refused(filler)).kind is Kind.UNAVAILABLE
    terms = await ann.terms()
    refused = await outcome(again.services.ra.rekey.confirm(ann.caller, ann.id, terms))
    assert isinstance(refused, Refusal)
    assert refused.kind is Kind.UNAVAILABLE
    assert await again.count("certificates") == 1
    assert (await status(again, der)).name == "GOOD"
    ballast.unlink()
    again.clock.later(seconds=30)
    await outcome(again.services.ra.rekey.confirm(ann.caller, ann.id, terms))
    await again.once("resume")
    assert await ann.state() is OrderState.ISSUED
    assert await again.count("certificates", "state = 'issued'") == 2
    assert await again.count("certificates", "state = 'reserved'") == 0
