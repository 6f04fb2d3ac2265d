"""Journeys: a real Chromium against a server and a worker that run as processes of their own.

A module has one running counter, and its tests use different customers of the demo.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.journey.chromium import ARGUMENTS
from tests.journey.counter import Counter, Prepared, running
from tests.journey.visitor import Visitor

QUICK_ROUNDS = 10_000
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The demo's installation, played once a worker; its .p12 files open fast, only those of PostgreSQL's do not."""
    return Prepared.make(tmp_path_factory.mktemp("prepared") / "data", rounds=QUICK_ROUNDS)


@pytest.fixture(scope="module")
def counter(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The module's running counter."""
    with running(prepared, tmp_path_factory.mktemp("counter")) as started:
        yield started


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Debian's Chromium, headless. Not longer than a module: playwright keeps the thread's event loop to itself."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(params=["zh-TW", "en"])
def language(request: pytest.FixtureRequest) -> str:
    """Both languages."""
    wish: str = request.param
    return wish


@pytest.fixture
def visitor(counter: Counter, browser: Browser) -> Iterator[Visitor]:
    """A visitor with a fresh browser profile, in Chinese."""
    with Visitor.arrive(counter, browser, "zh-TW") as arrived:
        yield arrived
