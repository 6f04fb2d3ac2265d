"""A backup is put back: what the database forgot is answered from outside it at once, and entered again."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from chopmark.app.worker import reentry_of, tasks
from chopmark.audit.events import Event
from chopmark.audit.findings import Level
from chopmark.audit.journal import Deed, Line
from chopmark.ca.checker import Checker
from chopmark.ca.ports import Pending
from chopmark.cli.database import restoring_of
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, IssuerId, Operation, OrderId, OrderState, Reason, Serial
from chopmark.jobs.journal import GOES_ON
from chopmark.ra.restoring import Ended
from chopmark.store.repositories.ca.checking import CertificateRows
from tests import postgres
from tests.contract.restores import Backup, backed_up
from tests.contract.test_status import GOOD, REVOKED, asking, said
from tests.contract.world import ANN, BEN, CEO, DAN, ROWS, START, Errand, World, refusal, world_fixture

world = world_fixture()
BY, WHY = "S1", "the disk died"
LINE = Line(Deed.HELD, START, IssuerId("investor"), Serial("01"), OrderId("ORDER"), 0, START)
LATE = {**ROWS[DAN], "customer": "C8", "person_id": "A131145624", "accounts": "F014000-0000008", "mobile": "0912555008"}
"""A customer who came after the backup."""


@dataclass
class Backups:
    """Takes copies of a world's database and puts them back; heads and journal stay as they are, being outside."""

    world: World
    cluster: postgres.Cluster | None
    folder: Path

    async def take(self) -> Backup:
        """Copy the database, all records in the tree; nobody holds the sequencer's lease before or after."""
        self.world.clock.later(seconds=30)
        await self.world.once("sequence")
        self.world.clock.later(seconds=30)
        return backed_up(self.world, self.cluster, self.folder)

    async def put_back(self, backup: Backup) -> None:
        """Have the installation's processes, begun anew, find this copy where their database was."""
        self.world.clock.later(seconds=30)
        await backup.put_back(self.world)
        await self.world.services.foundation.restorewatch.look()


