"""One trial: a child process in which one module of the house says something else, and the tests that must notice.

The parent has only third-party libraries loaded when it forks: the child imports the house anew, reads the changed text
in the place of the file, and nothing is written to the tree. So any number of trials may run beside each other, and
beside people who work on the same tree.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, FrameType, ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src"
PRELOADED = (
    "aiosqlite", "alembic", "alembic.command", "argon2", "asn1crypto.x509", "asyncpg", "cryptography.x509",
    "cryptography.hazmat.primitives.serialization.pkcs12", "httpx", "hypothesis", "hypothesis.stateful", "pydantic",
    "pydantic_settings", "pytest_asyncio.plugin", "sqlalchemy.ext.asyncio", "starlette.testclient", "structlog",
    "_pytest.assertion.rewrite",
)  # fmt: skip


_WARNINGS = "filterwarnings=error\nignore::pytest.PytestAssertRewriteWarning"


@dataclass(frozen=True)
class Change:
    """One fault: the file, below `src`, whose text is another one for the length of a trial."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """The module that the file is."""
        return self.path.removesuffix(".py").replace("/", ".")


@dataclass
class Outcome:
    """What the tests said: `status` is survived, killed, broken (nothing ran: the import failed) or timeout.

    `failed` are the tests that failed in their own call, each with the type of what it raised.
    """

    status: str
    seconds: float
    ran: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    reached: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """For each test that passed, where it was asked for: the functions of each watched file that it has called.

    Where tests are collected only, their names, and nothing of any.
    """


@dataclass(frozen=True)
class Trial:
    """The tests (pytest's arguments) that run while `change` holds; `watched` are files whose calls are told."""

    name: str
    change: Change | None
    arguments: Sequence[str]
    watched: Sequence[str] = ()


class _Another(importlib.abc.SourceLoader):
    """Loads one module from a text in memory."""

    def __init__(self, file: Path, text: str) -> None:
        self._file, self._text = file, text

    def get_filename(self, _fullname: str) -> str:
        return str(self._file)

    def get_data(self, path: str | bytes) -> bytes:
        return self._text.encode() if str(path) == str(self._file) else Path(os.fsdecode(path)).read_bytes()

    def source_to_code(self, _data: object, _path: object, **_how: object) -> CodeType:  # type: ignore[override]
        return compile(self._text, str(self._file), "exec", dont_inherit=True)

    def path_stats(self, _path: str) -> dict[str, float]:
        raise OSError  # no compiled file is read, and none is written


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._change.module:
            return None
        file = SOURCE / self._change.path
        return importlib.util.spec_from_file_location(fullname, file, loader=_Another(file, self._change.text))


class _Ear:
    """Hears how tests ended and, where files are watched, which of their functions each that passed has called."""

    def __init__(self, watched: Sequence[str]) -> None:
        self.ran = 0
        self.failed: list[tuple[str, str]] = []
        self._unfit: set[str] = set()
        self.reached: dict[str, dict[str, list[str]]] = {}
        self._files = {str(SOURCE / one): one for one in watched}
        self._called: set[CodeType] = set()
        self._before: set[CodeType] | None = None
        if self._files:
            threading.settrace(self._call)
            sys.settrace(self._call)

    def _call(self, frame: FrameType, _event: str, _arg: object) -> None:
        if frame.f_code.co_filename in self._files:
            self._called.add(frame.f_code)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            self.reached = {item.nodeid: {} for item in session.items}

    def pytest_runtest_logstart(self) -> None:
        if self._before is None:  # what is called while tests are imported is behind all of them
            self._before = set(self._called)
        self._called.clear()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self._files and nodeid not in self._unfit:
            told: dict[str, list[str]] = {}
            for code in self._called | (self._before or set()):
                told.setdefault(self._files[code.co_filename], []).append(code.co_qualname)
            self.reached[nodeid] = {file: sorted(set(names)) for file, names in sorted(told.items())}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report = yield
        if not report.passed:  # type: ignore[attr-defined]
            self._unfit.add(item.nodeid)
        if call.when == "call":
            self.ran += 1
            if report.failed:  # type: ignore[attr-defined]
                self.failed.append((item.nodeid, "" if call.excinfo is None else call.excinfo.typename))
        return report


def preload() -> None:
    """Load what is not ours, so that a child begins with it."""
    sys.path[:0] = [str(SOURCE), str(REPOSITORY)]
    sys.dont_write_bytecode = False  # each child would compile the whole house and all tests again
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _child(trial: Trial, answer: Path) -> None:
    """Run the tests in this process and leave what came of it in a file."""
    began = time.monotonic()
    if trial.change is not None:
        sys.meta_path.insert(0, _Finder(trial.change))
    ear = _Ear(trial.watched)
    quiet = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_asyncio.plugin",
        "--tb=no",
        "--no-header",
        "-o",
        "addopts=",
    ]
    quiet += ["--import-mode=importlib", "-o", _WARNINGS, *([] if trial.watched else ["-x"])]
    code = pytest.main([*quiet, *trial.arguments], plugins=[ear])
    sys.settrace(None)
    status = "survived" if code == 0 else "killed" if ear.ran or code == 1 else "broken"
    outcome = Outcome(status, round(time.monotonic() - began, 2), ear.ran, ear.failed, ear.reached)
    answer.write_text(json.dumps(asdict(outcome)), encoding="utf-8")


@dataclass
class _Running:
    trial: Trial
    pid: int
    answer: Path
    ends: float
    late: bool = False


def run(
    trials: Iterable[Trial], done: Callable[[Trial, Outcome], None], *, at_once: int = 1, limit_s: float = 120
) -> None:
    """Run each trial in a child of its own, `at_once` beside each other, and tell `done` what came of it."""
    waiting, running = iter(trials), dict[int, _Running]()
    with tempfile.TemporaryDirectory(prefix="chopmark-trials-") as folder:
        while True:
            while len(running) < at_once and (following := next(waiting, None)) is not None:
                one = _begin(following, Path(folder), limit_s)
                running[one.pid] = one
            if not running:
                return
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                one = running.pop(pid)
                done(one.trial, _end(one, limit_s))
                continue
            for one in running.values():
                if time.monotonic() > one.ends and not one.late:
                    os.killpg(one.pid, signal.SIGKILL)
                    one.late = True
            time.sleep(0.02)


def _begin(trial: Trial, folder: Path, limit_s: float) -> _Running:
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chdir(REPOSITORY)
            sink = os.open(os.environ.get("MUTANTS_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            _child(trial, Path(name))
            sys.stdout.flush()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return _Running(trial, pid, Path(name), time.monotonic() + limit_s)


def _end(one: _Running, limit_s: float) -> Outcome:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(one.pid, signal.SIGKILL)  # what the tests have left running
    said = one.answer.read_text(encoding="utf-8")
    one.answer.unlink()
    if not said:
        return Outcome("timeout" if one.late else "broken", limit_s)
    told = json.loads(said)
    told["failed"] = [tuple(pair) for pair in told["failed"]]
    return Outcome(**told)
