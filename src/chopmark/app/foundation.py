"""The composition root: reads clock and randomness, opens the secrets, builds the object graph once."""

import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from chopmark.app import issuing_cas as authorities
from chopmark.app.certifying import WithBuiltIn
from chopmark.app.doorway import doorway
from chopmark.app.external_ca import ExternalFault, Means, certifier_of
from chopmark.app.gateways import GatewayUnfit, channels_of, gateways_of
from chopmark.app.issuing_cas import Ca
from chopmark.app.machine import SystemMachine
from chopmark.app.secrets import NotReady, head_signer_of, key_of, open_secrets, otp_keys_of, shares_of, write_private
from chopmark.app.settings import Settings
from chopmark.app.timestamping import Stamps, open_stamps
from chopmark.audit.clockwatch import ClockWatch, Machine
from chopmark.audit.headfile import HeadFile
from chopmark.audit.headkey import FileHeadSigner
from chopmark.audit.journal import JournalKey
from chopmark.audit.journalfile import JournalFolder
from chopmark.audit.journaling import Journal
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey, AuditKeys
from chopmark.audit.restorewatch import LOOK_EVERY_S, RestoreWatch
from chopmark.ca.approval import Approvals, ApprovalTerms
from chopmark.ca.ports import Issuer
from chopmark.ca.shipped import profile_named
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret
from chopmark.identity.launching import LaunchTickets
from chopmark.identity.password import PasswordGate
from chopmark.identity.people import People
from chopmark.identity.sealed import Sealer, SealKey
from chopmark.identity.sessions import SessionService
from chopmark.jobs.cleanup import CleanUp
from chopmark.jobs.clock import ClockNote, unless_in_doubt
from chopmark.jobs.deliver import Carrier, Delivery, lanes
from chopmark.jobs.journal import JournalCheck, unless_behind
from chopmark.jobs.loop import Task
from chopmark.jobs.resume import Resume
from chopmark.jobs.revoke import BATCH as ENDINGS
from chopmark.jobs.revoke import Endings
from chopmark.jobs.sequence import sequence
from chopmark.jobs.watch import watch
from chopmark.keys.keyring import Keyring
from chopmark.keys.ports import KeyAlgorithm
from chopmark.keys.shares import Shares
from chopmark.messaging.failover import Router
from chopmark.messaging.templates import Sender
from chopmark.ra.blocking import KeyBlocks
from chopmark.ra.context import RaContext
from chopmark.ra.customer_import.run import CustomerImport, rules_of
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.locks import CustomerLocks
from chopmark.ra.overview import CustomerQueries
from chopmark.ra.policy import PRESETS, Policy
from chopmark.ra.program import ProgramEnrolment
from chopmark.ra.reentry import Reentry, Verbs
from chopmark.ra.rekey import Rekey
from chopmark.ra.revocation import Revocation
from chopmark.ra.suspension import Suspension
from chopmark.stepup.derive import OtpKeys
from chopmark.stepup.verifier import Verifier
from chopmark.store.engine.opening import make_current, open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.audit.journaled import JournaledRepository
from chopmark.store.repositories.audit.log import AuditRepository
from chopmark.store.repositories.ca.certificates import CertificateRepository, StatusRepository
from chopmark.store.repositories.ca.external import RequestRepository
from chopmark.store.repositories.identity.customers import CustomerRepository
from chopmark.store.repositories.installation import Installation
from chopmark.store.repositories.limits import RateLimitRepository
from chopmark.store.repositories.lives import RetentionRepository
from chopmark.store.repositories.messaging.dispatch import DispatchRepository
from chopmark.store.repositories.messaging.inbox import InboxRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository
from chopmark.store.repositories.ra.credentials import CredentialRepository
from chopmark.store.repositories.ra.customer_import import SqlRegistry
from chopmark.store.repositories.ra.files import SnapshotRepository
from chopmark.store.repositories.ra.holdings import SubscriberCertificateRepository
from chopmark.store.repositories.ra.idempotency import IdempotencyRepository
from chopmark.store.repositories.ra.orders import OrderRepository
from chopmark.store.repositories.ra.reentry import ReentryRepository
from chopmark.store.repositories.ra.submissions import SubmissionRepository
from chopmark.store.repositories.staff.changes import StaffRepository
from chopmark.store.repositories.stepup.challenges import ChallengeRepository, FailureRepository
from chopmark.store.repositories.va.presigned import Presigned
from chopmark.web.brand import DEMO_BRAND, Brand, load_brand

