"""A pulled plug takes no file that a command has said is written: secrets, keys, shares, a ceremony's files, a mail."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.served.power import compiled, left, recorded

DATA = "from pathlib import Path; import sys; folder = Path(sys.argv[1]); "
WRITERS = {
    "secrets": """
from chopmark.app.secrets import head_signer_of, open_secrets
from chopmark.app.settings import Settings
from tests.installation import Dice
from random import Random
settings = Settings(mode="demo", data=folder / "a" / "data")
open_secrets(settings, Dice(Random(1)), founds=True)
head_signer_of(settings)
""",
    "a CA": """
import asyncio
from chopmark.cli.ca import init_ca
from chopmark.app.settings import Settings
assert asyncio.run(init_ca(Settings(mode="demo", data=folder / "data"))) == 0
""",
    "share": """
from chopmark.cli.ceremony import share
share(folder / "share")
""",
    "ceremony": """
from chopmark.ca.ceremony.folder import Folder
with Folder(folder / "safe" / "ceremony").taken():
    Folder(folder / "safe" / "ceremony").put("plan.json", b"{}")
    Folder(folder / "safe" / "ceremony").put("plan.json", b"{1}")
""",
    "mail": """
from chopmark.cli.bounces import keep_mail
assert keep_mail(folder / "Maildir", "one", b"who are you?")
""",
}
SYNCED_BY_OTHERS = (".lock", ".sqlite3", ".sqlite3-wal", ".sqlite3-shm")
"""What says nothing, and the database's files, whose own tests are in `test_power_cut`."""


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_command_has_written_is_there_after_a_power_cut(writer: str, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = _recorded(DATA + WRITERS[writer], folder, tmp_path)
    written = {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(SYNCED_BY_OTHERS)
    }
    assert written, done
    after = left(recorded(tmp_path / "recording"), folder)
    assert {path: after.get(path) for path in written} == written
    assert not list(folder.rglob("*.part"))
    read_by_others = {Path(path).name for path in written if stat.S_IMODE(Path(path).stat().st_mode) & 0o077}
    assert read_by_others <= {"root.cer"}


def test_a_file_that_is_only_written_is_caught_losing_its_content(tmp_path: Path) -> None:
    """What the recording can tell apart: no sync, a sync of the content alone, and both."""
    folder = tmp_path / "disk"
    folder.mkdir()
    steps = {
        "nothing": "(folder / 'a').write_bytes(b'x')",
        "content": "f = open(folder / 'b', 'wb'); f.write(b'x'); f.flush(); os.fsync(f.fileno())",
        "name": "f = open(folder / 'c', 'wb'); f.write(b'x'); f.flush(); d = os.open(folder, os.O_RDONLY); os.fsync(d)",
        "renamed": "from chopmark.audit.durable import write_durably; write_durably(folder / 'd', b'x')",
    }
    found = {}
    for name, step in steps.items():
        (tmp_path / "recording").unlink(missing_ok=True)
        _recorded(f"{DATA}import os; {step}", folder, tmp_path)
        found[name] = left(recorded(tmp_path / "recording"), folder)
    assert found == {
        "nothing": {},
        "content": {},
        "name": {str(folder / "c"): b""},
        "renamed": {str(folder / "d"): b"x"},
    }


def _recorded(program: str, folder: Path, to: Path) -> str:
    """Run a program on a disk whose writes are recorded; it ends without closing or flushing anything."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(compiled(to)),
        "RECORD_FILES": str(folder),
        "RECORD_TO": str(to / "recording"),
    }
    command = [sys.executable, "-c", f"{program}\nimport os\nos._exit(9)", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    return done.stdout
