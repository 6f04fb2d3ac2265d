"""Our own EST door as the other CA of another counter: the client and the door were written apart."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chopmark.authorities import constants
from chopmark.ca.foreign import ForeignIssuer
from chopmark.ca.ports import Certified, Pending, Wish
from chopmark.ca.shipped import profile_named
from chopmark.client.signing import ClientKey
from chopmark.errors import Refusal
from chopmark.external import Means, issuer_of
from chopmark.settings import Settings
from chopmark.web.brand import DEMO_BRAND
from chopmark.words import OrderId
from tests.contract.est.site import Door, Site, running
from tests.contract.est.test_clients import approve, verified
from tests.contract.issuers.est_peer import request_naming
from tests.contract.programs import Program
from tests.contract.world import ANN, World

Answer = Certified | Pending | Refusal
FIRM = constants(DEMO_BRAND)


def asking(door: Door, order: Program, wish: Wish) -> Callable[[World], Awaitable[Answer]]:
    """What the counter does, as often as it takes: ask the door with the credential of an order there."""
    assert order.given is not None
    given = {
        "issuer": "est",
        "issuer_url": f"https://localhost:{door.port}",
        "issuer_anchors": door.site.folder / "ca.pem",
        "issuer_tls_trust": door.site.folder / "server-root.pem",
        "issuer_user": order.given.user,
        "issuer_secret": order.given.secret.reveal(),
        "issuer_profile": "investor",
    }

    async def ask(world: World) -> Answer:
        house = world.house
        settings = Settings.model_validate({"mode": "demo", "data": house.settings.data, **given})
        means = Means(house.requests, house.recorder, world.clock, world.dice)
        issuer: ForeignIssuer = issuer_of(settings, profile_named("investor"), FIRM, means)
        return await issuer.resume(wish)

    return ask


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Site, Site]:
    """The firm with the CA, and the counter that asks it."""
    made = []
    for name in ("firm", "counter"):
        (tmp_path / name).mkdir()
        made.append(Site.make(tmp_path / name))
    return made[0], made[1]


def test_a_counter_certifies_at_the_est_door_of_another(sites: tuple[Site, Site], tmp_path: Path) -> None:
    firm, counter = sites
    key = ClientKey.generate()
    csr = request_naming(key, FIRM["firm"], ANN)
    spki = x509.load_der_x509_csr(csr).public_key()
    spki_der = spki.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wish = Wish(OrderId("OWNDOOR"), "investor", spki_der, {"customer": ANN}, csr)
    with running(firm, "direct", tmp_path) as door:
        order = firm.do(lambda world: Program.begun(world, customer=ANN))
        ask = asking(door, order, wish)
        assert counter.do(ask) == Pending(15)
        approve(firm, order)
        given = counter.do(ask, ago=-timedelta(seconds=16))
        assert isinstance(given, Certified), given
        assert counter.do(ask, ago=-timedelta(seconds=17)) == given
    made = x509.load_der_x509_certificate(given.der)
    assert made.public_key() == spki
    assert verified(firm, made)
