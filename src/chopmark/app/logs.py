"""Configure logging: JSON lines on stderr, with an allow-list of fields."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

LOGGED = frozenset(
    {
        *("event", "level", "timestamp", "job", "kind", "code", "error", "message", "frames", "cause", "failures"),
        *("request_id", "at", "address", "count", "seconds", "path", "gateway", "order"),
    }
)
"""The fields a log line may have; anything else is dropped before it is written."""


def _allowed(_: Any, __: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in fields.items() if name in LOGGED}


def configure_logging() -> None:
    """Write one JSON line an event to stderr; fields by allow-list, no access log, no values of exceptions."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _allowed,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
