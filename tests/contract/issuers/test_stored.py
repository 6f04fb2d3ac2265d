"""The checker reads the stored certificates of another CA again: nothing in what nobody edited, and each edit."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chopmark.app.settings_topics import ExternalCa
from chopmark.ca.checker import Checked
from chopmark.ca.external.checker import ExternalChecker
from chopmark.ca.external.ports import ExternalCaExpectations
from chopmark.ca.ports import IssuanceRequest
from chopmark.ca.shipped import shipped_profiles
from chopmark.cli import check
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refused
from chopmark.core.types import Operation, Reason, Serial
from chopmark.ra.manual_revocation import ManualRevocation
from chopmark.store.db import open_engine
from chopmark.store.engine.columns import blobs
from chopmark.store.engine.script import Value
from chopmark.store.repositories.ca.external_checking import ExternalRows
from chopmark.store.repositories.ra.manual_revocations import ManualRevocationRepository
from tests.contract.issuers import stranger
from tests.contract.issuers.cmp_peer import Cmp
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.peers import CONSTANTS, Applicant, ExternalPeer
from tests.contract.world import ANN, BEN, CEO, DAN, World, world_fixture

world = world_fixture()
on_sqlite = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


@pytest.fixture(params=["est"])
async def peer(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, ca: stranger.Ca
) -> AsyncIterator[ExternalPeer]:
    async with AsyncExitStack() as stack:
        peer = await opened_peer(request.param, world, tmp_path, ca, stack)
        assert isinstance(peer, ExternalPeer)
        yield peer


def known(peer: ExternalPeer, profile: str = "") -> ExternalCaExpectations:
    issuer = peer.issuer().terms
    profiles = [one for one in shipped_profiles() if not profile or one.name == profile]
    named = {name: [one for one in profiles if one.name == name] for name in {one.name for one in profiles}}
    return ExternalCaExpectations(
        issuer.issuer, issuer.anchors, issuer.naming, named, CONSTANTS, peer.world.services.ca.approvals.terms
    )


async def checked(peer: ExternalPeer, lint_each: int = 1, by: ExternalCaExpectations | None = None) -> Checked:
    services = peer.world.services
    return await ExternalChecker(by or known(peer), ExternalRows(services.foundation.engine), lint_each).check(
        peer.world.clock.now()
    )


async def history(peer: ExternalPeer) -> Serial:
    """One replaced, one revoked, one put aside, one fresh; what a person had to ask is half done. The fresh serial."""
    world = peer.world.with_issuer(peer.issuer())
    await world.to_active(ANN)
    await world.to_active(BEN)
    gone = world.held[BEN].certificate.serial
    await world.revoked(BEN, Reason.COMPROMISED)
    await world.to_active(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await world.to_active(CEO)
    await world.work()
    if peer.kind == "est":
        await ManualRevocation(
            world.services.ra.context, ManualRevocationRepository(world.services.foundation.engine)
        ).done(gone, "alice", "bob")
    errand = await world.to_review(DAN)
    other = peer.folder / "other.pub"
    other.write_bytes(ClientKeyPem.made())
    peer.proxy.next(peer.answers(peer.ca.issue(other, peer.subject(DAN), name="other")))
    with pytest.raises(Refused):
        await errand.confirm()
    await world.work()
    world.clock.later(minutes=2)
    return world.held[ANN].certificate.serial


class ClientKeyPem:
    """A stranger's public key."""

    @staticmethod
    def made() -> bytes:
        public = ClientKey.generate().private_key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@on_sqlite
@pytest.mark.parametrize("peer", ["cfssl", "est"], indirect=True)
async def test_what_the_house_itself_stored_has_no_fault(peer: ExternalPeer) -> None:
    await history(peer)
    found = await checked(peer)
    assert found.faults == ()
    assert (found.certificates, found.linted) == (5, 4)


