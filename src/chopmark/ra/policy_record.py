"""Recording which policy is in force: a process that starts with another policy than the last one writes a record."""

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import AuditRecord, system_stream
from chopmark.ra.policy import Policy

NAME = "policy"


class Remembered(Protocol):
    """Stores values of the installation that are compared at each start."""

    async def change(self, name: str, value: str, record: AuditRecord) -> bool:
        """Store the value and its record; return False, with nothing written, if the value is the stored one."""
        ...


def policy_digest(policy: Policy) -> str:
    """Return the SHA-256 over all values of a policy in hexadecimal; any change of a value changes it."""
    values = {
        name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in asdict(policy).items()
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


async def record_policy(policy: Policy, remembered: Remembered, audit_log: AuditLog) -> bool:
    """Record the policy if its id or any value differs from the last one on record; return whether it differed."""
    digest = policy_digest(policy)

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(Event.STAFF_POLICY_CHANGED, policy=policy.id, policy_sha256=digest)
        return await remembered.change(NAME, f"{policy.id} {digest}", record)

    return await audit_log.write(system_stream(NAME), attempt)
