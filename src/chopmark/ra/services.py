"""What the registration authority offers to interfaces and jobs: its verbs and queries, built once per process."""

from dataclasses import dataclass

from chopmark.ra.authentication import RequestAuthentication
from chopmark.ra.blocking import KeyBlocks
from chopmark.ra.certificate_import.run import CertificateImport
from chopmark.ra.context import RaContext
from chopmark.ra.customer_import.run import CustomerImport
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.expiries import Expiries
from chopmark.ra.feed import Feed
from chopmark.ra.locks import CustomerLocks
from chopmark.ra.overview import CustomerQueries
from chopmark.ra.ports import Idempotency
from chopmark.ra.possession import Possession
from chopmark.ra.program import ProgramEnrolment
from chopmark.ra.rekey import Rekey
from chopmark.ra.reminders.own import CustomerReminders
from chopmark.ra.revocation import Revocation
from chopmark.ra.slips import SlipDesk
from chopmark.ra.stopping import StopDesk
from chopmark.ra.suspension import Suspension
from chopmark.stepup.ports import Challenges
from chopmark.stepup.verifier import Verifier


@dataclass(frozen=True, slots=True)
class RaServices:
    """All verbs and queries of the registration authority."""

    context: RaContext
    verifier: Verifier
    challenges: Challenges
    authentication: RequestAuthentication
    enrolment: Enrolment
    rekey: Rekey
    possession: Possession
    slips: SlipDesk
    program: ProgramEnrolment
    revocation: Revocation
    stopping: StopDesk
    suspension: Suspension
    key_blocks: KeyBlocks
    customer_queries: CustomerQueries
    locks: CustomerLocks
    customer_import: CustomerImport
    certificate_import: CertificateImport
    idempotency: Idempotency
    feed: Feed
    expiries: Expiries
    own_reminders: CustomerReminders