@pytest.mark.postgres
@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
async def test_it_reads_the_same_from_postgresql(peer: ExternalPeer) -> None:
    serial = await history(peer)
    assert (await checked(peer, 0)).faults == ()
    await _edit(peer, serial, "not_after", 4_102_444_800_000)
    assert {fault.code for fault in (await checked(peer, 0)).faults} == {"not_after"}


async def _edit(peer: ExternalPeer, serial: str, column: str, value: Value) -> None:
    await peer.world.change(
        f"UPDATE foreign_requests SET {column} = :value WHERE serial = :serial", value=value, serial=serial
    )


async def _certificate(peer: ExternalPeer, serial: Serial, pem: Path) -> None:
    """Another certificate in every place that holds its bytes."""
    der = stranger.der(pem)
    await _edit(peer, serial, "der", der)
    await peer.world.change("UPDATE holdings SET der = :der WHERE serial = :serial", der=der, serial=serial)


async def _public(peer: ExternalPeer, serial: Serial) -> Path:
    (row,) = await peer.world.rows("SELECT der FROM holdings WHERE serial = :serial", serial=serial)
    public = peer.folder / "same.pub"
    key = x509.load_der_x509_certificate(bytes(row["der"])).public_key()
    public.write_bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return public


async def _damaged_signature(peer: ExternalPeer, serial: Serial) -> None:
    (row,) = await peer.world.rows("SELECT der FROM holdings WHERE serial = :serial", serial=serial)
    der = bytes(row["der"])
    await _edit(peer, serial, "der", der[:-1] + bytes((der[-1] ^ 1,)))


async def _another_subject(peer: ExternalPeer, serial: Serial) -> None:
    made = peer.ca.issue(await _public(peer, serial), peer.subject("C99"), serial=f"0x{serial}", name="c99")
    await _certificate(peer, serial, made)


async def _another_use(peer: ExternalPeer, serial: Serial) -> None:
    issuance = stranger.GOOD.replace("clientAuth", "clientAuth,serverAuth")
    made = peer.ca.issue(await _public(peer, serial), peer.subject(ANN), issuance, serial=f"0x{serial}", name="use")
    await _certificate(peer, serial, made)


async def _ca_certificate(peer: ExternalPeer, serial: Serial) -> None:
    issuance = stranger.GOOD.replace("critical,CA:FALSE", "critical,CA:TRUE")
    made = peer.ca.issue(await _public(peer, serial), peer.subject(ANN), issuance, serial=f"0x{serial}", name="ca")
    await _certificate(peer, serial, made)


async def _ten_years(peer: ExternalPeer, serial: Serial) -> None:
    public = await _public(peer, serial)
    await _certificate(
        peer, serial, peer.ca.issue(public, peer.subject(ANN), days=3650, serial=f"0x{serial}", name="ten")
    )


async def _another_key(peer: ExternalPeer, serial: Serial) -> None:
    public = peer.folder / "another.pub"
    public.write_bytes(ClientKeyPem.made())
    await _certificate(peer, serial, peer.ca.issue(public, peer.subject(ANN), serial=f"0x{serial}", name="another"))


async def _another_ca(peer: ExternalPeer, serial: Serial) -> None:
    """The whole chain of a CA that nobody trusts, in every place."""
    folder = peer.folder / "nobody"
    folder.mkdir()
    nobody = stranger.found(folder, "Nobody")
    made = nobody.issue(await _public(peer, serial), peer.subject(ANN), serial=f"0x{serial}", name="nobody")
    await _certificate(peer, serial, made)
    chain = blobs(tuple(stranger.der(path) for path in nobody.chain))
    await _edit(peer, serial, "chain", chain)
    await peer.world.change("UPDATE holdings SET chain = :chain WHERE serial = :serial", chain=chain, serial=serial)


