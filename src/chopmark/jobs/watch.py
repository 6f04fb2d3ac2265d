"""The worker's daily check of what ends soon: one log line for each, on which the operator's monitoring can alert."""

import structlog

from chopmark.va.alarms import Watch

log = structlog.get_logger()


async def watch(eyes: Watch) -> int:
    """Log what ends soon, and as an error what has ended; return 0, because there is never more to do at once."""
    for alarm in await eyes.look():
        say = log.error if alarm.ended else log.warning
        kind = f"{alarm.subject} {alarm.name}"
        say("has ended" if alarm.ended else "ends soon", kind=kind, seconds=int(alarm.left.total_seconds()))
    return 0
