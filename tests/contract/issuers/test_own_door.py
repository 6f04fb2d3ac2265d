"""Our own EST door as the other CA of another counter: the client and the door were written apart.

A customer of the counter gets a working certificate through the counter's JSON API.
"""

import asyncio
from pathlib import Path

from cryptography import x509

from chopmark.app.foundation import SystemClock
from chopmark.app.settings import Settings
from tests.contract.est.site import Site, running
from tests.contract.est.test_clients import approve, verified
from tests.contract.issuers.test_named_requests import errand, installation, subject_of
from tests.contract.programs import Program
from tests.contract.world import ANN, Clock


def own_door(site: Site, port: int, order: Program, data: Path) -> Settings:
    assert order.given is not None
    data.mkdir()
    given = {
        "mode": "demo",
        "data": data,
        "external_ca": {
            "protocol": "est",
            "url": f"https://localhost:{port}",
            "anchors": site.folder / "ca.pem",
            "tls_trust": site.folder / "server-root.pem",
            "user": order.given.user,
            "secret": order.given.secret.reveal(),
            "profile": "investor",
        },
    }
    return Settings.model_validate(given)


async def journey(firm: Site, order: Program, settings: Settings) -> bytes:
    """The customer's way at the counter, while a person of the firm approves at the CA."""
    clock = Clock(SystemClock().now().replace(microsecond=0))
    async with installation(settings, clock) as world:
        made = await errand(world)
        await made.until("wait", "enrol")
        order.csr = made.key.request()
        await asyncio.to_thread(approve, firm, order)
        world.clock.later(minutes=2)
        await world.once("resume")
        made.order = (await made.browser.get(f"/api/v1{made.path}")).json()
        await made.prove()
        assert (made.order["state"], made.order["certificate"]["state"]) == ("active", "active")
        return made.record


def test_a_counter_whose_issuer_is_our_own_est_door_gives_an_active_certificate(tmp_path: Path) -> None:
    (tmp_path / "firm").mkdir()
    firm = Site.make(tmp_path / "firm")
    with running(firm, "direct", tmp_path) as door:
        order = firm.do(lambda world: Program.begun(world, customer=ANN))
        record = asyncio.run(journey(firm, order, own_door(firm, door.port, order, tmp_path / "counter")))
    assert verified(firm, x509.load_der_x509_certificate(record))
    assert subject_of(record) == ["C=TW", "O=Haojing Futures", "OU=Investors", f"CN={ANN}"]