async def _shown_chain(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("UPDATE holdings SET chain = :none WHERE serial = :serial", none=b"", serial=serial)


async def _no_chain(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "chain", b"")


async def _no_bytes(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "der", None)


async def _garbage(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "der", b"\x30\x03\x02\x01")


async def _serial(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "serial", ("6" if serial[0] != "6" else "5") + serial[1:])  # the CA counts at the end


async def _shifted(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "not_after", 4_102_444_800_000)


async def _sent_later(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "sent_at", 4_102_444_800_000)


async def _another_issuer(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "issuer", "est-00000000")


async def _another_spki(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "spki_sha256", "00" * 32)


async def _others_key(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change(
        "UPDATE keys SET customer = :ben WHERE spki_sha256 = (SELECT spki_sha256 FROM holdings WHERE serial = :serial)",
        ben=BEN,
        serial=serial,
    )


async def _others_order(peer: ExternalPeer, serial: Serial) -> None:
    """Ben's order has Ann's certificate."""
    await peer.world.change("UPDATE orders SET customer = :ben WHERE serial = :serial", ben=BEN, serial=serial)


async def _another_profile(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "profile", "unheard-of")


async def _market_profile(peer: ExternalPeer, serial: Serial) -> None:
    await _edit(peer, serial, "profile", "investor-market")


async def _revoked_only_here(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change(
        "UPDATE foreign_requests SET state = 'revoked', revoked_at = 0, reason = 'unspecified' WHERE serial = :s",
        s=serial,
    )


async def _never_revoked(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change(
        "UPDATE foreign_requests SET state = 'issued', revoked_at = NULL, by_hand = 0, reason = NULL "
        "WHERE state = 'revoked'"
    )


async def _ticked_by_nobody(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("UPDATE foreign_requests SET revoked_at = 0 WHERE by_hand = 1 AND revoked_at IS NULL")


async def _tick_deleted(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("DELETE FROM hand_revocations")


async def _no_reason(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("UPDATE foreign_requests SET reason = NULL WHERE by_hand = 1")


async def _no_certificate(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("DELETE FROM holdings WHERE serial = :serial", serial=serial)


async def _no_row(peer: ExternalPeer, serial: Serial) -> None:
    await peer.world.change("DELETE FROM foreign_requests WHERE serial = :serial", serial=serial)


async def _shown_from_quarantine(peer: ExternalPeer, serial: Serial) -> None:
    """What was put aside is made a certificate that counts."""
    await peer.world.change("UPDATE foreign_requests SET state = 'issued' WHERE state = 'quarantined'")


async def _held_from_quarantine(peer: ExternalPeer, serial: Serial) -> None:
    (row,) = await peer.world.rows("SELECT serial, order_id FROM foreign_requests WHERE state = 'quarantined'")
    await peer.world.change(
        "UPDATE holdings SET serial = :new, order_id = :order_id WHERE serial = :serial",
        new=row["serial"],
        order_id=row["order_id"],
        serial=serial,
    )


Edit: TypeAlias = Callable[[ExternalPeer, Serial], Awaitable[None]]
EDITS: dict[Edit, set[str]] = {
    _damaged_signature: {"chain_signature", "holding_differs"},
    _another_subject: {"subject"},
    _another_use: {"eku"},
    _ca_certificate: {"ca"},
    _ten_years: {"not_after"},
    _another_key: {"spki"},
    _another_ca: {"anchor"},
    _shown_chain: {"holding_of_another_chain"},
    _no_chain: {"chain", "holding_of_another_chain"},
    _no_bytes: {"certificate_missing", "holding_differs"},
    _garbage: {"certificate_malformed", "holding_differs"},
    _serial: {"serial", "holding_without_certificate", "audit_differs", "holding_missing"},
    _shifted: {"not_after"},
    _sent_later: {"backdated"},
    _another_issuer: {"audit_differs"},
    _another_spki: {"spki", "key_of_another", "order_of_another_key", "holding_differs"},
    _others_key: {"key_of_another"},
    _others_order: {"subject", "key_of_another"},
    _another_profile: {"profile_unknown"},
    _market_profile: {"subject"},
    _revoked_only_here: {"revoked_and_held", "audit_differs"},
    _never_revoked: {"ended_and_not_revoked", "audit_differs"},
    _ticked_by_nobody: {"revoked_by_nobody", "audit_differs"},
    _tick_deleted: {"revoked_by_nobody"},
    _no_reason: {"state_of_end"},
    _no_certificate: {"holding_missing"},
    _no_row: {"holding_without_certificate"},
    _shown_from_quarantine: {"audit_differs", "spki", "holding_missing"},
    _held_from_quarantine: {"holding_of_nothing"},
}


async def _codes(peer: ExternalPeer, copy: Path, serial: Serial, edit: Edit) -> set[str]:
    """What the checker says of a copy of the database in which one thing was edited."""
    with closing(sqlite3.connect(peer.world.url.removeprefix("sqlite:///"))) as source:
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    engine = await open_engine(f"sqlite:///{copy}")
    try:
        world = peer.world
        services = replace(world.services, foundation=replace(world.services.foundation, engine=engine))
        changed = world.with_services(services)
        edited = replace(peer, world=changed)
        await edit(edited, serial)
        return {fault.code for fault in (await checked(edited, 0)).faults}
    finally:
        await engine.close()


@on_sqlite
async def test_i33_an_edited_row_is_found(peer: ExternalPeer, tmp_path: Path) -> None:
    serial = await history(peer)
    told = {}
    for number, edit in enumerate(EDITS):
        told[edit] = await _codes(peer, tmp_path / f"edit{number}.db", serial, edit)
    missed = {edit.__name__: (EDITS[edit] - codes, codes) for edit, codes in told.items() if not EDITS[edit] <= codes}
    assert missed == {}


@on_sqlite
@pytest.mark.parametrize("peer", ["cmp"], indirect=True)
async def test_a_certificate_that_was_confirmed_by_cmp_has_no_fault(peer: Cmp) -> None:
    world = peer.world.with_issuer(peer.issuer())
    errand = await world.to_review(ANN)
    spki = errand.key.private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    peer.applicants.append((Applicant(errand.key, IssuanceRequest(errand.id, "investor", spki, {})), ANN))
    await errand.confirm()
    await errand.prove()
    assert await checked(peer) == Checked(1, 1, ())


@on_sqlite
async def test_the_command_reads_both_kinds_of_certificates(
    peer: ExternalPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    await peer.world.to_active(BEN)  # the built-in CA's
    await peer.world.with_issuer(peer.issuer()).to_active(ANN)
    settings = peer.world.services.foundation.settings
    assert await check.check_certificates(settings, 0) == 0  # the other one is a former CA's
    assert capsys.readouterr().out == "2 certificates read, 0 linted, 0 faults.\n"
    connected = ExternalCa.model_validate(peer.connected)
    assert await check.check_certificates(settings.model_copy(update={"external_ca": connected}), 0) == 1
    serial = peer.world.held[ANN].certificate.serial
    # The firm in this peer's subjects is not the one of the installation's brand.
    assert capsys.readouterr().out == f"{serial}  subject\n2 certificates read, 0 linted, 1 fault.\n"


@on_sqlite
async def test_f38_a_prime_shared_with_a_certificate_of_the_built_in_ca_is_found(peer: ExternalPeer) -> None:
    await history(peer)
    services = peer.world.services
    others = {7 * 11: [Serial("0A")], 7 * 13: [Serial("0B")], 17 * 19: [Serial("0C")]}
    checker = ExternalChecker(known(peer), ExternalRows(services.foundation.engine), 0)
    found = await checker.check(peer.world.clock.now(), others)
    assert {(fault.serial, fault.code) for fault in found.faults} == {
        (Serial("0A"), "key.rsa_shared_prime"), (Serial("0B"), "key.rsa_shared_prime")
    }  # fmt: skip
