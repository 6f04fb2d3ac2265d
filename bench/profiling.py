"""`--profile`: what the server does for each request of a journey (pg_stat_statements), how PostgreSQL did it (EXPLAIN
ANALYZE, BUFFERS by auto_explain), and where CPU time goes (py-spy). Written to the folder of `--out`; not a figure, a
tool for whoever makes it faster."""

import asyncio
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench.clients import Clients
from bench.figures import Result
from bench.http import Answer, Connection
from bench.journey import STEPS, Codes, Journey, Means
from bench.journeys import closed, sound, used
from bench.load import Keys
from bench.machine import Use, children
from bench.site import CLIENT
from bench.world import BenchSite, measuring, say

SETTINGS = (
    "shared_preload_libraries=pg_stat_statements,auto_explain",
    "pg_stat_statements.max=5000",
    "auto_explain.log_analyze=on",
    "auto_explain.log_buffers=on",
    "log_line_prefix=%u|",
)
SHARE = 0.12
WATCHED = 0.02
WARMING = 24
COUNTED = 3
SETTLES_S = 0.15
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Litestar", ("litestar/",)),
    ("uvicorn, HTTP parser", ("uvicorn/", "httptools/", "app/connections.py")),
    ("own web layer, Jinja", ("chopmark/web/", "jinja2/", "msgspec/")),
    ("ra, stepup, identity", ("chopmark/ra/", "chopmark/stepup/", "chopmark/identity/", "chopmark/limits/")),
    ("repositories: values and rows", ("chopmark/store/repositories/",)),
    ("engine: scripts, bundles, pool", ("chopmark/store/engine/",)),
    ("asyncpg", ("asyncpg/",)),
    ("audit records", ("chopmark/audit/",)),
    ("pki, ca, keys", ("chopmark/pki/", "chopmark/ca/", "chopmark/keys/", "cryptography/")),
    ("jobs, messaging", ("chopmark/jobs/", "chopmark/messaging/", "smtplib.py")),
    ("the rest of Chopmark", ("chopmark/",)),
    ("event loop", ("asyncio/", "selectors.py")),
)
"""Which files are which layer. A sample counts for the innermost of its frames that is in one: what the standard
library does for a layer, such as making a dataclass, is that layer's."""
_IDLE = {"_worker (concurrent/futures/thread.py", "Connection._recv (multiprocessing/connection.py"}
"""Where a thread waits; py-spy takes it for work when the machine is busy."""
_SEEN = """
SELECT query, calls, rows, total_exec_time AS ms, wal_bytes::bigint AS wal
FROM pg_stat_statements WHERE userid = 'chopmark'::regrole AND query NOT LIKE '%pg_stat_statements%'
ORDER BY total_exec_time DESC
"""


@dataclass
class Step:
    """What one request had PostgreSQL do, per request."""

    calls: float = 0
    ms: float = 0
    wal: float = 0
    statements: Counter[str] = field(default_factory=Counter)


@dataclass
class Watched(Journey):
    """A journey that looks at the server's statements around each request."""

    database: asyncpg.Connection | None = None
    seen: dict[str, Step] = field(default_factory=dict)

    async def _send(
        self, step: str, method: str, path: str, headers: dict[str, str], body: bytes, status: int
    ) -> Answer:
        if self.database is None:
            return await super()._send(step, method, path, headers, body, status)
        await self.database.execute("SELECT pg_stat_statements_reset()")
        answer = await super()._send(step, method, path, headers, body, status)
        await asyncio.sleep(SETTLES_S)
        into = self.seen.setdefault(step, Step())
        for row in await self.database.fetch(_SEEN):
            into.calls += row["calls"] / COUNTED
            into.ms += row["ms"] / COUNTED
            into.wal += row["wal"] / COUNTED
            into.statements[" ".join(row["query"].split())] += row["calls"]
        return answer


