"""A revocation that no protocol carries to its CA is ticked off by two people, once, and the list says who and when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from chopmark.app.settings_topics import ExternalCa
from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.external.ports import Request, RequestState, Stored
from chopmark.cli import certificates, check
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.ra.manual_revocation import ManualRevocation
from chopmark.store.repositories.ra.manual_revocations import ManualRevocationRepository
from tests.contract.issuers import stranger
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.est_peer import Est
from tests.contract.issuers.test_conformance import certified
from tests.contract.world import World, outcome, refusal, world_fixture

world = world_fixture()
ONE, TWO = Serial("0A01"), Serial("0A02")


def context(world: World) -> ManualRevocation:
    return ManualRevocation(world.services.ra.context, ManualRevocationRepository(world.services.foundation.engine))


async def asked(world: World, serial: Serial, *, by_hand: bool = True) -> None:
    """A certificate of another CA that has to end."""
    now = world.clock.now()
    request = Request(OrderId(f"HAND{serial}"), 1, IssuerId("est-1"), b"1", "investor", "00", RequestState.SENT, now)
    before = replace(request, version=1)
    after = replace(
        before, state=RequestState.REVOKED, serial=serial, der=b"0", reason="superseded", by_hand=by_hand,
        revoked_at=None if by_hand else now,
    )  # fmt: skip

    async def begin(builder: RecordBuilder) -> bool:
        record = builder.record(Event.CA_REQUEST_SENT, issuer=request.issuer, attempt=1)
        return await world.services.ca.requests.begin(request, record)

    assert await world.services.foundation.audit_log.write(order_stream(request.order), begin)
    assert await world.services.ca.requests.change(before, after) is Stored.YES


async def test_two_people_tick_a_revocation_off_and_the_list_says_who_and_when(world: World) -> None:
    for serial in (ONE, TWO):
        await asked(world, serial)
    done = await context(world).done(ONE, "alice", "bob")
    assert (done.done_at, done.reason) == (world.clock.now(), "superseded")
    waits, ticked = await context(world).listed()
    assert (waits.serial, waits.done_at, waits.by) == (TWO, None, None)
    assert ticked == done
    assert await world.services.ca.requests.attention() == {TWO: "revoke_by_hand"}
    (record,) = await world.records(Event.CA_CERTIFICATE_REVOKED)
    assert all(f'"{word}"' in record["facts"] for word in ("alice", "bob", ONE, "superseded", "est-1"))
    assert (await world.audit()).findings == ()


async def test_what_does_not_wait_is_refused_and_leaves_no_leaf(world: World) -> None:
    await asked(world, ONE)
    await asked(world, TWO, by_hand=False)
    await world.to_active()
    ours = next(iter(world.held.values())).certificate.serial
    for serial in (TWO, ours, Serial("0A03")):
        refused = await refusal(context(world).done(serial, "alice", "bob"))
        assert (refused.kind, refused.code) == (Kind.NOT_FOUND, "not_waiting")
    assert await world.records(Event.CA_CERTIFICATE_REVOKED) == []


async def test_i32_one_person_is_not_enough(world: World) -> None:
    await asked(world, ONE)
    for second, kind in (("Alice", Kind.FORBIDDEN), ("", Kind.MALFORMED)):
        refused = await refusal(context(world).done(ONE, "alice", second))
        assert (refused.kind, refused.field) == (kind, "approved_by")
    assert await world.services.ca.requests.attention() == {ONE: "revoke_by_hand"}


async def test_it_is_ticked_off_once_however_many_do_it_at_the_same_moment(world: World) -> None:
    await asked(world, ONE)
    other = await world.node(2)
    pairs = (("alice", "bob"), ("carol", "dave"), ("erin", "frank"))
    doing = [context(services).done(ONE, *pair) for services in (world, other) for pair in pairs]
    said = await asyncio.gather(*(outcome(one) for one in doing))
    assert sum(getattr(one, "code", "done") == "done" for one in said) == 1
    assert {getattr(one, "code", "done") for one in said} == {"done", "done_already"}
    assert len(await world.records(Event.CA_CERTIFICATE_REVOKED)) == 1
    assert await world.count("hand_revocations") == 1


@pytest.fixture
async def peer(world: World, tmp_path: Path, ca: stranger.Ca) -> AsyncIterator[Est]:
    async with AsyncExitStack() as stack:
        peer = await opened_peer("est", world, tmp_path, ca, stack)
        assert isinstance(peer, Est)
        yield peer


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
async def test_the_commands_list_what_waits_and_what_is_done(peer: Est, capsys: pytest.CaptureFixture[str]) -> None:
    settings = peer.world.services.foundation.settings.model_copy(
        update={"external_ca": ExternalCa.model_validate(peer.connected)}
    )
    assert await certificates.list_by_hand(settings) == 0
    assert capsys.readouterr().out == "No certificate has to be revoked by a person.\n"
    made = await certified(peer, peer.issuer(), peer.applicant().issuance)
    await peer.issuer().revoke(made.serial, "superseded")
    await certificates.list_by_hand(settings)
    assert capsys.readouterr().out.endswith("superseded  WAITS\n")
    await check.check_installation(settings)
    assert f"look at {made.serial}: revoke_by_hand" in capsys.readouterr().out
    written = ":".join(made.serial[at : at + 2] for at in range(0, len(made.serial), 2)).lower()
    assert await certificates.revoked_by_hand(settings, written, "alice", "bob") == 0
    assert capsys.readouterr().out == f"{made.serial} is revoked at its CA, alice and bob say.\n"
    await certificates.list_by_hand(settings)
    told = capsys.readouterr().out
    assert told.startswith(f"{made.serial}  est-")
    assert " UTC by alice, approved by bob\n" in told
    await check.check_installation(settings)
    assert made.serial not in capsys.readouterr().out
    with pytest.raises(Refused):
        await certificates.revoked_by_hand(settings, made.serial, "alice", "bob")
    await peer.issuer().revoke(made.serial, "superseded")  # the worker comes again: nothing more is asked of anybody
    assert await peer.world.services.ca.requests.attention() == {}
