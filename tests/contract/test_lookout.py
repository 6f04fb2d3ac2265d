"""Kept OCSP answers given without the record: true on every node within seconds, none longer than it is valid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.app.server import looks
from chopmark.app.services import Services
from chopmark.app.web import web_services
from chopmark.ca.ports import Certified, IssuanceRequest
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.jobs import loop
from chopmark.pki import signing
from chopmark.store.engine.port import unavailable
from chopmark.store.repositories.va.answers import CHANGED
from chopmark.va.ports import Changes, Status
from chopmark.va.responder import Responder
from chopmark.va.service_revocation import ServiceKind
from chopmark.va.status_watcher import TRUSTED_S, StatusWatcher
from chopmark.web.publication.ocsp_response_cache import MOST_OCTETS
from chopmark.web.publication.status import Publication
from tests.approved import on_record
from tests.contract.test_revocation import Gate
from tests.contract.test_rollover import restarted, roll_over
from tests.contract.test_services import revoked, service
from tests.contract.test_status import GOOD, REVOKED, TRY_LATER, Cut, asking
from tests.contract.world import World, world_fixture

world = world_fixture()
postgres_world = world_fixture(engines=("postgresql",))
sqlite_world = world_fixture(engines=("sqlite",))
VISIBLE_WITHIN_S = 5.0


@dataclass
class Line(Cut):
    """The records behind a line that can be cut; counts what is asked, and can let something happen in between."""

    between: list[Any] = field(default_factory=list)

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        found = await super().status(issuer, serial)
        for happening in self.between:
            await happening()
        self.between.clear()
        return found

    async def changed(self, since: int | None) -> Changes:
        if self.cut:
            raise unavailable()
        return await self.records.changed(since)

    async def wait_changed(self, timeout_s: float) -> bool:
        return await self.records.wait_changed(timeout_s)


@dataclass
class Node:
    """What one process tells relying parties, with a loop's time that the test moves."""

    services: Services
    line: Line
    status_watcher: StatusWatcher
    responders: dict[str, Responder]
    publication: Publication
    client: httpx2.AsyncClient
    seconds: list[float]

    async def ask(self, request: bytes, path: str = "/ocsp/investor") -> ocsp.OCSPResponse:
        answer = await self.client.post(path, content=request)
        return ocsp.load_der_ocsp_response(answer.content)

    async def says(self, der: bytes) -> ocsp.OCSPCertStatus:
        return (await self.ask(asking(self.services, der))).certificate_status


def node(services: Services, most_kept: int = 100) -> Node:
    line, seconds = Line(services.va.status), [1000.0]
    status_watcher = StatusWatcher(line, tick=lambda: seconds[0])
    responders: dict[str, Responder] = {
        ca.authority.view.id: answering(ca.responder, services, line, status_watcher) for ca in services.ca.cas
    }
    web = web_services(services)
    answering_so = replace(web, publication=replace(web.publication, responders=responders))
    publication = Publication(answering_so, nobody, most_kept)
    return Node(services, line, status_watcher, responders, publication, client_of(publication), seconds)


async def nobody(*_: object) -> None:
    raise AssertionError("not for the portal")


def client_of(publication: Publication) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(cast("Any", publication))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


def answering(responder: Responder, services: Services, line: Line, status_watcher: StatusWatcher) -> Responder:
    return Responder(
        responder.key,
        line,
        services.foundation.clock,
        status_watcher=status_watcher,
        opened=services.foundation.keyring.open,
    )


async def issued(world: World, number: int) -> Certified:
    key = signing.spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    issuance = IssuanceRequest(OrderId(f"ORDER{number}"), "investor", key, {"customer": f"C{number}"})
    made = await world.services.ca.issuer.issue(await on_record(world.services, issuance))
    assert isinstance(made, Certified)
    return made


async def test_a_kept_answer_is_given_without_the_record_by_get_and_by_post(world: World) -> None:
    made, here = await issued(world, 1), node(world.services)
    request = asking(world.services, made.der)
    await here.status_watcher.look()
    first = await here.client.post("/ocsp/investor", content=request)
    asked = here.line.asked
    again = await here.client.post("/ocsp/investor", content=request)
    assert (again.content, dict(again.headers)) == (first.content, dict(first.headers))
    assert here.line.asked == asked
    assert await here.says(made.der) is GOOD


