"""Which policy is in force: a process that starts under another one than the last on record says so in the audit."""

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
    """Keeps what the installation was last found to be."""

    async def change(self, name: str, value: str, record: AuditRecord) -> bool:
        """Put the value on record, with its record; False, and nothing written, when it is the one on record."""
        ...


def policy_digest(policy: Policy) -> str:
    """Return the SHA-256 over all values of a policy, hexadecimal: another one for any change."""
    values = {
        name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in asdict(policy).items()
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


async def record_policy(policy: Policy, remembered: Remembered, audit_log: AuditLog) -> bool:
    """Record the policy when its id or any of its values differs from the last one on record; tell whether it did."""
    digest = policy_digest(policy)

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(Event.STAFF_POLICY_CHANGED, policy=policy.id, policy_sha256=digest)
        return await remembered.change(NAME, f"{policy.id} {digest}", record)

    return await audit_log.write(system_stream(NAME), attempt)
