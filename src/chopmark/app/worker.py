"""The worker: its jobs with their intervals, and its process."""

import asyncio
import signal
import socket
from functools import partial

from chopmark.app import issuing_cas
from chopmark.app.foundation import SystemEntropy
from chopmark.app.messaging import sender_of
from chopmark.app.operators import alarm_tasks, tellers_of
from chopmark.app.services import Services, opened
from chopmark.app.settings import Settings
from chopmark.app.webhooks import webhook_tasks
from chopmark.audit.restorewatch import LOOK_EVERY_S
from chopmark.jobs import loop
from chopmark.jobs.cleanup import CleanUp
from chopmark.jobs.clock import ClockNote, unless_in_doubt
from chopmark.jobs.deliver import Carrier, Delivery, lanes
from chopmark.jobs.journal import JournalCheck, unless_behind
from chopmark.jobs.loop import Task
from chopmark.jobs.remind import BATCH as REMINDED
from chopmark.jobs.remind import EVERY_S, Reminding
from chopmark.jobs.resume import Resume
from chopmark.jobs.revoke import BATCH as ENDINGS
from chopmark.jobs.revoke import Endings
from chopmark.jobs.sequence import sequence
from chopmark.jobs.watch import watch
from chopmark.messaging.templates import Sender
from chopmark.ra.former_revocation import FormerRevocation
from chopmark.ra.former_watch import BATCH as LISTED_BATCH
from chopmark.ra.former_watch import FormerWatch
from chopmark.ra.policy import renewal_opens
from chopmark.ra.policy_record import record_policy
from chopmark.ra.reentry import Reentry, Verbs
from chopmark.ra.reminders.planning import ReminderPlanning
from chopmark.ra.reminders.ports import ReminderRules
from chopmark.store.repositories.audit.journal import JournaledRepository
from chopmark.store.repositories.ca.certificates import CertificateRepository
from chopmark.store.repositories.failing import FailingJobs
from chopmark.store.repositories.messaging.dispatch import DispatchRepository
from chopmark.store.repositories.ra.imported_certificates import ImportedCertificateRepository
from chopmark.store.repositories.ra.reentry import ReentryRepository
from chopmark.store.repositories.reminders.plans import ReminderPlanRepository
from chopmark.store.repositories.reminders.queue import ReminderQueueRepository
from chopmark.store.repositories.retention import RetentionRepository
from chopmark.va.former.lists import ListRefresh

DELIVERY_LANES = 3
"""A gateway that hangs blocks one delivery task; the others continue."""


def tasks(services: Services) -> tuple[Task, ...]:
    """Return the worker's jobs. Each is idempotent; any number of workers may run them."""
    foundation, trouble = services.foundation, services.audit.clockwatch.trouble
    holder = f"{socket.gethostname()}-{SystemEntropy().token(4).hex()}"
    journal = JournalCheck(foundation.restorewatch, reentry_of(services).redo)
    every = (
        Task("clock", ClockNote(trouble, foundation.installation, foundation.settings.node).once, 10.0),
        *_of_messages(services, holder),
        *_of_reminders(services, holder),
        *_of_orders(services, holder),
        *_of_cas(services),
        *_of_former_issuers(services, holder),
        *_of_audit(services, holder),
        Task("journal", journal.once, LOOK_EVERY_S),
    )
    return unless_behind(every, foundation.restorewatch)


def _of_messages(services: Services, holder: str) -> tuple[Task, ...]:
    foundation, outbox = services.foundation, services.messaging.outbox
    firm = foundation.brand.firm
    carrier = Carrier(services.messaging.router, Sender(firm.zh, firm.en, foundation.brand.hotline.zh))

    def delivery(lane: int) -> Delivery:
        return Delivery(
            outbox,
            DispatchRepository(foundation.engine),
            services.ra.verifier,
            services.identity.people,
            carrier,
            foundation.audit_log,
            foundation.clock,
            f"{holder}-{lane}",
        )

    return (
        *lanes([delivery(lane) for lane in range(DELIVERY_LANES)], outbox.wait),
        Task("reports", services.messaging.reports.ask, 30.0),
        Task("early-reports", services.messaging.reports.settle, 2.0),
    )


