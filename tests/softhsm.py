"""Debian's SoftHSM2: a token of its own for each test, which can be lost and found again.

The library reads where its tokens are from the environment when it starts, so a process has one directory of tokens.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chopmark.core.types import Secret
from chopmark.keys.ports import Pkcs11Settings
from tests.machine import missing, program

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = Secret("271828")


@dataclass(frozen=True)
class Device:
    """An initialised token; `folder` is what is left of it when it is taken out."""

    label: str
    folder: Path
    pin: Secret = PIN

    @property
    def settings(self) -> Pkcs11Settings:
        return Pkcs11Settings(str(MODULE), self.label, self.pin)

    def take_out(self) -> None:
        self.folder.rename(self._aside)

    def put_back(self) -> None:
        self._aside.rename(self.folder)

    @property
    def _aside(self) -> Path:
        return self.folder.parent.parent / self.folder.name


@contextmanager
def softhsm() -> Iterator[Callable[[], Device]]:
    """Give a maker of tokens."""
    util = program("softhsm2-util")
    if not MODULE.exists():
        missing(f"The library {MODULE}")
    with tempfile.TemporaryDirectory() as made:
        tokens, config = Path(made, "tokens"), Path(made, "softhsm2.conf")
        tokens.mkdir()
        config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        before = os.environ.get("SOFTHSM2_CONF")
        os.environ["SOFTHSM2_CONF"] = str(config)
        count = iter(range(1000))

        def device() -> Device:
            label, known = f"token-{next(count)}", set(tokens.iterdir())
            pins = ("--pin", PIN.reveal(), "--so-pin", "31415926")
            subprocess.run([util, "--init-token", "--free", "--label", label, *pins], check=True, capture_output=True)
            (folder,) = set(tokens.iterdir()) - known
            return Device(label, folder)

        yield device
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
