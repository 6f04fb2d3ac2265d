"""C: CPU time of judging each certificate request of the hostile corpus; the promise is 100 ms an item (PKI-05)."""

import time
from collections.abc import Callable

from bench.figures import Result
from bench.world import Options, say
from chopmark.pki import csr
from tests.vectors.pki import requests

PROMISE_MS = 100


def measure(options: Options) -> list[Result]:
    """Return C's row: the slowest item of each round."""
    items: dict[str, Callable[[], bytes]] = {
        **{name: make for name, (_, make) in requests.BAD.items()},
        **requests.IGNORED,
    }
    made = {name: make() for name, make in items.items()}
    worst: list[float] = []
    slowest = ""
    for _ in range(options.rounds):
        took = {name: _judged_ms(der) for name, der in made.items()}
        slowest = max(took, key=lambda name: took[name])
        worst.append(took[slowest])
    say(f"C: {len(made)} requests judged")
    conditions = {"requests": len(made), "slowest": slowest, "what": "CPU time of pki.csr.parse, one core"}
    target = f"under {PROMISE_MS}"
    return [Result("C", "ms CPU", tuple(worst), target=target, limited_by=f"slowest: {slowest}", conditions=conditions)]


def _judged_ms(der: bytes) -> float:
    begun = time.process_time()
    csr.parse(der)
    return (time.process_time() - begun) * 1000
