"""The bundle of the registration authority, built."""

from chopmark.app.foundation import Foundation
from chopmark.app.issuing_cas import CaServices
from chopmark.identity.people import People
from chopmark.identity.services import IdentityServices
from chopmark.ra.authentication import RequestAuthentication
from chopmark.ra.blocking import KeyBlocks
from chopmark.ra.certificate_import.run import CertificateImport
from chopmark.ra.context import RaContext
from chopmark.ra.customer_import.run import CustomerImport, rules_of
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.expiries import Expiries
from chopmark.ra.former_issuers import NO_FORMER_ISSUERS, FormerIssuers
from chopmark.ra.locks import CustomerLocks
from chopmark.ra.overview import CustomerQueries
from chopmark.ra.possession import Possession
from chopmark.ra.program import ProgramEnrolment
from chopmark.ra.rekey import Rekey
from chopmark.ra.reminders.own import CustomerReminders
from chopmark.ra.revocation import Revocation
from chopmark.ra.services import RaServices
from chopmark.ra.slips import SlipDesk
from chopmark.ra.stopping import StopDesk
from chopmark.ra.suspension import Suspension
from chopmark.stepup.verifier import Verifier
from chopmark.store.repositories.ra.certificate_import import CertificateImportRegistry
from chopmark.store.repositories.ra.credentials import CredentialRepository
from chopmark.store.repositories.ra.customer_import import SqlRegistry
from chopmark.store.repositories.ra.expiries import ExpiryRepository
from chopmark.store.repositories.ra.feed import FeedRepository
from chopmark.store.repositories.ra.idempotency import IdempotencyRepository
from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository
from chopmark.store.repositories.ra.orders import OrderRepository
from chopmark.store.repositories.ra.slips import SlipRepository
from chopmark.store.repositories.ra.snapshots import SnapshotRepository
from chopmark.store.repositories.ra.stops import StopRepository
from chopmark.store.repositories.ra.submissions import SubmissionRepository
from chopmark.store.repositories.ra.subscriber_certificates import SubscriberCertificateRepository
from chopmark.store.repositories.rate_limits import RateLimitRepository
from chopmark.store.repositories.reminders.own import OwnReminderRepository
from chopmark.store.repositories.reminders.queue import ReminderPreferenceRepository
from chopmark.store.repositories.staff.changes import StaffRepository
from chopmark.store.repositories.stepup.challenges import ChallengeRepository, FailureRepository


def ra_services(
    foundation: Foundation, identity: IdentityServices, ca: CaServices, former: FormerIssuers = NO_FORMER_ISSUERS
) -> RaServices:
    """Return the bundle over the people of `identity`, with `ca` as what certifies, and the firm's former issuers."""
    engine, audit_log, clock, entropy = foundation.engine, foundation.audit_log, foundation.clock, foundation.entropy
    settings, certifier = foundation.settings, ca.certifier
    context = _context(foundation, identity.people, former)
    challenges, failures, staff = ChallengeRepository(engine), FailureRepository(engine), StaffRepository(engine)
    verifier = Verifier(challenges, foundation.otp_keys, foundation.portal, audit_log, clock, entropy)
    rekey, revocation = Rekey(context, verifier, failures, certifier), Revocation(context, certifier)
    rules = rules_of(foundation.policy, settings.customer_import.percent, settings.customer_import.floor)
    return RaServices(
        context=context,
        verifier=verifier,
        challenges=challenges,
        authentication=RequestAuthentication(context),
        enrolment=Enrolment(context, programs=bool(settings.est.url)),
        rekey=rekey,
        possession=Possession(context),
        slips=SlipDesk(context, SlipRepository(engine), failures),
        program=ProgramEnrolment(context, rekey, CredentialRepository(engine)),
        revocation=revocation,
        stopping=StopDesk(context, StopRepository(engine)),
        suspension=Suspension(context, staff, None if ca.built_in is None else ca.built_in.issuer),
        key_blocks=KeyBlocks(context, staff, certifier, revocation),
        customer_queries=CustomerQueries(context, foundation.calendar, overlap=certifier.allows_overlap),
        locks=CustomerLocks(context, failures),
        customer_import=CustomerImport(SqlRegistry(engine), foundation.sealer, audit_log, clock, entropy, rules),
        certificate_import=CertificateImport(
            CertificateImportRegistry(engine),
            foundation.sealer,
            audit_log,
            clock,
            entropy,
            former,
            foundation.policy.profile,
        ),
        idempotency=IdempotencyRepository(engine),
        feed=FeedRepository(engine),
        own_reminders=CustomerReminders(
            context,
            foundation.reminders,
            foundation.calendar,
            OwnReminderRepository(engine),
            ReminderPreferenceRepository(engine),
        ),
        expiries=Expiries(ExpiryRepository(engine), foundation.calendar, foundation.policy.channels, clock),
    )


def _context(foundation: Foundation, people: People, former: FormerIssuers) -> RaContext:
    engine = foundation.engine
    return RaContext(
        OrderRepository(engine),
        SubscriberCertificateRepository(engine),
        people,
        RateLimitRepository(engine),
        foundation.audit_log,
        foundation.policy,
        foundation.portal,
        foundation.clock,
        foundation.entropy,
        SnapshotRepository(engine),
        SubmissionRepository(engine),
        foundation.journal,
        former,
        ImportedCertificateRepository(engine),
    )
