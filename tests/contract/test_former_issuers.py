"""The former issuer of the settings, as a whole: its list is taken, a renewal asks it, and afterwards it revokes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from chopmark.app.services import build
from chopmark.audit.events import Event
from chopmark.audit.record import AuditRecord
from chopmark.ca.external.ports import Ending
from chopmark.cli import certificates
from chopmark.cli.former_issuers import former_faults, former_revocation, say_asked
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind
from chopmark.core.types import Operation, Serial
from chopmark.ra.former_revocation import IN_A_ROW, ROUND, FormerRevocation
from chopmark.ra.imported import Fingerprint, ImportedCertificate, ImportedState
from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository
from tests.contract.world import ANN, BEN, ROWS, START, Held, World, refusal, world_fixture
from tests.old_ca import OldCa

plain = world_fixture()

DAY = timedelta(days=1)
_LIST = """
[[former_issuer]]
id = "old"
name_zh = "舊憑證"
name_en = "Old Certification"
certificates = ["ca.pem"]
subject_templates = ["CN=TW{person_id}*, OU=RA-Broker01"]
status = "crl"
crl = ["old.crl"]
"""


@dataclass
class Client:
    """Another CA's client, which says what the test has it say."""

    says: list[Ending] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        assert reason == "superseded"
        self.asked.append(certificate_der)
        return self.says.pop(0) if self.says else Ending.DONE


@dataclass
class Brought:
    """Ann has a certificate that openssl issued under the old CA; it was imported."""

    world: World
    ca: OldCa
    serial: int
    der: bytes
    fingerprint: Fingerprint

    def publish(self) -> None:
        now = self.world.clock.now()
        (self.ca.folder / "old.crl").write_bytes(self.ca.crl(now, now + DAY))

    async def renewed(self) -> None:
        self.publish()
        await self.world.once("former-lists")
        errand = await self.world.to_review(ANN, Operation.REKEY)
        await errand.confirm()
        await errand.prove()

    def verb(self, client: Client | None) -> FormerRevocation:
        clients = {} if client is None else {"old": client}
        return FormerRevocation(self.world.services.ra.context, self.imported, clients)

    @property
    def imported(self) -> ImportedCertificateRepository:
        return ImportedCertificateRepository(self.world.engine)

    async def row(self) -> ImportedCertificate:
        found = await self.imported.get(self.fingerprint)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    made = OldCa(tmp_path_factory.mktemp("old"))
    life = ("20250415000000Z", "20260415000000Z")
    made.issue("ann", f"/CN=TW{ROWS[ANN]['person_id']}1/OU=RA-Broker01/C=TW", life=life)
    (made.folder / "former.toml").write_text(_LIST, encoding="utf-8")
    return made


