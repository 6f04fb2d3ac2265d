"""The composition root: reads clock and randomness, opens the secrets, builds the object graph once."""

import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from chopmark.audit.events import Event
from chopmark.audit.headfile import HeadFile
from chopmark.audit.headkey import FileHeadSigner, create_head_key
from chopmark.audit.leaf import AuditKey, system_chain
from chopmark.audit.recorder import Pen, Recorder
from chopmark.audit.sequencer import MOST_LEAVES
from chopmark.ca.embedded import Authority, Blueprint, EmbeddedIssuer
from chopmark.clock import Clock, Entropy
from chopmark.gateways import channels_of, gateways_of
from chopmark.identity.launching import LaunchDesk
from chopmark.identity.password import PasswordGate, hash_password
from chopmark.identity.people import People
from chopmark.identity.sealed import Sealer, SealKey
from chopmark.identity.sessions import Door
from chopmark.jobs.deliver import Carrier, Delivery
from chopmark.jobs.loop import Task
from chopmark.jobs.resume import Resume
from chopmark.jobs.revoke import Endings
from chopmark.jobs.sequence import sequence
from chopmark.keys.keyring import Keyring, NoDevice
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import profile as profiles
from chopmark.pki.publication import ROOT, Publication
from chopmark.pki.x509 import IssuerView, not_after, spki_der
from chopmark.post.failover import Router
from chopmark.post.templates import Sender
from chopmark.ra.blocking import KeyBlocks
from chopmark.ra.desk import Desk
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.holds import Holds
from chopmark.ra.intake import Intake
from chopmark.ra.overview import Counter
from chopmark.ra.policy import PRESETS, Policy
from chopmark.ra.rekey import Rekey
from chopmark.ra.revocation import Revocation
from chopmark.ra.suspension import Suspension
from chopmark.settings import Settings
from chopmark.stepup.derive import OtpKey, OtpKeys
from chopmark.stepup.verifier import Verifier
from chopmark.store.audit import AuditLedger
from chopmark.store.ca import CertificateLedger, StatusLedger
from chopmark.store.engine import Engine
from chopmark.store.holdings import HoldingLedger
from chopmark.store.idempotency import IdempotencyLedger
from chopmark.store.identity import LaunchLedger, RecordLedger, SessionLedger
from chopmark.store.inbox import InboxLedger
from chopmark.store.installation import Installation
from chopmark.store.limits import CounterLedger
from chopmark.store.opening import is_current, open_engine
from chopmark.store.post import WorkLedger
from chopmark.store.ra import OrderLedger
from chopmark.store.registry import SqlRegistry
from chopmark.store.staff import StaffLedger
from chopmark.store.stepup import ChallengeLedger, FailureLedger
from chopmark.va.ports import Crl
from chopmark.va.publisher import Publisher
from chopmark.va.renewal import ResponderRenewal
from chopmark.va.responder import Responder, ResponderKey
from chopmark.web.brand import DEMO_BRAND, Brand, load_brand
from chopmark.words import IssuerId, Secret

ISSUER = IssuerId("investor")
DELIVERY_LANES = 3
"""A gateway that hangs keeps one lane busy; the others go on."""
SECRET_NAMES = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase")


Opening: TypeAlias = Callable[[Settings], Awaitable[Engine]]


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment, UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """The operating system's generator."""

    def token(self, size: int) -> bytes:
        """Return `size` random bytes."""
        return secrets.token_bytes(size)


class NotReady(Exception):
    """The installation cannot start; the text says what to do."""


@dataclass(frozen=True, slots=True)
class House:
    """Everything that a door or a job needs, built once."""

    settings: Settings
    policy: Policy
    portal: str
    brand: Brand
    engine: Engine
    clock: Clock
    entropy: Entropy
    installation: Installation
    recorder: Recorder
    ledger: AuditLedger
    audit_key: AuditKey
    head_signer: FileHeadSigner
    heads: HeadFile
    people: People
    gate: PasswordGate
    records: RecordLedger
    door: Door
    launches: LaunchDesk
    desk: Desk
    verifier: Verifier
    challenges: ChallengeLedger
    works: WorkLedger
    issuer: EmbeddedIssuer
    authority: Authority
    responder: Responder
    publisher: Publisher
    renewal: ResponderRenewal
    status: StatusLedger
    enrolment: Enrolment
    rekey: Rekey
    revocation: Revocation
    suspension: Suspension
    key_blocks: KeyBlocks
    counter: Counter
    holds: Holds
    intake: Intake
    inbox: InboxLedger
    idempotency: IdempotencyLedger
    router: Router
    keyring: Keyring

    async def close(self) -> None:
        """End what was opened."""
        self.gate.close()
        self.keyring.close()
        await self.engine.close()