def _of_reminders(services: Services, holder: str) -> tuple[Task, ...]:
    """Return the jobs of reminders; none where the settings say that none are sent."""
    foundation, trouble = services.foundation, services.audit.clockwatch.trouble
    if foundation.settings.reminders.send == "no":
        return ()
    engine, policy, clock = foundation.engine, foundation.reminders, foundation.clock
    opens, former = partial(renewal_opens, foundation.policy), services.former.issuers.status
    rules = ReminderRules(policy, foundation.calendar, opens, former)
    planning = ReminderPlanning(ReminderPlanRepository(engine), rules, clock, holder)
    sender, people = sender_of(foundation.brand), services.identity.people
    router = services.messaging.reminder_router
    reminding = Reminding(ReminderQueueRepository(engine), rules, people, router, sender, clock, holder)
    return (
        Task("remind-plan", unless_in_doubt("remind-plan", planning.once, trouble), 60.0),
        Task("remind", unless_in_doubt("remind", reminding.once, trouble), EVERY_S, full=REMINDED),
    )


def _of_orders(services: Services, holder: str) -> tuple[Task, ...]:
    foundation, outbox, ra = services.foundation, services.messaging.outbox, services.ra
    clock, trouble = foundation.clock, services.audit.clockwatch.trouble
    endings = Endings(outbox, ra.revocation, ra.suspension, clock, holder)
    resume = Resume(ra.context.orders, ra.context.submissions, ra.rekey, ra.enrolment, foundation.policy, clock)
    clean_up = CleanUp(RetentionRepository(foundation.engine), clock, holder)
    return (
        Task("revoke", endings.once, 1.0, outbox.wait_for_endings, full=ENDINGS, pause_s=0.5),
        Task("resume", resume.orders, 5.0),
        Task("overdue", unless_in_doubt("overdue", resume.overdue, trouble), 60.0),
        Task("clean-up", unless_in_doubt("clean-up", clean_up.once, trouble), 300.0),
    )


def _of_cas(services: Services) -> tuple[Task, ...]:
    each = partial(issuing_cas.for_each_living, services.ca.cas, services.foundation.clock)
    return (
        Task("responder", lambda: each(lambda ca: ca.renewal.renew_due()), 60.0),
        Task("watch", lambda: each(lambda ca: watch(ca.watch)), 86400.0),
        Task("presign", lambda: each(lambda ca: ca.presigner.sign_due()), 60.0),
        Task("publish", lambda: each(lambda ca: ca.publisher.publish_due()), 2.0, services.va.status.wait, None, 1.0),
    )


def _of_former_issuers(services: Services, holder: str) -> tuple[Task, ...]:
    """Return the jobs that keep the lists of former issuers and have them revoke; none without a former issuer."""
    former, foundation = services.former, services.foundation
    if not former.entries:
        return ()
    lists = ListRefresh(former.cas, former.lists, foundation.settings.data, foundation.clock, holder)
    imported = ImportedCertificateRepository(foundation.engine)
    revocation = FormerRevocation(services.ra.context, imported, former.clients)
    watch_lists = FormerWatch(services.ra.context, imported)
    return (
        Task("former-lists", lists.once, 30.0),
        Task("former-revoked", watch_lists.once, 600.0, full=LISTED_BATCH),
        Task("former-revocations", revocation.once, 60.0),
    )


def _of_audit(services: Services, holder: str) -> tuple[Task, ...]:
    foundation, signer = services.foundation, services.audit.head_signer
    sequenced = partial(sequence, foundation.audit_repository, signer, foundation.heads, foundation.clock, holder)
    told = webhook_tasks(services.messaging.webhook, foundation.engine, foundation.clock, holder)
    return (Task("sequence", sequenced, 1.0, full=None), *told, *services.va.stamps.tasks(holder))


def reentry_of(services: Services) -> Reentry:
    """Return what enters again what the journal has and the database lacks."""
    foundation, ra = services.foundation, services.ra
    verbs = Verbs(ra.context, ra.rekey, ra.enrolment)
    records, states = ReentryRepository(foundation.engine), JournaledRepository(foundation.engine)
    certificates = CertificateRepository(foundation.engine)
    return Reentry(foundation.restorewatch.lines, records, states, certificates, foundation.audit_log, verbs)


def alarms(services: Services, process: str) -> FailingJobs:
    """Return where this process keeps which of its jobs go on failing."""
    return FailingJobs(services.foundation.engine, services.foundation.clock, f"{process} at {socket.gethostname()}")


async def work(settings: Settings) -> None:
    """Run the worker until it is told to stop; what has begun is finished."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(name, stop.set)
    async with opened(settings) as services:
        tellers = tellers_of(settings, services.foundation.brand)
        await record_policy(services.foundation.policy, services.foundation.installation, services.foundation.audit_log)
        await loop.run((*tasks(services), *alarm_tasks(services, tellers)), stop, alarms(services, "worker"))