async def test_i25_on_another_node_a_revocation_a_hold_and_a_release_show_with_its_next_look(world: World) -> None:
    made, there = await issued(world, 1), node((await world.node(2)).services)
    issuer = world.services.ca.issuer
    for change, says, turned in (
        (issuer.hold, REVOKED, True),
        (issuer.release, GOOD, True),
        (issuer.release, GOOD, False),
        (issuer.hold, REVOKED, True),
        (lambda serial: issuer.revoke(serial, "key_compromise"), REVOKED, True),
    ):
        await there.status_watcher.look()
        await there.says(made.der)
        await change(made.serial)
        await there.status_watcher.look()
        asked = there.line.asked
        assert await there.says(made.der) is says
        assert (there.line.asked > asked) is turned
    assert (await there.ask(asking(world.services, made.der))).revocation_reason is not None


async def test_an_answer_signed_by_a_responder_that_was_withdrawn_is_not_given_again(world: World) -> None:
    made, there = await issued(world, 1), node((await world.node(2)).services)
    await there.status_watcher.look()
    request = asking(world.services, made.der)
    first = await there.ask(request)
    successor = await revoked(world, await service(world, ServiceKind.RESPONDER))
    assert (await there.ask(request)).public_bytes(Encoding.DER) == first.public_bytes(Encoding.DER)
    world.clock.later(minutes=1)
    for responder in there.responders.values():
        await responder.look()
    answer = await there.ask(request)
    assert answer.certificate_status is GOOD
    assert [one.public_bytes(Encoding.DER) for one in answer.certificates] == [successor]


async def test_an_answer_that_was_being_signed_when_its_responder_was_withdrawn_is_not_given_again(
    world: World,
) -> None:
    made, there = await issued(world, 1), node((await world.node(2)).services)
    (responder,) = there.responders.values()
    gate = Gate(responder.key.signer)
    responder.key = replace(responder.key, signer=gate)
    await there.status_watcher.look()
    request = asking(world.services, made.der)
    in_flight = asyncio.create_task(there.ask(request))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    successor = await revoked(world, await service(world, ServiceKind.RESPONDER))
    world.clock.later(minutes=1)
    await responder.look()
    gate.opened.set()
    await in_flight
    answer = await there.ask(request)
    assert [one.public_bytes(Encoding.DER) for one in answer.certificates] == [successor]


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """The looks of a server process, by its own loop's time."""
    stop = asyncio.Event()
    looking = asyncio.create_task(loop.run(looks(services), stop))
    try:
        yield
    finally:
        stop.set()
        await looking


async def test_i25_a_revocation_is_visible_on_every_node_within_five_seconds(world: World) -> None:
    made, second = await issued(world, 1), await world.node(2)
    request = asking(world.services, made.der)
    async with running(world.services), running(second.services):
        publications = [Publication(web_services(services), nobody) for services in (world.services, second.services)]
        clients = [client_of(publication) for publication in publications]
        for publication, client in zip(publications, clients, strict=True):
            while not len(publication.answered):
                await client.post("/ocsp/investor", content=request)
        await world.services.ca.issuer.revoke(made.serial, "superseded")
        async with asyncio.timeout(VISIBLE_WITHIN_S):
            for client in clients:
                says = GOOD
                while says is not REVOKED:
                    answer = await client.post("/ocsp/investor", content=request)
                    says = ocsp.load_der_ocsp_response(answer.content).certificate_status


async def test_a_change_that_began_earlier_and_commits_later_is_seen_too(postgres_world: World) -> None:
    world = postgres_world
    first, second, here = await issued(world, 1), await issued(world, 2), node(world.services)
    await here.status_watcher.look()
    assert [await here.says(made.der) for made in (first, second)] == [GOOD, GOOD]
    slow = await asyncpg.connect(world.url)
    try:
        async with slow.transaction():
            await slow.execute(
                "UPDATE certificates SET state = 'revoked', ended_at = 0, reason = 'superseded', turns = turns + 1,"
                f" changed = {CHANGED['postgresql']} WHERE serial = $1",
                first.serial,
            )
            await world.services.ca.issuer.revoke(second.serial, "superseded")
            for _ in range(3):
                await here.status_watcher.look()
            assert [await here.says(made.der) for made in (first, second)] == [GOOD, REVOKED]
    finally:
        await slow.close()
    await here.status_watcher.look()
    assert await here.says(first.der) is REVOKED


async def test_a_change_between_the_reading_and_the_keeping_is_not_lost(world: World) -> None:
    made, here = await issued(world, 1), node(world.services)
    await here.status_watcher.look()

    async def revoked() -> None:
        await world.services.ca.issuer.revoke(made.serial, "superseded")
        await here.status_watcher.look()

    here.line.between.append(revoked)
    await here.says(made.der)
    assert await here.says(made.der) is REVOKED