def open_secrets(settings: Settings) -> Settings:
    """Return the settings with every secret set; demo mode makes missing ones in the data directory."""
    missing = [name for name in SECRET_NAMES if not getattr(settings, name).get_secret_value()]
    if not missing:
        return settings
    if settings.mode != "demo":
        raise NotReady(
            f"these secrets are not set: {', '.join(missing)}. Put each into a file of that name in a directory, "
            "32 random bytes in hexadecimal, and name it in CHOPMARK_SECRETS_DIR."
        )
    folder = settings.data / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    values: dict[str, str] = {}
    for name in missing:
        file = folder / name
        if not file.exists():
            write_private(file, secrets.token_hex(32).encode())
        values[name] = file.read_text()
    return Settings.model_validate({**settings.model_dump(), **values})


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def _key(settings: Settings, name: str) -> bytes:
    return bytes.fromhex(getattr(settings, name).get_secret_value())


def profile_text(name: str) -> str:
    """Return a shipped profile's TOML."""
    return (resources.files("chopmark.ca") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything else stands on: the database, the secrets as working values, the installation's identity."""

    settings: Settings
    brand: Brand
    policy: Policy
    engine: Engine
    installation: Installation
    portal: str
    otp_keys: OtpKeys
    audit_key: AuditKey
    sealer: Sealer
    ledger: AuditLedger
    recorder: Recorder
    certificates: CertificateLedger
    status: StatusLedger
    keyring: Keyring
    clock: Clock
    entropy: Entropy


async def _open(settings: Settings) -> Engine:
    return await open_engine(settings.database_url, pool=settings.pool)


async def _otp_keys(settings: Settings, installation: Installation) -> OtpKeys:
    """Return the code keys; every node must hold the one on record, or have it as the previous one (rotation)."""
    current = OtpKey.named(_key(settings, "otp_key"))
    previous = None
    if settings.otp_key_previous.get_secret_value():
        previous = OtpKey.named(_key(settings, "otp_key_previous"))
    agreed = await installation.remember("otp_key", current.check_value())
    if agreed != current.check_value() and previous is not None and agreed == previous.check_value():
        agreed = await installation.replace("otp_key", agreed, current.check_value())
    if agreed != current.check_value():
        raise NotReady("this node's otp_key is not the one that the other nodes use")
    return OtpKeys(current, previous)


async def _ground(settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = _open) -> _Ground:
    """Open the database and the secrets; all nodes must hold the same code key."""
    brand = DEMO_BRAND if settings.brand is None else load_brand(settings.brand)
    preset = PRESETS[settings.policy]
    reached = tuple(channel for channel in preset.channels if channel in channels_of(settings))
    policy = replace(preset, code_digits=settings.code_digits, profile=settings.profile, channels=reached)
    engine = await opening(settings)
    installation = Installation(engine)
    otp_keys = await _otp_keys(settings, installation)
    audit_key = AuditKey("audit-1", _key(settings, "audit_key"))
    ledger = AuditLedger(engine)
    return _Ground(
        settings=settings,
        brand=brand,
        policy=policy,
        engine=engine,
        installation=installation,
        portal=await installation.remember("portal", entropy.token(8).hex()),
        otp_keys=otp_keys,
        audit_key=audit_key,
        sealer=Sealer(SealKey("data-1", _key(settings, "data_key")), _key(settings, "lookup_key")),
        ledger=ledger,
        recorder=Recorder(ledger, audit_key, clock),
        certificates=CertificateLedger(engine),
        status=StatusLedger(engine),
        keyring=Keyring(Secret(settings.ca_passphrase.get_secret_value()), settings.device, clock),
        clock=clock,
        entropy=entropy,
    )


async def found_ca(settings: Settings, clock: Clock, entropy: Entropy) -> bool:
    """Hold the ceremony of the built-in CA, once; False when there is one already.

    The root key is left in the data directory, encrypted: the operator moves it to a safe.
    """
    ground = await _ground(open_secrets(settings), clock, entropy)
    try:
        if await ground.certificates.issuers():
            return False
        await _found(ground)
        return True
    finally:
        ground.keyring.close()
        await ground.engine.close()


async def _found(ground: _Ground) -> None:
    from chopmark.ca import ceremony  # noqa: PLC0415

    settings, brand, now = ground.settings, ground.brand, ground.clock.now()
    kind = " Demo" if settings.mode == "demo" else ""
    names = ceremony.Names(brand.firm.en, f"{brand.firm.en}{kind} CA", brand.ca_name.zh)
    passphrase = Secret(settings.ca_passphrase.get_secret_value())
    publication = Publication(settings.publication_url)
    held = None
    if settings.signer == "pkcs11":
        labels = f"chopmark-{ISSUER}", f"chopmark-{ISSUER}-ocsp"
        held = ceremony.HeldKeys(*(ceremony.HeldKey(*ground.keyring.hold(x, KeyAlgorithm.P256)) for x in labels))
    founded = ceremony.found(ISSUER, names, passphrase, publication, now, ground.entropy, held)
    folder = settings.data / "ca"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(folder / "root.key.pem", founded.root_key_pem)
    (folder / "root.cer").write_bytes(founded.root_certificate)

    async def add(pen: Pen) -> bool:
        leaf = pen.leaf(Event.CA_CEREMONY_DONE, issuer=ISSUER)
        return await ground.certificates.add_issuer(founded.issuer, now, leaf)

    async def publish(pen: Pen) -> bool:
        leaf = pen.leaf(Event.VA_CRL_PUBLISHED, issuer=ROOT, crl_number=1)
        crl = Crl(1, founded.root_crl, founded.crl_this_update, founded.crl_next_update, 0)
        return await ground.status.publish(ROOT, 0, crl, leaf)

    await ground.recorder.write(system_chain("ca"), add)
    await ground.recorder.write(system_chain("ca"), publish)


@dataclass(frozen=True, slots=True)
class _Ca:
    """The CA and the status services, opened."""

    authority: Authority
    issuer: EmbeddedIssuer
    responder: Responder
    publisher: Publisher
    renewal: ResponderRenewal


async def _ca(ground: _Ground) -> _Ca:
    """Open the installation's CA. Raises NotReady when there is none."""
    rows = await ground.certificates.issuers()
    if not rows:
        raise NotReady("there is no CA yet: run `chopmark ca init`")
    row, settings = rows[0], ground.settings
    view = IssuerView.read(row.id, row.certificate)
    try:
        signer = ground.keyring.open(row.key_pem, view.spki_der)
        responder_signer = ground.keyring.open(row.responder_key_pem, spki_der(row.responder_certificate))
    except NoDevice as error:
        raise NotReady(str(error)) from error
    authority = Authority(view, row.chain, signer, row.name)
    profile = profiles.load(profile_text(settings.profile))
    publication = Publication(settings.publication_url)
    blueprint = Blueprint(
        {profile.name: profile},
        {"firm": ground.brand.firm.en, "unit": "Investors", "ra": "RA-Chopmark"},
        publication,
        settings.node,
    )
    issuer = EmbeddedIssuer(authority, blueprint, ground.certificates, ground.recorder, ground.clock, ground.entropy)
    key = ResponderKey(view, row.responder_certificate, responder_signer, not_after(row.responder_certificate))
    publisher = Publisher(
        view, authority.signer, profile.shards, publication, ground.status, ground.recorder, ground.clock
    )
    renewal = ResponderRenewal(
        view, row.chain, signer, settings.node, ground.status, ground.recorder, ground.clock, ground.entropy
    )
    return _Ca(authority, issuer, Responder(key, ground.status, ground.clock), publisher, renewal)


async def build(settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = _open) -> House:
    """Return the object graph over a database whose schema is current; `opening` gives the engine. Raises NotReady."""
    settings = open_secrets(settings)
    ground = await _ground(settings, clock, entropy, opening)
    try:
        return await _house(ground, await _ca(ground))
    except BaseException:
        await ground.engine.close()
        raise


async def _house(ground: _Ground, ca: _Ca) -> House:
    engine, recorder, clock, entropy = ground.engine, ground.recorder, ground.clock, ground.entropy
    records, counters = RecordLedger(engine), CounterLedger(engine)
    people = People(records, ground.sealer)
    gate = PasswordGate(hash_password(Secret(entropy.token(16).hex()), entropy.token(16)))
    door = Door(people, records, SessionLedger(engine), counters, gate, recorder, clock, entropy)
    orders, holdings = OrderLedger(engine), HoldingLedger(engine)
    desk = Desk(orders, holdings, people, counters, recorder, ground.policy, ground.portal, clock, entropy)
    revocation, staff = Revocation(desk, ca.issuer), StaffLedger(engine)
    challenges, failures = ChallengeLedger(engine), FailureLedger(engine)
    verifier = Verifier(challenges, ground.otp_keys, ground.portal, recorder, clock, entropy)
    inbox = InboxLedger(engine)
    return House(
        settings=ground.settings,
        policy=ground.policy,
        portal=ground.portal,
        brand=ground.brand,
        engine=engine,
        clock=clock,
        entropy=entropy,
        installation=ground.installation,
        recorder=recorder,
        ledger=ground.ledger,
        audit_key=ground.audit_key,
        head_signer=_head_signer(ground.settings),
        heads=HeadFile(ground.settings.data / "heads.jsonl"),
        people=people,
        gate=gate,
        records=records,
        door=door,
        launches=LaunchDesk(LaunchLedger(engine), records, people, door, recorder, clock, entropy),
        desk=desk,
        verifier=verifier,
        challenges=challenges,
        works=WorkLedger(engine),
        issuer=ca.issuer,
        authority=ca.authority,
        responder=ca.responder,
        publisher=ca.publisher,
        renewal=ca.renewal,
        status=ground.status,
        enrolment=Enrolment(desk),
        rekey=Rekey(desk, verifier, failures, ca.issuer),
        revocation=revocation,
        suspension=Suspension(desk, staff, ca.issuer),
        key_blocks=KeyBlocks(desk, staff, ca.issuer, revocation),
        counter=Counter(desk, verifier),
        holds=Holds(desk, failures),
        intake=Intake(
            SqlRegistry(engine), ground.sealer, ground.audit_key, clock, entropy, ground.policy.contact_cooldown
        ),
        inbox=inbox,
        idempotency=IdempotencyLedger(engine),
        router=Router(gateways_of(ground.settings, ground.brand, inbox)),
        keyring=ground.keyring,
    )


def _head_signer(settings: Settings) -> FileHeadSigner:
    path = settings.data / "audit-head.key.pem"
    if not path.exists():
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, create_head_key())
    return FileHeadSigner.open(path.read_bytes())


