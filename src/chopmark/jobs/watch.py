"""The worker's daily look at what ends soon: one line in the log for each, so that the operator's alarm can ring."""

import structlog

from chopmark.va.alarms import Watch

log = structlog.get_logger()


async def watch(eyes: Watch) -> int:
    """Log what ends soon, as an error where it has ended; there is never more to do at once."""
    for alarm in await eyes.look():
        say = log.error if alarm.ended else log.warning
        kind = f"{alarm.subject} {alarm.name}"
        say("has ended" if alarm.ended else "ends soon", kind=kind, seconds=int(alarm.left.total_seconds()))
    return 0
