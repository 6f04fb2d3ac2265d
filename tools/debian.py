"""See that the Debian packages of tools/debian-packages.txt, and of named lists, are here before the tests run.

Root: what is missing is installed. Anybody else: the one line to run is printed, and the tests that need the
missing parts are skipped; with CI=true a missing part is a failure.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LIST = Path(__file__).with_name("debian-packages.txt")


def wanted() -> list[str]:
    lists = (LIST, *map(Path, sys.argv[1:]))
    lines = (line.partition("#")[0].strip() for each in lists for line in each.read_text(encoding="utf-8").splitlines())
    return [name for name in lines if name]


def is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, check=True)


def main() -> int:
    in_ci = os.environ.get("CI") == "true"
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        print("This is no Debian. The tests look for what these packages hold:", *wanted())
        return 0  # each test that misses its part says so: a skip, or a failure with CI=true
    missing = [package for package in wanted() if not is_installed(package)]
    if missing and os.geteuid() == 0:
        install(missing)
        missing = [package for package in missing if not is_installed(package)]
    if missing:
        print("The tests need more from Debian. Run once:")
        print("    sudo apt-get install --no-install-recommends", *missing, flush=True)
    return 1 if missing and in_ci else 0


if __name__ == "__main__":
    sys.exit(main())