@dataclass
class Explained(Journey):
    """A journey that keeps how each request's statements were done, as PostgreSQL logs it."""

    log: Path = Path()
    plans: dict[str, str] = field(default_factory=dict)

    async def _send(
        self, step: str, method: str, path: str, headers: dict[str, str], body: bytes, status: int
    ) -> Answer:
        before = self.log.stat().st_size
        answer = await super()._send(step, method, path, headers, body, status)
        await asyncio.sleep(SETTLES_S)
        said = self.log.read_bytes()[before:].decode()
        self.plans[step] = "".join(entry[0] for entry in _PLAN.finditer(said))
        return answer


_PLAN = re.compile(r"^chopmark\|LOG:  duration: .* plan:\n(?:\t.*\n)+", re.MULTILINE)
"""An entry of auto_explain about a statement of the server, not of the worker."""


def measure(world: BenchSite) -> list[Result]:
    """Write the profiles; there is no row for the table."""
    world.options.out.mkdir(parents=True, exist_ok=True)
    seen, plans = asyncio.run(_statements(world))
    statements, explained = world.options.out / "statements.txt", world.options.out / "plans.txt"
    statements.write_text(_told(seen), encoding="utf-8")
    explained.write_text("\n".join(f"== {step}\n{said}" for step, said in plans.items()), encoding="utf-8")
    say(f"statements a request: {statements}, their plans as they were carried out: {explained}")
    with measuring(world, SHARE) as group:
        rate = closed(world, group, 2.0).journeys_a_second / 4
        group.all({"do": "finish"})
        _spied(world, group, rate)
    return []


async def _statements(world: BenchSite) -> tuple[dict[str, Step], dict[str, str]]:
    """Return what each request had PostgreSQL do, and the plans of one more journey's, by step."""
    database = await asyncpg.connect(world.dsn.replace("//chopmark@", "//jobs@"))
    await database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    codes, keys, gate = Codes(), Keys(), asyncio.Event()
    gate.set()
    listening = await codes.listen(str(world.site.codes), 0, 1)
    seen: dict[str, Step] = {}
    plans: dict[str, str] = {}
    first, _ = world.take(WATCHED)
    for number in range(WARMING + COUNTED + 1):
        connection = await Connection.open("127.0.0.1", world.site.port)
        means = Means(connection, codes, CLIENT, world.site.secret.reveal(), gate, lambda *_: None)
        customer = first + number
        if number < WARMING + COUNTED:
            counting = database if number >= WARMING else None
            await Watched(means, customer, *keys.take(), database=counting, seen=seen).run()
        else:  # the last one: explaining takes time of its own
            await _explaining(database, "0")
            await Explained(means, customer, *keys.take(), log=world.cluster.directory / "log", plans=plans).run()
            await _explaining(database, "-1")
        connection.close()
    listening.cancel()
    await database.close()
    return seen, plans


async def _explaining(database: asyncpg.Connection, least_ms: str) -> None:
    await database.execute(f"ALTER SYSTEM SET auto_explain.log_min_duration = {least_ms}")
    await database.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(SETTLES_S)


def _told(seen: dict[str, Step]) -> str:
    lines = ["What the server (not the worker) has PostgreSQL do for each request: calls are round trips, BEGIN and"]
    lines += ["COMMIT included; milliseconds within PostgreSQL; WAL octets. Means of warm requests.", ""]
    lines += [f"{'request':16}{'calls':>8}{'statements':>12}{'ms':>8}{'WAL':>8}"]
    for step in (step for step in STEPS if step in seen):
        one = seen[step]
        lines.append(f"{step:16}{one.calls:8.1f}{len(one.statements):12}{one.ms:8.2f}{one.wal:8.0f}")
    total = [sum(getattr(one, name) for one in seen.values()) for name in ("calls", "ms", "wal")]
    lines += [f"{'journey':16}{total[0]:8.1f}{'':12}{total[1]:8.2f}{total[2]:8.0f}", ""]
    for step in (step for step in STEPS if step in seen):
        lines += [f"== {step}"]
        lines += [f"{calls / COUNTED:5.1f} x {query}" for query, calls in seen[step].statements.most_common()]
        lines.append("")
    return "\n".join(lines) + "\n"