DELIVERY_LANES = 3
"""A gateway that hangs keeps one lane busy; the others go on."""
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


@dataclass(frozen=True, slots=True)
class House(WithBuiltIn):
    """Everything that a door or a job needs, built once."""

    settings: Settings
    policy: Policy
    portal: str
    brand: Brand
    engine: Engine
    clock: Clock
    clockwatch: ClockWatch
    entropy: Entropy
    installation: Installation
    audit_log: AuditLog
    ledger: AuditRepository
    audit_key: AuditKey
    head_signer: FileHeadSigner
    heads: HeadFile
    journal: Journal
    restorewatch: RestoreWatch
    people: People
    gate: PasswordGate
    records: CustomerRepository
    session_service: SessionService
    launches: LaunchTickets
    context: RaContext
    verifier: Verifier
    challenges: ChallengeRepository
    works: OutboxRepository
    certifier: Issuer
    approvals: Approvals
    built_in: Ca | None
    earlier: tuple[Ca, ...]
    requests: RequestRepository
    stamps: Stamps
    status: StatusRepository
    enrolment: Enrolment
    rekey: Rekey
    program: ProgramEnrolment
    revocation: Revocation
    suspension: Suspension
    key_blocks: KeyBlocks
    customer_queries: CustomerQueries
    holds: CustomerLocks
    customer_import: CustomerImport
    inbox: InboxRepository
    idempotency: IdempotencyRepository
    router: Router
    keyring: Keyring

    async def close(self) -> None:
        """End what was opened."""
        await self.idempotency.stored()
        await self.router.close()
        self.gate.close()
        self.keyring.close()
        await self.engine.close()


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
    ledger: AuditRepository
    audit_log: AuditLog
    certificates: CertificateRepository
    status: StatusRepository
    keyring: Keyring
    clock: Clock
    entropy: Entropy
    approvals: Approvals
    heads: HeadFile
    journal: Journal
    restorewatch: RestoreWatch


async def _open(settings: Settings) -> Engine:
    return await open_engine(settings.database_url, pool=settings.pool)


async def _ground(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = _open, shares: Shares | None = None
) -> _Ground:
    """Open the database and the secrets; all nodes must hold the same code key."""
    brand = DEMO_BRAND if settings.brand is None else load_brand(settings.brand)
    preset = PRESETS[settings.policy]
    reached = tuple(channel for channel in preset.channels if channel in channels_of(settings))
    policy = replace(preset, code_digits=settings.code_digits, profile=settings.profile, channels=reached)
    engine = await opening(settings)
    installation = Installation(engine)
    audit_key = AuditKey("audit-1", key_of(settings, "audit_key"))
    ledger, certificates = AuditRepository(engine), CertificateRepository(engine)
    audit_log = AuditLog(ledger, audit_key, clock)
    terms = ApprovalTerms(AuditKeys([audit_key]), policy.approval_life, policy.replace_delay)
    heads, folder = HeadFile(settings.outside / "heads.jsonl"), JournalFolder(settings.outside, settings.node)
    journal_key = JournalKey(audit_key.secret, key_of(settings, "data_key"))
    watch = RestoreWatch(ledger, heads, folder, journal_key, JournaledRepository(engine), clock)
    return _Ground(
        settings=settings,
        brand=brand,
        policy=policy,
        engine=engine,
        installation=installation,
        portal=await installation.remember("portal", entropy.token(8).hex()),
        otp_keys=await otp_keys_of(settings, installation),
        audit_key=audit_key,
        sealer=Sealer(SealKey("data-1", key_of(settings, "data_key")), key_of(settings, "lookup_key")),
        ledger=ledger,
        audit_log=audit_log,
        certificates=certificates,
        status=StatusRepository(engine),
        keyring=Keyring(
            Secret(settings.ca_passphrase.get_secret_value()), settings.device, clock, shares or shares_of(settings)
        ),
        clock=clock,
        entropy=entropy,
        approvals=Approvals(terms, certificates, RateLimitRepository(engine), audit_log, clock),
        heads=heads,
        journal=Journal(folder, journal_key, lambda: watch.behind, clock, entropy),
        restorewatch=watch,
    )


