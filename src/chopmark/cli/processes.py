"""The processes: the demo, the server, the worker and the EST service."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from chopmark.cli.console import configured, run
from chopmark.cli.settings_faults import ignored

if TYPE_CHECKING:
    from chopmark.app.settings import Settings


def started() -> Settings:
    """Return the settings of a process that stays; what would be ignored in silence is logged."""
    import structlog

    settings = configured()
    for sentence in ignored(settings):
        structlog.get_logger().warning("setting ignored", code="settings.ignored", message=sentence)
    return settings


def demo(
    *,
    port: int = 8080,
    data: Path = Path("data"),
    host: str = "127.0.0.1",
    reset: Annotated[bool, Parameter(negative="")] = False,
    sms: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the whole counter with made-up customers; its state is kept in the data directory.

    Parameters
    ----------
    port:
        TCP port to listen on.
    data:
        Directory of the demo's state.
    host:
        Address to listen on.
    reset:
        Throw the state away and play the customers' past anew.
    sms:
        Send codes for phones through an SMS gateway, a stub of Mitake within the demo.
    """
    from chopmark.demo.server import run_demo

    if reset and data.exists():
        from chopmark.demo.history import is_demo_data

        if not is_demo_data(data):
            sys.stderr.write(f"{data} is not a demo's directory; nothing was removed.\n")
            return 2
        shutil.rmtree(data)
    return run(run_demo(configured(mode="demo", data=data, host=host, port=port), sms=sms))


def serve(*, workers: int = 2) -> int:
    """Run the server; settings come from the environment (CHOPMARK_...).

    Parameters
    ----------
    workers:
        Number of server processes.
    """
    from chopmark.app.server import run_server

    settings = started()
    return run_server(settings, workers, f"chopmark.{'demo' if settings.mode == 'demo' else 'app'}.server")


def worker() -> int:
    """Run the worker: deliveries, revocations, lists, the audit's sequence."""
    import uvloop

    from chopmark.app.worker import work

    uvloop.run(work(started()))
    return 0


def est() -> int:
    """Run the EST interface for customers' programs: behind a TLS proxy, or ending TLS itself."""
    from chopmark.app.server import run_est

    return run(run_est(started()))
