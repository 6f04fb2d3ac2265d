"""An old CA's list of half a million entries, made by openssl, is taken in the memory that a small one needs."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from chopmark.store import db
from tests.old_ca import OldCa
from tests.postgres import Cluster
from tests.tables import START

MANY = int(os.environ.get("CHOPMARK_LIST_ENTRIES", "500000"))
MORE_MIB = 48
TAKEN = """
import asyncio, sys, time
from datetime import timedelta
from pathlib import Path
from chopmark.store.engine.opening import open_engine
from chopmark.store.repositories.va.former import FormerListRepository
from chopmark.va.former.lists import ListRefresh
from chopmark.va.former.ports import FormerCa, ListSource, Location
from tests.tables import Clock

def most():
    # getrusage would tell the memory of the program that started this one, too
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

async def main(url, certificate, place):
    engine = await open_engine(url)
    ca = FormerCa("old", (Path(certificate).read_bytes(),), ListSource((Location(place, place),)))
    lists = FormerListRepository(engine)
    before = most()
    begun = time.process_time()
    await ListRefresh([ca], lists, Path(place).parent, Clock(), "soak").once()
    took = time.process_time() - begun
    more = most() - before
    kept = (await lists.kept("old"))[place]
    print(kept.entries, kept.fault, more // 1024, round(took))
    await engine.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_half_a_million_entries_are_taken_in_constant_memory(
    tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if dialect == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        url = asyncio.run(cluster.fresh_database())
    asyncio.run(db.upgrade(url))
    at = START - timedelta(days=1)
    ca = OldCa(tmp_path / "old", revoked={(1 << 100) + number: (at, "superseded") for number in range(MANY)})
    (tmp_path / "ca.der").write_bytes(ca.certificate)
    (tmp_path / "old.crl").write_bytes(ca.crl(START, START + timedelta(days=1)))
    command = [sys.executable, "-c", TAKEN, url, str(tmp_path / "ca.der"), str(tmp_path / "old.crl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries, fault, more_mib, took_s = done.stdout.split()
    if told := os.environ.get("CHOPMARK_SOAK_TOLD"):
        with Path(told).open("a", encoding="utf-8") as out:
            out.write(f"{dialect}: {entries} entries in {took_s} s of a processor and {more_mib} MiB more\n")
    assert (entries, fault) == (str(MANY), "None")
    assert int(more_mib) < MORE_MIB
