"""A ceremony that dies at any file or commit goes on where it stood, and ends as one that nobody killed."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.core.types import IssuerId
from chopmark.store import db
from tests.contract.kill.ceremony_child import SHARES, hold
from tests.contract.kill.drill import Forker, forker
from tests.contract.kill.plan import KILLED
from tests.contract.world import START, Clock, Dice, World


@pytest.fixture(scope="module")
def children() -> Iterator[Forker]:
    with forker("ceremony_child") as made:
        yield made


def told(folder: Path, moment: str, number: int, *, resume: bool, dice: int) -> dict[str, Any]:
    facts = {"folder": str(folder), "at": START.isoformat(), "dice": dice}
    return {**facts, "moment": moment, "number": number, "resume": resume}


async def sound(folder: Path) -> None:
    """One CA, that of the transcript; its keys open with the shares; its record was written once; no draft is left."""
    one, two = SHARES
    where = {"data": folder, "database": f"sqlite:///{folder / 'house.db'}", "ca_share_one": one, "ca_share_two": two}
    settings = Settings.model_validate({"mode": "demo", **where})
    services = await build(settings, Clock(START), Dice(Random(1)))
    world = World(services, Clock(START), Dice(Random(1)))
    try:
        (row,) = await world.rows("SELECT * FROM issuers")
        assert await world.count("leaves", "event = 'ca:ceremony:done'") == 1
        assert await world.count("leaves", "event = 'va:crl:published'") == 1
        crl = await services.va.status.crl(IssuerId("root"), 0)
        assert crl is not None
        transcript = (folder / "ceremony" / "transcript.txt").read_text()
        prints = set(re.findall(r"SHA-256 +([0-9A-F:]{95})", transcript))
        shown = [x509.load_der_x509_certificate(bytes(row[name])) for name in ("certificate", "responder_certificate")]
        shown.append(x509.load_der_x509_certificate(services.ca.authority.chain[-1]))
        expected = [one.fingerprint(hashes.SHA256()) for one in shown]
        expected.append(x509.load_der_x509_crl(crl.der).fingerprint(hashes.SHA256()))
        assert prints == {digest.hex(":").upper() for digest in expected}
        assert not list((folder / "ceremony").glob(".*.part"))
        assert {path.name for path in (folder / "ceremony").glob("*.key.pem")} == {"root.key.pem"}
    finally:
        await world.close()


@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.soak)])
async def test_a_ceremony_that_is_killed_anywhere_goes_on_and_ends_whole(
    children: Forker, tmp_path: Path, every: int
) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    await db.upgrade(f"sqlite:///{fresh / 'house.db'}")
    untouched = tmp_path / "untouched"
    shutil.copytree(fresh, untouched)
    code, said = children.run(told(untouched, "", 0, resume=False, dice=1))
    assert code == 0, said
    await sound(untouched)
    passed = json.loads(said[-1].removeprefix("passed "))
    points = [(m, n) for m in ("half a file", "before commit", "after commit") for n in range(1, passed[m] + 1)]
    assert passed["half a file"] > 15
    for moment, number in points[::every]:
        folder = tmp_path / f"{moment} {number}"
        shutil.copytree(fresh, folder)
        code, said = children.run(told(folder, moment, number, resume=False, dice=number))
        assert code == KILLED, (moment, number, said)
        begun = (folder / "ceremony" / "plan.json").exists()
        assert await hold(told(folder, "", 0, resume=begun, dice=1000 + number), None) == 0, (moment, number)
        await sound(folder)
        shutil.rmtree(folder)
