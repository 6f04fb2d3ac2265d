"""I: issuance by the CA's verb and over HTTP, beside cfssl with PostgreSQL and the bare signature, in turns."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

from bench import clients, limits, machine
from bench.clients import Clients
from bench.figures import Result, median, ratios
from bench.journeys import sound, used
from bench.machine import Use
from bench.world import BenchSite, measuring, say
from chopmark.client.signing import ClientKey

SHARE = 0.15
PROCESSES = 2
CONCURRENCY = 16


@contextmanager
def issuing(world: BenchSite, count: int = PROCESSES) -> Iterator[Clients]:
    """Give processes that call the CA's verb on the world's database."""
    log, environment = world.site.data / "issuing.log", world.site.environment()
    with clients.processes("bench.issuing", log, count, environment) as group:
        yield group


@contextmanager
def rival(world: BenchSite) -> Iterator[tuple[int, Path, int] | None]:
    """Give cfssl with PostgreSQL: port, wrk's script, process id; None when it or wrk is not installed."""
    if not (limits.has_cfssl() and limits.has_wrk()):
        say("cfssl or wrk is not installed (Debian: golang-cfssl, wrk): I has nothing to stand beside")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="chopmark-cfssl-") as name:
        folder = Path(name)
        dsn = asyncio.run(world.cluster.fresh_database())
        asyncio.run(limits.make_cfssl_tables(dsn))
        body = limits.as_json({"certificate_request": _pem(ClientKey.generate().request()), "hosts": ["b"]})
        path, kind = "/api/v1/cfssl/sign", {"Content-Type": "application/json"}
        with limits.cfssl_ca(folder, dsn) as (port, pid):
            asyncio.run(limits.answer_of(port, "POST", path, dict(kind), body.encode()))
            yield port, limits.wrk_requests(folder, "sign", "POST", [(path, body.encode())], kind), pid


def _pem(request: bytes) -> str:
    return DER_cert_to_PEM_cert(request).replace("CERTIFICATE", "CERTIFICATE REQUEST")


def measure(world: BenchSite) -> list[Result]:
    """Return I's rows."""
    options = world.options
    verb: list[float] = []
    http: list[float] = []
    other: list[float] = []
    signatures: list[float] = []
    uses: list[Use] = []
    http_uses: list[Use] = []
    with ExitStack() as stack:
        group = stack.enter_context(issuing(world))
        customers = stack.enter_context(measuring(world, SHARE))
        beside = stack.enter_context(rival(world))
        world.groups["issuing"] = group.pids
        for number in range(options.rounds):
            command = {"do": "issue", "c": CONCURRENCY, "warm": 0.5, "seconds": options.seconds}
            with used(world, uses):
                verb.append(sound(group.round(command)).a_second("issue"))
            http.append(_confirmed(world, customers, http_uses))
            if beside is not None:
                port, script, _ = beside
                other.append(
                    limits.wrk(f"http://127.0.0.1:{port}", script, options.seconds, CONCURRENCY).requests_a_second
                )
            signatures.append(limits.openssl_p256(1, machine.CORES)[0])
            say(f"I round {number + 1}: verb {verb[-1]:.0f}/s, HTTP {http[-1]:.0f}/s, cfssl {other[-1:]}")
        world.groups.pop("issuing")
    conditions = world.conditions(concurrency=CONCURRENCY, processes=PROCESSES, key="P-256 CA and request")
    against = "cfssl 1.2 with PostgreSQL, over HTTP"
    rows = [
        Result(
            "I.verb",
            "certificates/s",
            tuple(verb),
            against if other else "",
            median(ratios(verb, other)) if other else None,
            "3",
            machine.added(uses).sentence(),
            conditions,
        ),
        Result(
            "I.http",
            "certificates/s",
            tuple(http),
            against if other else "",
            median(ratios(http, other)) if other else None,
            "0.8",
            machine.added(http_uses).sentence(),
            {**conditions, "what": "POST /orders/{id}/confirm of orders that wait for it", "processes": 2},
        ),
        Result("I.signature", "signatures/s", tuple(signatures), conditions={"what": "openssl speed ecdsap256"}),
    ]
    if other:
        rows.append(Result("I.cfssl", "certificates/s", tuple(other), limited_by="one process, all cores"))
    return rows


def _confirmed(world: BenchSite, customers: Clients, uses: list[Use]) -> float:
    """Return how many orders a second are confirmed."""
    count = 20 if world.options.quick else 200
    ready = customers.all({"do": "review", "count": count, "c": CONCURRENCY})
    if any(one["failed"] for one in ready):
        raise RuntimeError(f"orders did not get ready: {ready[0]['faults']}")
    with used(world, uses):
        done = customers.all({"do": "confirm", "c": CONCURRENCY})
    if any(one["failed"] for one in done):
        raise RuntimeError(f"orders were not confirmed: {[one['faults'] for one in done]}")
    took: float = max(one["took"] for one in done)
    return count * len(done) / took
