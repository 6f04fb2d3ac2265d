"""An operator's shell in one process: `chopmark` lines by our command line, everything else by sh; stops at a failure.

Reads its commands from stdin. One process is enough for all of them: what takes long is loading the lint.
"""

import shlex
import subprocess
import sys

from chopmark.cli.command_line import app


def main() -> int:
    rest = ""
    for line in sys.stdin:
        if not line.startswith("chopmark ") or ("<<" in rest and "\nEND\n" not in rest):
            rest += line
            continue
        if rest and subprocess.run(["sh", "-ec", rest], check=False).returncode:
            return 1
        rest = ""
        if app(shlex.split(line)[1:], exit_on_error=False):
            return 1
        sys.stdout.flush()
    return subprocess.run(["sh", "-ec", rest], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