async def make_current(url: str) -> None:
    """Bring the schema up to this release; alembic is loaded only when there is something to do."""
    if await is_current(url):
        return
    from chopmark.store import db  # noqa: PLC0415

    await db.upgrade(url)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """Give the house of these settings and close it afterwards; the schema is brought up to date first."""
    if not settings.database:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    await make_current(settings.database_url)
    house = await build(settings, SystemClock(), SystemEntropy())
    try:
        yield house
    finally:
        await house.close()


def tasks(house: House) -> tuple[Task, ...]:
    """Return the worker's jobs. Each is idempotent; any number of workers may run them."""
    holder = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    sender = Sender(house.brand.firm.zh, house.brand.firm.en, house.brand.hotline.zh)

    def delivery(lane: int) -> Delivery:
        return Delivery(
            house.works,
            house.challenges,
            house.verifier,
            house.people,
            Carrier(house.router, sender),
            house.recorder,
            house.clock,
            f"{holder}-{lane}",
        )

    resume = Resume(house.desk.orders, house.rekey, house.enrolment, house.policy, house.clock)
    endings = Endings(house.works, house.revocation, house.suspension, house.clock, holder)

    async def sequenced() -> int:
        placed = await sequence(house.ledger, house.head_signer, house.heads, house.clock, holder)
        return placed if placed >= MOST_LEAVES else 0

    async def leaves(timeout_s: float) -> bool:
        return await house.engine.wait("leaves", timeout_s)

    return (
        *(Task(f"deliver-{lane}", delivery(lane).once, 0.5, house.works.wait) for lane in range(DELIVERY_LANES)),
        Task("revoke", endings.once, 1.0, house.works.wait),
        Task("resume", resume.orders, 5.0),
        Task("overdue", resume.overdue, 60.0),
        Task("responder", house.renewal.renew_due, 3600.0),
        Task("publish", house.publisher.publish_due, 2.0, house.status.wait),
        Task("sequence", sequenced, 0.5, leaves),
    )