@asynccontextmanager
async def founding(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = _open, shares: Shares | None = None
) -> AsyncIterator[authorities.Means]:
    """Give what it takes to found a CA over a database whose schema is current, and close it afterwards.

    `shares` are the operators', where they have been asked for; otherwise those of the secrets.
    """
    settings = open_secrets(settings, SystemEntropy(), shared=shares is not None, founds=True)
    ground = await _ground(settings, clock, entropy, opening, shares)
    try:
        yield _means(ground)
    finally:
        ground.keyring.close()
        await ground.engine.close()


async def found_ca(
    settings: Settings, clock: Clock, entropy: Entropy, algorithm: KeyAlgorithm = KeyAlgorithm.P256
) -> bool:
    """Found the built-in CA under one pass-phrase, once; False when there is a CA already.

    The root key is left in the data directory, encrypted: the operator moves it to a safe.
    """
    async with founding(settings, clock, entropy) as means:
        if await means.certificates.issuers():
            return False
        founded = authorities.found(means, algorithm)
        folder = settings.data / "ca"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(folder / "root.key.pem", founded.root_key_pem)
        (folder / "root.cer").write_bytes(founded.taken.row.chain[-1])
        return await authorities.take_in(means, founded.taken)


def _means(ground: _Ground) -> authorities.Means:
    return authorities.Means(
        ground.settings,
        ground.brand,
        ground.certificates,
        ground.status,
        ground.audit_log,
        ground.keyring,
        ground.clock,
        ground.entropy,
        Presigned(ground.engine),
        ground.approvals,
        ground.journal,
        ground.restorewatch,
    )


async def _cas(ground: _Ground) -> tuple[Ca | None, tuple[Ca, ...]]:
    """Open the installation's CAs, the one that issues first; None when another certifies and there never was one.

    Raises NotReady.
    """
    if ground.settings.issuer != "embedded" and not await ground.certificates.issuers():
        return None, ()
    try:
        return await authorities.open_all(_means(ground))
    except authorities.Unopened as error:
        raise NotReady(str(error)) from error


async def build(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = _open, machine: Machine | None = None
) -> House:
    """Return the object graph over a database that is current; without `machine` time is made up. Raises NotReady."""
    settings = open_secrets(settings, SystemEntropy())
    ground = await _ground(settings, clock, entropy, opening)
    try:
        issuing, earlier = await _cas(ground)
        return await _house(ground, issuing, earlier, ClockWatch(clock, machine, await ground.ledger.newest_time()))
    except BaseException as error:
        await ground.engine.close()
        if isinstance(error, ExternalFault | GatewayUnfit):
            raise NotReady(str(error)) from error
        raise


def _context(ground: _Ground, people: People) -> RaContext:
    engine, clock, entropy = ground.engine, ground.clock, ground.entropy
    orders, holdings = OrderRepository(engine), SubscriberCertificateRepository(engine)
    rate_limits, snapshots, submissions = (
        RateLimitRepository(engine),
        SnapshotRepository(engine),
        SubmissionRepository(engine),
    )
    policy, portal, journal = ground.policy, ground.portal, ground.journal
    return RaContext(
        orders,
        holdings,
        people,
        rate_limits,
        ground.audit_log,
        policy,
        portal,
        clock,
        entropy,
        snapshots,
        submissions,
        journal,
    )


