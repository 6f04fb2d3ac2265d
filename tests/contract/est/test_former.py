"""A program renews at the EST door with a certificate of a former issuer, whose root nobody here knows."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from chopmark.client.signing import ClientKey
from chopmark.core.types import Operation
from tests.contract.est.site import Door, Site, running
from tests.contract.est.test_clients import approve, certificates, verified
from tests.contract.programs import Program
from tests.contract.world import ANN, BEN, ROWS, Held, World
from tests.old_ca import BEGINS, OldCa

FORMER = """
[[former_issuer]]
id = "old"
name_zh = "舊憑證管理中心"
name_en = "The Old CA"
certificates = ["old/ca.pem"]
subject_templates = ["CN=TW{person_id}*, OU=RA-Broker"]
status = "none"
reason = "its lists are not published"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An installation whose settings name the old CA; Ann's certificate of it was imported, Ben's was not."""
    made = Site.make(tmp_path_factory.mktemp("site"))
    folder = made.folder / "old"
    ca, ends = OldCa(folder), f"{made.at + timedelta(days=20):%Y%m%d%H%M%SZ}"
    for name, who in (("ann", ANN), ("ben", BEN)):
        subject = f"/C=TW/O=Old/OU=RA-Broker/CN=TW{ROWS[who]['person_id']}1"
        ca.issue(name, subject, life=(BEGINS, ends))
    (made.folder / "former.toml").write_text(FORMER, encoding="utf-8")

    async def imported(world: World) -> None:
        report = await world.services.ra.certificate_import.run([folder / "ann.pem"], "alice")
        assert report.imported == 1
        (certificate,) = await world.services.ra.context.certificates.all(world.caller(ANN).customer)
        key = load_pem_private_key((folder / "ann.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        world.held[ANN] = Held(ClientKey(key), certificate)

    made.do(imported)
    return made


@pytest.fixture(scope="module")
def door(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with running(site, "direct", tmp_path_factory.mktemp("direct")) as started:
        yield started


def test_curl_renews_with_it_and_it_is_superseded_when_the_new_one_is_used(site: Site, door: Door) -> None:
    old = site.held[ANN]
    shown = door.shown("brought", old.key, old.certificate.der)
    order = site.do(lambda world: Program.begun(world, Operation.REKEY, ANN))
    assert door.send("simplereenroll", order.csr, *shown).status == 202
    approve(site, order)
    (made,) = certificates(door.send("simplereenroll", order.csr, *shown))
    assert verified(site, made)
    assert site.state(old.certificate.serial) == "active"
    new = door.shown("new", order.errand.key, made.public_bytes(Encoding.DER))
    assert certificates(door.send("simplereenroll", order.csr, *new)) == [made]
    assert site.state(old.certificate.serial) == "superseded"


def test_one_that_was_not_imported_may_connect_and_nothing_more(site: Site, door: Door) -> None:
    pair = ("--cert", site.folder / "old" / "ben.pem", "--key", site.folder / "old" / "ben.key")
    answer = door.send("simplereenroll", ClientKey.generate().request(), *pair)
    assert (answer.status, b"not one of ours" in answer.body) == (403, True)
