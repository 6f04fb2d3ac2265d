"""CPU time of judging each request of the corpus: python -m bench.csr; the promise is 100 ms an item (PKI-05, F38)."""

import time
from collections.abc import Callable

from chopmark.pki import csr
from tests.vectors.pki import requests

PROMISE_MS = 100.0


def main() -> None:
    items: dict[str, Callable[[], bytes]] = {
        **{name: make for name, (_, make) in requests.BAD.items()},
        **requests.IGNORED,
    }
    took: dict[str, float] = {}
    for name, make in items.items():
        der = make()
        start = time.process_time()
        csr.parse(der)
        took[name] = (time.process_time() - start) * 1000
    for name, ms in sorted(took.items(), key=lambda item: -item[1]):
        print(f"{ms:8.2f} ms  {name}")
    worst = max(took.values())
    print(f"{len(took)} requests, the slowest took {worst:.2f} ms; promised are {PROMISE_MS:.0f} ms")


if __name__ == "__main__":
    main()