async def _house(ground: _Ground, built_in: Ca | None, earlier: tuple[Ca, ...], watch: ClockWatch) -> House:
    engine, audit_log, clock, entropy = ground.engine, ground.audit_log, ground.clock, ground.entropy
    few = ground.settings.import_percent, ground.settings.import_floor
    people = People(records := CustomerRepository(engine), ground.sealer)
    way = doorway(engine, people, audit_log, clock, entropy, key_of(ground.settings, "csrf_key"))
    context = _context(ground, people)
    challenges, failures, requests = ChallengeRepository(engine), FailureRepository(engine), RequestRepository(engine)
    verifier = Verifier(challenges, ground.otp_keys, ground.portal, audit_log, clock, entropy)
    head_signer, inbox, staff = head_signer_of(ground.settings), InboxRepository(engine), StaffRepository(engine)
    profile, means = (
        profile_named(ground.settings.profile),
        Means(requests, audit_log, clock, entropy, ground.approvals),
    )
    own = None if built_in is None else built_in.issuer
    line = tuple(ca.authority for ca in (built_in, *earlier) if ca is not None)
    certifier = certifier_of(ground.settings, own, profile, authorities.constants(ground.brand), means)
    rekey, revocation = Rekey(context, verifier, failures, certifier), Revocation(context, certifier)
    return House(
        settings=ground.settings,
        policy=ground.policy,
        portal=ground.portal,
        brand=ground.brand,
        engine=engine,
        clock=clock,
        clockwatch=watch,
        entropy=entropy,
        installation=ground.installation,
        audit_log=audit_log,
        ledger=ground.ledger,
        audit_key=ground.audit_key,
        head_signer=head_signer,
        heads=ground.heads,
        journal=ground.journal,
        restorewatch=ground.restorewatch,
        people=people,
        gate=way.gate,
        records=records,
        session_service=way.session_service,
        launches=way.launches,
        context=context,
        verifier=verifier,
        challenges=challenges,
        works=OutboxRepository(engine),
        certifier=certifier,
        approvals=ground.approvals,
        built_in=built_in,
        earlier=earlier,
        requests=requests,
        stamps=open_stamps(ground, line, ground.heads, head_signer.public_key, watch.trouble),
        status=ground.status,
        enrolment=Enrolment(context, programs=bool(ground.settings.est_url)),
        rekey=rekey,
        program=ProgramEnrolment(context, rekey, CredentialRepository(engine)),
        revocation=revocation,
        suspension=Suspension(context, staff, own),
        key_blocks=KeyBlocks(context, staff, certifier, revocation),
        customer_queries=CustomerQueries(context, overlap=certifier.allows_overlap),
        holds=CustomerLocks(context, failures),
        customer_import=CustomerImport(
            SqlRegistry(engine), ground.sealer, audit_log, clock, entropy, rules_of(ground.policy, *few)
        ),
        inbox=inbox,
        idempotency=IdempotencyRepository(engine),
        router=Router(gateways_of(ground.settings, ground.brand, inbox)),
        keyring=ground.keyring,
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """Give the house of these settings and close it afterwards; the schema is brought up to date first."""
    if not settings.database:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    await make_current(settings.database_url)
    house = await build(settings, SystemClock(), SystemEntropy(), machine=SystemMachine(settings.kernel_keeps_clock))
    try:
        await house.restorewatch.look()
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
            DispatchRepository(house.engine),
            house.verifier,
            house.people,
            Carrier(house.router, sender),
            house.audit_log,
            house.clock,
            f"{holder}-{lane}",
        )

    context = house.context
    resume = Resume(context.orders, context.submissions, house.rekey, house.enrolment, house.policy, house.clock)
    endings = Endings(house.works, house.revocation, house.suspension, house.clock, holder)

    for_each_ca = partial(authorities.for_each_living, house.cas, house.clock)
    clean_up = CleanUp(RetentionRepository(house.engine), house.clock, holder)
    journal = JournalCheck(house.restorewatch, reentry_of(house).redo)
    sequenced = partial(sequence, house.ledger, house.head_signer, house.heads, house.clock, holder)
    every = (
        Task("clock", ClockNote(house.clockwatch.trouble, house.installation, house.settings.node).once, 10.0),
        *lanes([delivery(lane) for lane in range(DELIVERY_LANES)], house.works.wait),
        Task("revoke", endings.once, 1.0, house.works.wait_for_endings, full=ENDINGS, pause_s=0.5),
        Task("resume", resume.orders, 5.0),
        Task("overdue", unless_in_doubt("overdue", resume.overdue, house.clockwatch.trouble), 60.0),
        Task("clean-up", unless_in_doubt("clean-up", clean_up.once, house.clockwatch.trouble), 300.0),
        Task("responder", lambda: for_each_ca(lambda ca: ca.renewal.renew_due()), 60.0),
        Task("watch", lambda: for_each_ca(lambda ca: watch(ca.watch)), 86400.0),
        Task("presign", lambda: for_each_ca(lambda ca: ca.presigner.sign_due()), 60.0),
        Task("publish", lambda: for_each_ca(lambda ca: ca.publisher.publish_due()), 2.0, house.status.wait, None, 1.0),
        Task("sequence", sequenced, 1.0, full=None),
        *house.stamps.tasks(holder),
        Task("journal", journal.once, LOOK_EVERY_S),
    )
    return unless_behind(every, house.restorewatch)


def reentry_of(house: House) -> Reentry:
    """Return what enters again what the journal has and the database lacks."""
    verbs = Verbs(house.context, house.rekey, house.enrolment)
    engine = house.engine
    records, states = ReentryRepository(engine), JournaledRepository(engine)
    return Reentry(house.restorewatch.lines, records, states, CertificateRepository(engine), house.audit_log, verbs)