def _spied(world: BenchSite, group: Clients, rate: float) -> None:
    """Look at server and worker while journeys come at a rate that leaves the cores free most of the time.

    py-spy cannot tell a thread that computes from one that waits for a core. On a busy machine every statement that is
    sent wakes a PostgreSQL process, which takes the core, and a third of the server's samples lay in asyncpg's compiled
    part for that reason. By `perf` 3 % of the CPU of all our processes is there, and 11 % in the kernel.
    """
    spy = shutil.which("py-spy", path=str(Path(".venv/bin").absolute()))
    if spy is None:
        say("py-spy is not installed: no flame graph")
        return
    seconds = 3 * max(5, int(world.options.seconds))
    group.all({"do": "prepare", "keys": int(rate * (seconds + 2))})
    roots = {"server": world.site.processes["server"].pid, "worker": world.site.processes["worker"].pid}
    pids = {name: max(children(pid), key=_ticks) for name, pid in roots.items()}
    spies = {}
    for name, pid in pids.items():
        raw = world.options.out / f"{name}.raw"
        command = [spy, "record", "-d", str(seconds), "-r", "200", "-p", str(pid), "-f", "raw", "-o", str(raw)]
        spies[raw] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    uses: list[Use] = []
    with used(world, uses):
        done = sound(group.round({"do": "journeys", "rate": rate, "warm": 1.0, "seconds": seconds}))
    journeys = max(1.0, done.journeys_a_second * (seconds + 1.0))
    for raw, process in spies.items():
        _, said = process.communicate()
        if process.returncode:
            say(f"py-spy: {said.strip()[-200:]}")
            continue
        top = raw.with_suffix(".txt")
        read, ms = raw.read_text(encoding="utf-8"), uses[0].groups[raw.stem] / journeys * 1000
        top.write_text(layers(read, ms) + "\n" + _top(read), encoding="utf-8")
        say(f"where the {raw.stem}'s CPU time goes: {top} (stacks for a flame graph: {raw})")


def _ticks(pid: int) -> float:
    from bench.machine import cpu_s  # noqa: PLC0415

    return cpu_s([pid])


def layers(raw: str, ms: float) -> str:
    """Return the table by layer: which part of the samples each has, and of the `ms` that a journey costs."""
    counts: Counter[str] = Counter()
    for stack, count in _stacks(raw):
        counts[next(filter(None, map(_layer, reversed(stack))), "what is in no layer")] += count
    total = max(1, counts.total())
    rows = [f"{name:34}{count / total:6.1%}{count / total * ms:8.2f}" for name, count in counts.most_common()]
    return "\n".join([f"{'layer':34}{'share':>6}{'ms a journey':>14}", *rows, f"{'all':40}{ms:8.2f}", ""])


def _layer(frame: str) -> str | None:
    """Return the layer of a frame `function (file)`."""
    file = frame.rpartition(" (")[2]
    return next((name for name, parts in LAYERS if any(part in file for part in parts)), None)


def _stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Yield each stack that is not idle, outermost frame first, and how many samples it has."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        if frames[-1] not in _IDLE:
            yield frames, int(count)


def _top(raw: str) -> str:
    """Return the functions by their own samples and by samples they are part of."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    total = 0
    for frames, count in _stacks(raw):
        total += count
        own[frames[-1]] += count
        for frame in set(frames):
            within[frame] += count
    lines = [f"{total} samples", "", "own time"]
    lines += [f"{count / total:6.1%}  {frame}" for frame, count in own.most_common(50)]
    lines += ["", "with what it calls"]
    lines += [f"{count / total:6.1%}  {frame}" for frame, count in within.most_common(120)]
    return "\n".join(lines) + "\n"