@pytest.fixture
async def brought(plain: World, ca: OldCa) -> AsyncIterator[Brought]:
    ca.revoked = {}
    folder = plain.services.foundation.settings
    settings = folder.model_copy(update={"former_issuers": ca.folder / "former.toml"})
    services = await build(settings, plain.clock, plain.dice)
    world = plain.with_services(services)
    report = await services.ra.certificate_import.run([Path(ca.path("ann.pem"))], "alice")
    assert report.imported == 1
    pem = (ca.folder / "ann.pem").read_bytes()
    made = x509.load_pem_x509_certificate(pem)
    found = Fingerprint(made.fingerprint(hashes.SHA256()).hex())
    key = load_pem_private_key((ca.folder / "ann.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = await services.ra.context.certificates.get(Serial(found))
    assert certificate is not None
    world.held[ANN] = Held(ClientKey(key), certificate)
    yield Brought(world, ca, ca.serial, made.public_bytes(Encoding.DER), found)
    await services.close()


async def test_a_renewal_waits_for_a_list_and_then_goes_through(brought: Brought) -> None:
    world = brought.world
    refused = await refusal(world.to_key(ANN, Operation.REKEY))
    assert refused.code == "former_unknown"
    await brought.renewed()
    view = await world.services.ra.customer_queries.overview(world.caller(ANN))
    assert view.present is not None
    assert view.present.former is None


async def test_one_that_the_old_ca_revoked_after_the_import_does_not_renew(brought: Brought) -> None:
    brought.ca.revoked = {brought.serial: (START - DAY, "keyCompromise")}
    brought.publish()
    await brought.world.once("former-lists")
    refused = await refusal(brought.world.to_key(ANN, Operation.REKEY))
    assert refused.code == "former_revoked"
    view = await brought.world.services.ra.customer_queries.overview(brought.world.caller(ANN))
    assert view.advice.operation is not Operation.REKEY


async def test_what_the_old_ca_lists_as_revoked_is_revoked_in_the_portal_without_a_renewal(brought: Brought) -> None:
    brought.ca.revoked = {brought.serial: (START - DAY, "certificateHold")}
    brought.publish()
    await brought.world.once("former-lists")
    assert await brought.world.once("former-revoked") == 0, "a hold may end"
    brought.world.clock.later(hours=1)
    brought.ca.revoked = {brought.serial: (START - DAY, "superseded"), 7: (START - DAY, "superseded")}
    brought.publish()
    await brought.world.once("former-lists")
    assert await brought.world.once("former-revoked") == 1
    assert await brought.world.once("former-revoked") == 0
    row = await brought.row()
    assert (row.state, row.reason) == (ImportedState.REVOKED, "superseded")
    view = await brought.world.services.ra.customer_queries.overview(brought.world.caller(ANN))
    assert view.advice.operation is Operation.ENROL
    assert len(await brought.world.records(Event.RA_FORMER_REVOKED)) == 1
    assert (await brought.world.audit()).sound


async def test_a_list_that_ended_lets_nobody_renew(brought: Brought) -> None:
    brought.publish()
    await brought.world.once("former-lists")
    brought.world.clock.later(hours=24)
    assert (await refusal(brought.world.to_key(ANN, Operation.REKEY))).code == "former_unknown"


async def test_who_cannot_renew_by_the_list_is_recommended_an_application_until_a_list_is_there_again(
    brought: Brought,
) -> None:
    world, recommended = brought.world, []

    async def look() -> None:
        await world.once("former-lists")
        view = await world.services.ra.customer_queries.overview(world.caller(ANN))
        recommended.append(view.advice.operation)

    (brought.ca.folder / "old.crl").unlink(missing_ok=True)
    await look()
    brought.publish()
    world.clock.later(minutes=10)
    await look()
    world.clock.later(hours=24)
    await look()
    brought.publish()
    world.clock.later(minutes=10)
    await look()
    brought.ca.revoked = {brought.serial: (START - DAY, "certificateHold")}
    brought.publish()
    world.clock.later(hours=1)
    await look()
    renew, apply = Operation.REKEY, Operation.REPLACE
    assert recommended == [apply, renew, apply, renew, apply]


async def test_check_says_how_the_status_is_known_and_what_is_wrong(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    world, place = brought.world, brought.ca.folder / "old.crl"
    place.unlink(missing_ok=True)
    name = f"the list of old at {place}"
    assert await former_faults(world.services) == [
        f"{name} was never taken, so none of its certificates renews: does a worker run?"
    ]
    await world.once("former-lists")
    (fault,) = await former_faults(world.services)
    assert (
        fault == f"{name} was never taken, so none of its certificates renews: the file is not there or cannot be read"
    )
    brought.publish()
    world.clock.later(minutes=2)
    await world.once("former-lists")
    assert await former_faults(world.services) == []
    assert "of 0 entries counts until 2026-04-01 04:00 UTC" in capsys.readouterr().out
    place.write_bytes(b"")
    world.clock.later(hours=1)
    await world.once("former-lists")
    assert await former_faults(world.services) == []
    warned = f"WARNING: {name} could not be taken since 2026-03-31 05:02 UTC: what is there is no revocation list"
    assert warned in capsys.readouterr().out
    world.clock.later(hours=23)
    (fault,) = await former_faults(world.services)
    assert fault.startswith(f"{name} is late, it has ended at 2026-04-01 04:00 UTC, so none of its certificates renews")


async def test_check_names_an_issuer_whose_certificates_are_here_and_which_the_settings_have_lost(
    brought: Brought, plain: World
) -> None:
    """`plain` is another process on the same database, whose settings name no former issuer."""
    (fault,) = await former_faults(plain.services)
    assert fault.startswith("1 imported certificate is of old, which the list of former issuers does not name")
    plain.clock.later(days=300)
    assert await former_faults(plain.services) == []


async def test_an_imported_certificate_is_found_by_what_is_known_of_it(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = brought.world.services.foundation.settings
    row = await brought.row()
    for what in (row.serial, brought.fingerprint, brought.fingerprint[:12].upper(), ANN, row.spki_sha256):
        assert await certificates.find_certificates(settings, what) == 0
        told = f"{ANN}  certificate {row.serial} of old, fingerprint {brought.fingerprint}  active"
        assert told in capsys.readouterr().out, what
    assert await certificates.find_certificates(settings, BEN) == 1


async def test_after_the_renewal_a_person_has_it_revoked_and_two_tick_it_off(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = brought.verb(None)
    assert (await refusal(verb.done(brought.fingerprint, "alice", "bob"))).kind is Kind.NOT_FOUND
    await brought.renewed()
    await brought.world.once("former-revocations")
    assert await say_asked(brought.world.services) == 1
    assert capsys.readouterr().out.endswith(
        f"{brought.fingerprint}  old  serial {brought.serial:X}  superseded  WAITS\n"
    )
    assert (await refusal(verb.done(brought.fingerprint, "alice", "alice"))).kind is Kind.FORBIDDEN
    assert (await brought.row()).revoked_there_at is None
    await former_revocation(brought.world.services).done(brought.fingerprint, "alice", "bob")
    assert (await brought.row()).revoked_there_at == brought.world.clock.now()
    assert (await refusal(verb.done(brought.fingerprint, "alice", "bob"))).kind is Kind.CONFLICT
    (record,) = await brought.world.records(Event.CA_FORMER_REVOKED)
    assert '"approved_by":"bob"' in record["facts"]
    await say_asked(brought.world.services)
    assert "done on 2026-03-31" in capsys.readouterr().out
    assert (await brought.world.audit()).sound


async def test_a_ca_with_a_client_is_asked_until_it_has_said_yes_and_then_never_again(brought: Brought) -> None:
    await brought.renewed()
    client = Client([Ending.LATER, Ending.DONE])
    verb = brought.verb(client)
    await verb.once()
    assert (await brought.row()).revoked_there_at is None
    await verb.once()
    await verb.once()
    assert client.asked == [brought.der] * 2
    assert (await brought.row()).revoked_there_at == brought.world.clock.now()
    assert len(await brought.world.records(Event.CA_FORMER_REVOKED)) == 1


async def test_before_its_time_nobody_is_asked(brought: Brought) -> None:
    client = Client()
    await brought.verb(client).once()
    assert client.asked == []


@dataclass
class Stored(ImportedCertificateRepository):
    """Many that are due, without a database."""

    rows: list[ImportedCertificate]
    done_: set[Fingerprint] = field(default_factory=set)

    async def due_at(
        self, issuer: str, now: datetime, after: tuple[datetime, Fingerprint] | None, limit: int
    ) -> list[ImportedCertificate]:
        begin = 0 if after is None else 1 + [one.fingerprint for one in self.rows].index(after[1])
        return [one for one in self.rows[begin:] if one.fingerprint not in self.done_][:limit]

    async def done(
        self, fingerprint: Fingerprint, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        self.done_.add(fingerprint)
        return True


async def test_those_that_a_ca_keeps_refusing_do_not_keep_the_others_waiting(brought: Brought) -> None:
    first, now = await brought.row(), brought.world.clock.now()
    rows = [replace(first, fingerprint=Fingerprint(f"{n:064x}"), revoke_after=now) for n in range(ROUND + 2)]
    stored = Stored(rows)
    client = Client([Ending.LATER, Ending.DONE] * (ROUND // 2))
    verb = FormerRevocation(brought.world.services.ra.context, stored, {"old": client})
    await verb.once()
    assert len(stored.done_) == ROUND // 2
    await verb.once()
    assert rows[-1].fingerprint in stored.done_
    down = Client([Ending.LATER] * ROUND)
    await FormerRevocation(brought.world.services.ra.context, stored, {"old": down}).once()
    assert len(down.asked) == IN_A_ROW
