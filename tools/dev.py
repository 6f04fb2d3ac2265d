"""The demo while its sources change: Vite builds again what changed, and the demo begins anew with its own past.

make dev, or .venv/bin/python tools/dev.py [arguments of `chopmark demo`]
"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "chopmark"
MANIFEST = SOURCE / "web" / "static" / "build" / "manifest.json"
WATCHED = {".py", ".html", ".po", ".toml", ".css", ".txt"}
LOOK_EVERY_S = 0.5
STOPS_WITHIN_S = 10


def stamps(folder: Path = SOURCE, manifest: Path = MANIFEST) -> Mapping[Path, int]:
    """When each file that the demo reads was last written; of what Vite writes only the manifest, which comes last."""
    found = {}
    for path in [*folder.rglob("*"), manifest]:
        if (path.suffix in WATCHED and not path.is_relative_to(manifest.parent)) or path == manifest:
            try:
                found[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
    return found


def changed(before: Mapping[Path, int], after: Mapping[Path, int]) -> list[Path]:
    """The files that were written, made or removed; a manifest that is gone comes back when Vite is ready."""
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(path for path in differing if path in after or path.name != MANIFEST.name)


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "chopmark", "demo", *arguments], cwd=ROOT)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """End a process; one that does not end is killed, its data are whole all the same."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    vite = subprocess.Popen([ROOT / "tools" / "npm", "--prefix", "browser", "run", "build", "--", "--watch"], cwd=ROOT)
    demo, seen = started(sys.argv[1:]), stamps()
    try:
        while vite.poll() is None:
            time.sleep(LOOK_EVERY_S)
            now = stamps()
            if what := changed(seen, now):
                seen = now
                print(f"dev: {what[0].relative_to(ROOT)} changed, the demo begins anew", flush=True)
                stopped(demo)
                demo = started([each for each in sys.argv[1:] if each != "--reset"])
        return vite.returncode
    except KeyboardInterrupt:
        return 0
    finally:
        stopped(demo)
        stopped(vite)


if __name__ == "__main__":
    sys.exit(main())
