"""O: OCSP over HTTP while certificates are issued beside it; cfssl ocspserve and a bare ASGI answer beside the same."""

import asyncio
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench import limits
from bench.clients import Clients
from bench.figures import Result, median, ratios
from bench.issuance import issuing
from bench.limits import Wrk
from bench.site import ended, free_port, started
from bench.world import BenchSite, awaited, say

SERIALS = 500
CONNECTIONS = 32
RATE = 20.0
"""Certificates a second that are issued beside each of the three."""
RIVAL = "cfssl 1.2 ocspserve by POST"
"""Debian's cfssl answers 400 to every GET: it takes the path's first slash for a character of the base64."""
POST_KIND = {"Content-Type": "application/ocsp-request"}


async def _questions(dsn: str) -> list[bytes]:
    """Return OCSP requests, without a nonce, about certificates that are on record."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT der, chain FROM holdings WHERE state = 'active' ORDER BY serial LIMIT $1", SERIALS
        )
    finally:
        await connection.close()
    found = []
    for row in rows:
        size = int.from_bytes(row["chain"][:4], "big")
        issuer = x509.load_der_x509_certificate(row["chain"][4 : 4 + size])
        record = x509.load_der_x509_certificate(row["der"])
        built = ocsp.OCSPRequestBuilder().add_certificate(record, issuer, SHA1()).build()
        found.append(built.public_bytes(Encoding.DER))
    return found


def _path(question: bytes) -> str:
    return quote(b64encode(question).decode(), safe="")


async def _answers(port: int, questions: list[bytes]) -> list[bytes]:
    """Return the product's answers, each of which must be a successful one about its certificate."""
    answers = [
        await limits.answer_of(port, "POST", "/ocsp/investor", dict(POST_KIND), question) for question in questions
    ]
    for der in answers:
        said = ocsp.load_der_ocsp_response(der)
        if said.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise RuntimeError(f"OCSP says {said.response_status}")
    return answers


@contextmanager
def _hello(world: BenchSite) -> Iterator[int]:
    port = free_port()
    log = world.site.data / "hello.log"
    process = started(["-m", "bench.hello", str(port)], world.site.environment(), log, ready=0)
    try:
        awaited(port)
        yield port
    finally:
        ended(process)


@contextmanager
def _rival(folder: Path, answers: list[bytes]) -> Iterator[int | None]:
    if not limits.has_cfssl():
        say("cfssl is not installed (Debian: golang-cfssl): O stands beside the bare answer only")
        yield None
        return
    limits.responses_file(folder, answers)
    with limits.cfssl(["ocspserve", "-responses=responses"], folder) as (port, _):
        yield port


def measure(world: BenchSite) -> list[Result]:
    """Return O's rows."""
    if not limits.has_wrk():
        say("wrk is not installed: O cannot be measured")
        return []
    options = world.options
    questions = asyncio.run(_questions(world.dsn))
    answers = asyncio.run(_answers(world.site.port, questions))
    paths = [_path(question) for question in questions]
    seen: dict[str, list[Wrk]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chopmark-ocsp-")))
        load = stack.enter_context(issuing(world, 1))
        hello, rival = stack.enter_context(_hello(world)), stack.enter_context(_rival(folder, answers))
        ours = f"http://127.0.0.1:{world.site.port}"
        get = limits.wrk_requests(folder, "get", "GET", [(f"/ocsp/investor/{path}", b"") for path in paths], {})
        post = limits.wrk_requests(folder, "post", "POST", [("/ocsp/investor", one) for one in questions], POST_KIND)
        runs = {"get": (ours, get), "post": (ours, post)}
        if rival is not None:
            asyncio.run(limits.answer_of(rival, "POST", "/", dict(POST_KIND), questions[0]))
            script = limits.wrk_requests(folder, "rival", "POST", [("/", one) for one in questions], POST_KIND)
            runs["cfssl"] = (f"http://127.0.0.1:{rival}", script)
        runs["hello"] = (f"http://127.0.0.1:{hello}", get)
        limits.wrk(ours, get, 2, CONNECTIONS)  # each worker signs what it then keeps; the other three need no warming
        for number in range(options.rounds):
            for name, (url, script) in runs.items():
                seen.setdefault(name, []).append(_beside(load, options.seconds, url, script))
            told = ", ".join(f"{name} {rounds[-1].requests_a_second:.0f}/s" for name, rounds in seen.items())
            say(f"O round {number + 1}: {told}")
    return _rows(world, seen)


def _beside(load: Clients, seconds: float, url: str, script: Path) -> Wrk:
    """Measure while certificates are issued at a fixed rate."""
    command = {"do": "issue", "rate": RATE, "warm": 0.0, "seconds": seconds + 0.5}
    thread = threading.Thread(target=load.round, args=(command,))
    thread.start()
    try:
        return limits.wrk(url, script, seconds, CONNECTIONS)
    finally:
        thread.join()


def _rows(world: BenchSite, seen: dict[str, list[Wrk]]) -> list[Result]:
    rates = {name: [one.requests_a_second for one in rounds] for name, rounds in seen.items()}
    rows = []
    for name in ("get", "post"):
        conditions = world.conditions(
            serials=SERIALS,
            connections=CONNECTIONS,
            issued_beside_a_second=RATE,
            client="wrk, one thread",
            client_share_of_a_core=round(max(one.client_cores for one in seen[name]), 2),
        )
        for limit, target in (("cfssl", "1.5"), ("hello", "0.7")):
            if limit not in rates:
                continue
            against = {"cfssl": RIVAL, "hello": "a bare ASGI answer"}[limit]
            ratio = median(ratios(rates[name], rates[limit]))
            rows.append(
                Result(f"O.{name}/{limit}", "answers/s", tuple(rates[name]), against, ratio, target, "CPU", conditions)
            )
    rows += [
        Result(f"O.{name}", "answers/s", tuple(rates[name]), limited_by="CPU")
        for name in ("cfssl", "hello")
        if name in rates
    ]
    return rows
