"""M: memory of a server worker after load, of an import; the second start of `make run`; the first page's weight."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

import asyncpg

from bench import people
from bench.figures import Result
from bench.journeys import closed
from bench.machine import children, memory_kib
from bench.site import ended, free_port
from bench.world import BenchSite, measuring, say

SHARE = 0.1
STARTS = 5
IMPORTED_FROM = 5_000_000
COLUMNS = ("customer", "person_id", "name", "birth_date", "mobile", "email", "accounts", "verified_on")
PAGES = ("/sign-in",)


def measure(world: BenchSite) -> list[Result]:
    """Return M's rows."""
    return [*_disk(world), *_server(world), *_import(world), *_demo(world)]


def _disk(world: BenchSite) -> list[Result]:
    """Return what a customer with one certificate and its audit takes up, indexes included."""
    size = asyncio.run(_database_size(world.dsn))
    conditions = world.conditions(
        what="pg_database_size over customers: each imported, certified once, 14 audit leaves"
    )
    return [Result("M.disk", "KB a customer", (size / world.options.customers / 1000,), conditions=conditions)]


async def _database_size(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
        return size
    finally:
        await connection.close()


def _server(world: BenchSite) -> list[Result]:
    """Have the server work, then read what its workers hold."""
    with measuring(world, SHARE) as group:
        closed(world, group, world.options.seconds)
        group.all({"do": "finish"})
    rows = []
    server = world.site.processes["server"].pid
    workers = [pid for pid in children(server) if pid != server and memory_kib(pid).get("Rss", 0) > 40_000]
    for name in ("Rss", "Pss"):
        values = tuple(memory_kib(pid)[name] / 1024 for pid in workers)
        target = "under 150" if name == "Rss" else ""
        conditions = world.conditions(rounds_are="server workers")
        rows.append(Result(f"M.server.{name.lower()}", "MiB a worker", values, target=target, conditions=conditions))
    worker = memory_kib(world.site.processes["worker"].pid)
    return [*rows, Result("M.worker.rss", "MiB", (worker["Rss"] / 1024,), conditions=world.conditions())]


def sheet(path: Path, first: int, count: int) -> None:
    """Write a sheet of so many customers."""
    with path.open("w", encoding="utf-8") as out:
        out.write(",".join(COLUMNS) + "\n")
        for i in range(first, first + count):
            row = people.row(i)
            out.write(",".join(row[column] for column in COLUMNS) + "\n")


_WATCHED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command and tells its peak. A command that the bench started by itself would have the bench's own peak, too:
Linux counts what a process had before it became another program."""


def imported(path: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return seconds and peak MiB of `chopmark customers import`."""
    command = [sys.executable, "-m", "chopmark", "customers", "import", str(path), "--by", "bench"]
    begun = time.perf_counter()
    watched = [sys.executable, "-c", _WATCHED, *command]
    peak = subprocess.run(watched, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return time.perf_counter() - begun, int(peak) / 1024


def _import(world: BenchSite) -> list[Result]:
    count = 20_000 if world.options.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.csv"
        sheet(path, IMPORTED_FROM, count)
        say(f"{count:,} customers are imported")
        seconds, peak = imported(path, world.site.environment())
    conditions = world.conditions(rows=count, what="chopmark customers import, into the loaded directory")
    return [
        Result("M.import", "MiB peak", (peak,), target="under 200 at 1 M", conditions=conditions),
        Result("M.import.speed", "customers/s", (count / seconds,), conditions=conditions),
    ]


@contextmanager
def _started(data: Path, port: int) -> Iterator[float]:
    """Start the demo as `make run` does once all is set up; give the seconds until its ready line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
    command = [str(Path(sys.executable).parent / "chopmark"), "demo", "--data", str(data), "--port", str(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in process.stdout or ():
            if line.startswith("ready"):
                break
        else:
            raise RuntimeError("the demo did not start")
        yield time.perf_counter() - begun
    finally:
        ended(process)


def _demo(world: BenchSite) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", free_port()
        with _started(data, port) as first:
            say(f"the demo's first start took {first:.1f} s")
        starts = []
        for _ in range(2 if world.options.quick else STARTS):
            with _started(data, port) as again:
                starts.append(again)
        with _started(data, port):
            weights = [weigh(f"http://localhost:{port}{page}") for page in PAGES]
    conditions = {"what": "chopmark demo over its kept data directory, until the ready line", "database": "SQLite"}
    rows = [Result("M.start", "s", tuple(starts), conditions={**conditions, "first_start_s": round(first, 1)})]
    for page, weight in zip(PAGES, weights, strict=True):
        rows.append(
            Result(
                f"M.page{page}",
                "KB",
                (weight.octets / 1000,),
                target="under 150, no third party",
                limited_by=f"{weight.files} files, {len(weight.strangers)} of third parties",
                conditions={"how": weight.how, "third_parties": sorted(weight.strangers)},
            )
        )
    return rows


class Weight:
    """What a page brings with it, as the server sends it (no compression): octets of bodies."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.octets = 0
        self.files = 0
        self.strangers: set[str] = set()


def weigh(url: str) -> Weight:
    """Return what Chromium loads for a page; without Chromium what its links, styles and scripts name."""
    chromium = shutil.which("chromium")
    return _followed(url) if chromium is None else _in_chromium(url, chromium)


def _in_chromium(url: str, chromium: str) -> Weight:
    from playwright.sync_api import Response, sync_playwright  # noqa: PLC0415

    weight, home = Weight("Chromium, cold cache: bodies and headers as received"), urlsplit(url).netloc
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        answers: list[Response] = []
        page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - playwright marks the function
        page.goto(url, wait_until="networkidle")
        for answer in answers:
            sizes = answer.request.sizes()
            weight.octets += sizes["responseBodySize"] + sizes["responseHeadersSize"]
            weight.files += 1
            if urlsplit(answer.url).netloc not in {home, ""}:
                weight.strangers.add(answer.url)
        browser.close()
    return weight


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"script": "src", "img": "src", "link": "href"}
        self.found += [value for name, value in attrs if value and names.get(tag) == name]


_NAMED = re.compile(r"""url\(["']?([^"')]+)|(?:from|import)\s*\(?["']([^"']+)["']""")


def _followed(url: str) -> Weight:
    weight, home = Weight("links, styles and imports followed"), urlsplit(url).netloc
    waiting, seen = [url], set()
    while waiting:
        one = waiting.pop()
        if one in seen or one.startswith("data:"):
            continue
        seen.add(one)
        if urlsplit(one).netloc != home:
            weight.strangers.add(one)
            continue
        with urlopen(one) as answer:
            body, kind = answer.read(), answer.headers.get_content_type()
        weight.octets, weight.files = weight.octets + len(body), weight.files + 1
        if kind == "text/html":
            links = _Links()
            links.feed(body.decode())
            waiting += [urljoin(one, link) for link in links.found]
        elif kind in {"text/css", "text/javascript", "application/javascript"}:
            waiting += [urljoin(one, a or b) for a, b in _NAMED.findall(body.decode())]
    return weight