@pytest.fixture
def backups(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Backups:
    on_postgres = world.url.startswith("postgresql")
    cluster = cast(postgres.Cluster, request.getfixturevalue("postgres_cluster")) if on_postgres else None
    return Backups(world, cluster, tmp_path)


async def answer(world: World, der: bytes) -> ocsp.OCSPResponse:
    (responder,) = (ca.responder for ca in world.services.ca.cas)
    return await said(responder, asking(world.services, der))


async def listed(world: World) -> set[str]:
    """The serials of the published list, as another library reads them."""
    while await world.once("publish"):
        pass
    crl = await world.services.va.status.crl(world.services.ca.authority.view.id, 0)
    assert crl is not None
    return {f"{entry.serial_number:X}" for entry in x509.load_der_x509_crl(crl.der)}


def plain(serial: Serial) -> str:
    return f"{int(serial, 16):X}"


async def end(world: World) -> Ended:
    ended = await restoring_of(world.services, reentry_of(world.services)).end(BY, WHY)
    assert ended is not None
    await world.services.foundation.restorewatch.look()
    assert not world.services.foundation.restorewatch.behind
    return ended


async def assert_whole(world: World) -> None:
    """Records, tables and certificates agree, and the heads file holds both trees."""
    report = await world.audit()
    assert [one for one in report.findings if one.level is not Level.NOTICE] == []
    checked = await Checker(
        world.services.ca.issuer.standard(), CertificateRows(world.services.foundation.engine), 0
    ).check(world.clock.now())
    assert checked.faults == ()


async def renewal(world: World, customer: str) -> Errand:
    return await world.to_active(customer, Operation.REKEY)


async def test_a_certificate_revoked_after_the_backup_is_revoked_for_everybody_at_once(
    world: World, backups: Backups
) -> None:
    await world.to_active(ANN)
    await world.once("presign")
    backup = await backups.take()
    der, serial = world.held[ANN].certificate.der, world.held[ANN].certificate.serial
    await world.revoked(ANN, Reason.COMPROMISED)
    await world.work()
    at = world.clock.now()
    world.clock.later(minutes=5)
    await backups.put_back(backup)
    assert await world.ca_state(serial) == ("issued", None)
    told = await answer(world, der)
    assert (told.certificate_status, told.revocation_reason) == (REVOKED, x509.ReasonFlags.key_compromise)
    assert told.revocation_time_utc == at.replace(microsecond=0)
    await world.once("presign")
    assert (await answer(world, der)).certificate_status is REVOKED
    assert plain(serial) in await listed(world)


async def test_a_process_that_ran_on_sees_the_restore_at_its_next_look_and_gives_nothing_that_it_had_kept(
    world: World,
) -> None:
    """The rows are put back under a running process, as a standby that takes over puts them back."""
    await world.to_active(ANN)
    await world.once("sequence")
    held, watch = world.held[ANN].certificate, world.services.foundation.restorewatch
    (kept,) = await world.rows("SELECT MAX(size) AS size FROM heads")
    assert (await answer(world, held.der)).certificate_status is GOOD
    await world.revoked(ANN, Reason.COMPROMISED)
    await world.work()
    world.clock.later(seconds=30)
    await world.once("sequence")
    await watch.look()
    assert not watch.behind
    await world.change(
        "UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL, turns = 0 WHERE serial = :serial",
        serial=held.serial,
    )
    await world.change("DELETE FROM heads WHERE size > :size", size=kept["size"])
    assert await watch.look() == 1
    assert watch.behind
    assert watch.trouble() is not None
    assert [line.deed for line in watch.overlays()] == [Deed.REVOKED]
    assert (await answer(world, held.der)).certificate_status is REVOKED


async def test_while_the_database_is_behind_the_counter_stands_still(world: World, backups: Backups) -> None:
    errand = await world.to_review(ANN)
    backup = await backups.take()
    await errand.confirm()
    await world.once("sequence")
    await backups.put_back(backup)
    with_ca = replace(errand, world=world)
    await with_ca.submit()
    assert await world.services.ca.issuer.issue(await with_ca.issuance()) == Pending(30)
    assert await world.count("certificates") == 0
    assert {await task.job() for task in tasks(world.services) if task.name not in GOES_ON} == {0}
    no = await refusal(world.services.ra.context.journal.write(LINE))
    assert (no.kind, no.code) == (Kind.UNAVAILABLE, "standstill")


async def test_a_renewal_of_after_the_backup_comes_back_active_and_the_old_one_superseded(
    world: World, backups: Backups
) -> None:
    await world.to_active(ANN)
    old = world.held[ANN].certificate
    world.clock.at = old.not_after - timedelta(days=20)
    backup = await backups.take()
    errand = await renewal(world, ANN)
    await world.work()
    new = world.held[ANN].certificate
    assert await world.ca_state(old.serial) == ("revoked", "superseded")
    world.clock.later(hours=3)
    await backups.put_back(backup)
    assert (await answer(world, new.der)).certificate_status is GOOD
    assert (await answer(world, old.der)).certificate_status is REVOKED
    ended = await end(world)
    assert ended.loss is not None
    assert {(line.kind, line.serial, line.why_not) for line in ended.loss.reentered} == {
        ("issued", new.serial, None),
        ("revoked", old.serial, None),
    }
    await world.work()
    assert await world.ca_state(new.serial) == ("issued", None)
    assert await world.ca_state(old.serial) == ("revoked", "superseded")
    assert (await world.stored_certificate(new.serial)).state is CertificateState.ACTIVE
    assert (await world.stored_certificate(old.serial)).state is CertificateState.SUPERSEDED
    assert (await world.stored_certificate(new.serial)).der == new.der
    stored = await world.services.ra.context.orders.get(errand.id)
    assert stored is not None
    assert stored.state is OrderState.ACTIVE
    assert (await answer(world, new.der)).certificate_status is GOOD
    await assert_whole(world)


async def test_the_customer_whose_renewal_came_back_renews_again_with_that_key(world: World, backups: Backups) -> None:
    await world.to_active(ANN)
    world.clock.at = world.held[ANN].certificate.not_after - timedelta(days=20)
    backup = await backups.take()
    await renewal(world, ANN)
    await world.work()
    await backups.put_back(backup)
    await end(world)
    await world.work()
    world.clock.at = world.held[ANN].certificate.not_after - timedelta(days=20)
    await renewal(world, ANN)
    await world.work()
    await assert_whole(world)


async def test_an_application_that_nobody_had_proved_comes_back_unproved_and_is_proved_then(
    world: World, backups: Backups
) -> None:
    backup = await backups.take()
    errand = await world.to_issued(BEN)
    await world.once("sequence")
    certificate = await world.certificate(errand)
    await backups.put_back(backup)
    await end(world)
    again = replace(errand, world=world)
    assert (await world.stored_certificate(certificate.serial)).state is CertificateState.ISSUED
    assert (await again.prove()).state is OrderState.ACTIVE
    await assert_whole(world)


@pytest.mark.parametrize("step", ["open", "key", "sent", "code", "review", "issued"])
async def test_an_order_that_the_backup_has_half_way_goes_on_to_its_certificate(
    world: World, backups: Backups, step: str
) -> None:
    errand = await getattr(world, "open" if step == "open" else f"to_{step}")(ANN)
    backup = await backups.take()
    if step == "open":
        await errand.bind()
    if step in {"open", "key"}:
        await errand.send()
    if step in {"open", "key", "sent"}:
        await errand.answer(await errand.code())
    if step not in {"review", "issued"}:
        await errand.birth_date()
    if step != "issued":
        await errand.confirm()
    await errand.prove()
    await world.work()
    await backups.put_back(backup)
    await end(world)
    await world.work()
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE
    await assert_whole(world)


async def test_an_order_begun_after_the_backup_gives_way_to_the_one_that_was_lost(
    world: World, backups: Backups
) -> None:
    first = await world.to_key(ANN)
    backup = await backups.take()
    await world.services.ra.enrolment.cancel(first.caller, first.id)
    await world.to_active(ANN)
    await world.work()
    await backups.put_back(backup)
    await end(world)
    await world.work()
    stored = await world.services.ra.context.orders.get(first.id)
    assert stored is not None
    assert stored.state is OrderState.EXPIRED
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE
    await assert_whole(world)


async def test_a_revocation_and_a_hold_of_after_the_backup_are_made_again_as_of_their_own_moments(
    world: World, backups: Backups
) -> None:
    for customer in (ANN, BEN, CEO):
        await world.to_active(customer)
    backup = await backups.take()
    ann, ben, ceo = (world.held[name].certificate.serial for name in (ANN, BEN, CEO))
    await world.revoked(ANN)
    await world.work()
    revoked_at = world.clock.now()
    world.clock.later(minutes=1)
    await world.services.ra.suspension.hold(ben, "S1", "S2")
    await world.services.ra.suspension.hold(ceo, "S1", "S2")
    await world.work()
    held_at = world.clock.now()
    world.clock.later(minutes=1)
    await world.services.ra.suspension.release(ceo, "S1", "S2")
    await world.work()
    world.clock.later(hours=1)
    await backups.put_back(backup)
    await end(world)
    rows = {row["serial"]: row for row in await world.rows("SELECT serial, state, ended_at FROM certificates")}
    assert (rows[ann]["state"], rows[ann]["ended_at"]) == ("revoked", int(revoked_at.timestamp() * 1000))
    assert (rows[ben]["state"], rows[ben]["ended_at"]) == ("held", int(held_at.timestamp() * 1000))
    assert rows[ceo]["state"] == "issued"
    assert (await world.stored_certificate(ann)).state is CertificateState.REVOKED
    assert (await world.stored_certificate(ben)).state is CertificateState.HELD
    assert (await world.stored_certificate(ceo)).state is CertificateState.ACTIVE
    await assert_whole(world)


async def test_a_hold_that_is_in_the_backup_and_was_ended_after_it_is_ended_again(
    world: World, backups: Backups
) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    await world.services.ra.suspension.hold(serial, "S1", "S2")
    await world.work()
    backup = await backups.take()
    await world.services.ra.suspension.release(serial, "S1", "S2")
    await world.work()
    await backups.put_back(backup)
    await end(world)
    assert await world.ca_state(serial) == ("issued", None)
    assert (await world.stored_certificate(serial)).state is CertificateState.ACTIVE
    await assert_whole(world)


async def test_a_certificate_whose_customer_the_backup_does_not_know_is_listed_for_a_person(
    world: World, backups: Backups
) -> None:
    backup = await backups.take()
    assert (await world.services.ra.customer_import.add([LATE], "alice")).imported == 1
    errand = await world.to_code("C8")
    await errand.birth_date(date.fromisoformat(LATE["birth_date"]))
    await errand.confirm()
    serial = (await world.certificate(errand)).serial
    await world.work()
    await backups.put_back(backup)
    ended = await restoring_of(world.services, reentry_of(world.services)).end(BY, WHY)
    assert ended is not None
    assert ended.loss is not None
    (line,) = ended.loss.reentered
    assert (line.serial, line.why_not) == (serial, "its customer is not here, or its order has gone another way here")


async def test_a_standby_that_lost_the_last_second_is_behind_though_no_signed_head_is_lost(
    world: World, backups: Backups
) -> None:
    backup = await backups.take()
    errand = await world.to_issued(ANN)  # and no worker has given its records their places
    certificate = await world.certificate(errand)
    await backups.put_back(backup)
    assert world.services.foundation.restorewatch.behind
    ended = await end(world)
    assert ended.successor is None
    assert (await world.stored_certificate(certificate.serial)).state is CertificateState.ISSUED
    await assert_whole(world)


async def test_a_head_that_a_clock_signed_which_was_ahead_hides_no_line_of_the_days_until_then(
    world: World, backups: Backups
) -> None:
    await world.to_active(ANN)
    world.clock.later(days=30)
    await world.once("sequence")
    world.clock.later(days=-30)
    backup = await backups.take()
    await world.services.ca.issuer.revoke(world.held[ANN].certificate.serial, "key_compromise")
    await backups.put_back(backup)
    assert (await answer(world, world.held[ANN].certificate.der)).certificate_status is REVOKED


async def test_each_node_writes_files_of_its_own_in_the_shared_directory_and_reads_those_of_all(
    world: World, backups: Backups
) -> None:
    await world.to_active(ANN)
    backup = await backups.take()
    held, other = world.held[ANN].certificate, await world.node(2)
    await other.services.ca.issuer.revoke(held.serial, "key_compromise")
    await other.services.close()
    world.nodes.clear()
    day = f"{world.clock.now():%Y%m%d}"
    files = {path.name for path in world.services.foundation.settings.outside.glob("journal-*")}
    assert files == {f"journal-1-{day}.jsonl", f"journal-2-{day}.jsonl"}
    await world.once("sequence")
    await backups.put_back(backup)
    assert (await answer(world, held.der)).certificate_status is REVOKED
    await end(world)
    assert await world.ca_state(held.serial) == ("revoked", "key_compromise")
    await assert_whole(world)


async def test_a_second_restore_is_ended_as_the_first_was(world: World, backups: Backups) -> None:
    first = await backups.take()
    await world.to_active(ANN)
    await world.work()
    await backups.put_back(first)
    await end(world)
    second = await backups.take()
    await world.to_active(BEN)
    await world.work()
    await backups.put_back(second)
    await end(world)
    await world.work()
    for customer in (ANN, BEN):
        assert (
            await world.stored_certificate(world.held[customer].certificate.serial)
        ).state is CertificateState.ACTIVE
    await assert_whole(world)


async def test_what_was_entered_half_is_entered_whole_by_another_run(world: World, backups: Backups) -> None:
    backup = await backups.take()
    for customer in (ANN, BEN, DAN):
        await world.to_active(customer)
    await world.work()
    await backups.put_back(backup)
    reentry = reentry_of(world.services)
    await reentry.apply()
    assert await reentry.apply() == []
    await end(world)
    await world.work()
    assert await world.count("holdings", "state = 'active'") == 3
    await assert_whole(world)


async def undone(world: World) -> tuple[Line, ...]:
    for _ in range(2):
        await world.services.foundation.restorewatch.look()
    return world.services.foundation.restorewatch.undone()


async def test_a_revocation_whose_commit_never_came_is_a_crash_and_is_made_without_an_alarm(world: World) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    (row,) = await world.rows("SELECT * FROM certificates WHERE serial = :serial", serial=serial)
    entry = await world.books.repository.by_serial(serial)
    assert entry is not None
    await world.books.journal.turned(Deed.REVOKED, entry.reservation, world.clock.now(), "key_compromise")
    assert [line.serial for line in await undone(world)] == [serial]
    assert not world.services.foundation.restorewatch.behind
    assert (await answer(world, world.held[ANN].certificate.der)).certificate_status is REVOKED
    await world.once("journal")
    assert await world.ca_state(serial) == ("revoked", "key_compromise")
    assert await undone(world) == ()
    assert row["state"] == "issued"
    assert len(await world.records(Event.CA_CERTIFICATE_REVOKED)) == 1


class Died(Exception):
    """The process ends here."""


@pytest.mark.parametrize("where", ["before the line", "before the key", "before the second line", "before the row"])
async def test_a_crash_at_any_point_of_an_issuance_is_no_restore(world: World, where: str) -> None:
    errand = await world.to_review(ANN)
    await errand.submit()
    issuance = await errand.issuance()
    books, authority = world.books, world.services.ca.authority

    class Journal:
        closed = False

        async def reserved(self, *arguments: object) -> None:
            if where == "before the line":
                raise Died
            await books.journal.reserved(*arguments)  # type: ignore[arg-type]

        async def issued(self, *arguments: object) -> None:
            if where == "before the second line":
                raise Died
            await books.journal.issued(*arguments)  # type: ignore[arg-type]

    class Repository:
        def __getattr__(self, name: str) -> object:
            if name == "record" and where == "before the row":
                raise Died
            return getattr(books.repository, name)

    class Signer:
        def __getattr__(self, name: str) -> object:
            if name == "sign" and where == "before the key":
                raise Died
            return getattr(authority.signer, name)

    issuer = world.issuer(Signer())  # type: ignore[arg-type]
    issuer.journal, issuer.repository = Journal(), Repository()  # type: ignore[assignment]
    with pytest.raises(Died):
        await issuer.issue(issuance)
    assert await undone(world) == ()
    assert not world.services.foundation.restorewatch.behind
    world.clock.later(minutes=1)
    await world.once("resume")
    assert (await errand.stored()).state is OrderState.ISSUED
    assert await undone(world) == ()
    assert not world.services.foundation.restorewatch.behind


async def test_without_a_journal_nothing_is_signed_and_nothing_is_revoked(world: World) -> None:
    await world.to_active(BEN)
    errand = await world.to_review(ANN)
    await errand.submit()
    folder = world.services.foundation.settings.outside
    for path in folder.glob("journal-*"):
        path.unlink()
        path.mkdir()
    assert await world.services.ca.issuer.issue(await errand.issuance()) == Pending(30)
    assert await world.rows("SELECT state FROM certificates WHERE order_id = :id", id=errand.id) == [
        {"state": "orphaned"}
    ]
    no = await refusal(world.services.ca.issuer.revoke(world.held[BEN].certificate.serial, "key_compromise"))
    assert (no.kind, no.code) == (Kind.UNAVAILABLE, "journal.unwritten")
    assert await world.ca_state(world.held[BEN].certificate.serial) == ("issued", None)
