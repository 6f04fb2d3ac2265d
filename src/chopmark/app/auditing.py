"""Build the bundle of the audit: the signer of tree heads, and the watch over this machine's clock."""

from dataclasses import dataclass

from chopmark.app.foundation import Foundation
from chopmark.app.secrets import head_signer_of
from chopmark.audit.clockwatch import ClockWatch, Machine
from chopmark.audit.headkey import FileHeadSigner


@dataclass(frozen=True, slots=True)
class AuditServices:
    """The bundle of the audit; its tables, keys and files belong to the foundation."""

    head_signer: FileHeadSigner
    clockwatch: ClockWatch


async def audit_services(foundation: Foundation, machine: Machine | None) -> AuditServices:
    """Return the bundle; without `machine` (in tests and the demo's history) the clock is not checked."""
    watch = ClockWatch(foundation.clock, machine, await foundation.audit_repository.newest_time())
    return AuditServices(head_signer_of(foundation.settings), watch)
