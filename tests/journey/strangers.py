"""Certificate files that another program, openssl, makes of a demo customer's; never our own code."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSPHRASE = "Abc-1234-xyz"


@dataclass(frozen=True)
class Maker:
    """Makes files of one customer's `source` in `folder`."""

    source: Path
    passphrase: str
    folder: Path

    def _pem(self) -> Path:
        made = self.folder / "all.pem"
        secret = f"pass:{self.passphrase}"
        self._run("openssl", "pkcs12", "-in", self.source, "-passin", secret, "-noenc", "-out", made)
        return made

    def openssl(self, name: str, passphrase: str, *options: str) -> Path:
        """Return a file of `openssl pkcs12 -export`."""
        made = self.folder / name
        secret = f"pass:{passphrase}"
        self._run("openssl", "pkcs12", "-export", "-in", self._pem(), "-passout", secret, "-out", made, *options)
        return made

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True)
