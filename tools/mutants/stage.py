"""What every trial finds ready: an installation to copy, on each engine, and a PostgreSQL that answers."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.mutants import trial

SQLITE = ("-m", "not postgres and not browser and not soak")
POSTGRESQL = ("-m", "postgres and not browser and not soak")


@contextmanager
def ready(*, postgresql: bool) -> Iterator[None]:
    """Have all founded already that tests copy, and a PostgreSQL running where it is wanted."""
    trial.preload()
    from tests import postgres  # noqa: PLC0415 - not before our own folders are on the path

    with contextlib.ExitStack() as stack:
        base = Path(tempfile.mkdtemp(prefix="chopmark-mutants-"))
        stack.callback(shutil.rmtree, base)
        (base / "sqlite").mkdir()
        _in_a_child(base / "sqlite", None)
        os.environ[postgres.TEMPLATES] = str(base)
        if postgresql:
            cluster = stack.enter_context(postgres.running())
            os.environ[postgres.STANDING] = str(cluster.directory)
            dsn = asyncio.run(cluster.fresh_database())
            (base / "postgresql").mkdir()
            _in_a_child(base / "postgresql", dsn)
            (base / "postgresql" / "dsn").write_text(dsn, encoding="ascii")
            alone = asyncio.run(cluster.fresh_database())
            _in_a_child(None, alone)
            (base / "postgresql" / postgres.ALONE).write_text(alone, encoding="ascii")
        yield


def _in_a_child(folder: Path | None, dsn: str | None) -> None:
    """Found the installation, or without a folder the tables only, in a process that may import the house."""
    pid = os.fork()
    if pid == 0:
        try:
            from chopmark.store import db  # noqa: PLC0415
            from tests.contract.world import found_template  # noqa: PLC0415

            asyncio.run(db.upgrade(str(dsn)) if folder is None else found_template(folder, dsn))
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError(f"nothing to copy could be made in {folder or dsn}")