async def test_without_the_database_a_kept_answer_is_given_while_it_is_valid_and_then_try_later(world: World) -> None:
    made, here = await issued(world, 1), node(world.services)
    await here.status_watcher.look()
    assert await here.says(made.der) is GOOD
    here.line.cut = True
    asked = here.line.asked
    assert await here.says(made.der) is GOOD
    assert here.line.asked == asked
    here.seconds[0] += TRUSTED_S
    assert await here.says(made.der) is GOOD
    assert here.line.asked > asked
    world.clock.later(hours=24)
    assert (await here.ask(asking(world.services, made.der))).response_status is TRY_LATER


async def test_when_the_database_is_back_what_changed_meanwhile_shows_at_once(world: World) -> None:
    made, here = await issued(world, 1), node(world.services)
    await here.status_watcher.look()
    assert await here.says(made.der) is GOOD
    here.line.cut = True
    here.seconds[0] += TRUSTED_S
    await world.services.ca.issuer.revoke(made.serial, "superseded")
    assert await here.says(made.der) is GOOD
    here.line.cut = False
    assert await here.says(made.der) is REVOKED
    await here.status_watcher.look()
    assert await here.says(made.der) is REVOKED


async def test_a_process_that_has_just_started_reads_the_record(world: World) -> None:
    made, before = await issued(world, 1), node(world.services)
    await before.status_watcher.look()
    assert await before.says(made.der) is GOOD
    await world.services.ca.issuer.revoke(made.serial, "superseded")
    started = node((await world.node(2)).services)
    assert await started.says(made.der) is REVOKED
    assert len(started.publication.answered) == 0
    await started.status_watcher.look()
    assert await started.says(made.der) is REVOKED
    assert len(started.publication.answered) == 1


async def test_a_clock_that_leaps_makes_no_answer_older_than_it_says(sqlite_world: World) -> None:
    world = sqlite_world
    made, here = await issued(world, 1), node(world.services)
    await here.status_watcher.look()
    request = asking(world.services, made.der)
    first = await here.ask(request)
    for hours in (-1, 13, 40, -60):
        world.clock.later(hours=hours)
        answer = await here.ask(request)
        assert answer.next_update_utc is not None
        assert answer.this_update_utc <= world.clock.at < answer.next_update_utc
        assert answer.this_update_utc != first.this_update_utc


async def test_one_look_is_for_the_certificates_of_both_generations(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    old = await issued(world, 1)
    assert await roll_over(world, tmp_path / "ceremony") == 0
    after = await restarted(world)
    new, here = await issued(after, 2), node(after.services)
    (earlier,) = after.services.ca.earlier
    before = replace(after.services, ca=replace(after.services.ca, built_in=earlier))
    asked = {
        "/ocsp/investor-2": asking(after.services, new.der),
        "/ocsp/investor": asking(before, old.der),
    }
    await here.status_watcher.look()
    assert [(await here.ask(request, path)).certificate_status for path, request in asked.items()] == [GOOD] * 2
    assert len(here.publication.answered) == 2
    for made in (old, new):
        await after.services.ca.issuer.revoke(made.serial, "superseded")
    await here.status_watcher.look()
    assert [(await here.ask(request, path)).certificate_status for path, request in asked.items()] == [REVOKED] * 2
    assert len({ca.status_watcher for ca in after.services.ca.cas}) == 1


async def test_what_is_kept_ready_is_bounded_and_never_about_what_was_not_issued(sqlite_world: World) -> None:
    world = sqlite_world
    here = node(world.services, most_kept=2)
    made = [await issued(world, number) for number in range(3)]
    await here.status_watcher.look()
    for one in made:
        assert await here.says(one.der) is GOOD
    assert len(here.publication.answered) == 2
    known = ocsp.load_der_ocsp_request(asking(world.services, made[0].der))
    here = node(world.services)
    await here.status_watcher.look()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, known.serial_number + 1, hashes.SHA256()
    )
    request = builder.build().public_bytes(Encoding.DER)
    assert (await here.ask(request)).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    await here.ask(asking(world.services, made[0].der, nonce=b"n" * 16))
    long = b"/ocsp/investor/" + b"%41" * MOST_OCTETS
    await here.client.get(long.decode())
    assert len(here.publication.answered) == 0
