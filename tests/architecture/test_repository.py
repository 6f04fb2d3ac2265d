"""What is committed: no address of a registry, no path of a machine, no key; locks pinned by hash."""

import re
import subprocess

import pytest

from tests.architecture.rules import LONGEST_FILE, REPOSITORY

LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-node.lock",
    "requirements-hsm.lock",
    "requirements-alarms.lock",
    "requirements-production.lock",
)

# The names are put together here so that this file does not find itself.
REGISTRY = re.compile(
    "|".join(
        re.escape(".".join(host))
        for host in (
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("registry", "yarnpkg", "com"),
            ("deb", "debian", "org"),
        )
    )
    + r'|"resolved'
    + r'":'
)
MACHINE_PATH = re.compile(r"(?<![\w./-])/(" + "work|farm|root|tmp" + r")/\w")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----\s+[A-Za-z0-9+/]{40}")
LEFTOVER_TS = re.compile(r"\b(TODO|FIXME|XXX)\b|@ts-(ignore|nocheck|expect-error)|eslint-disable")


def committed() -> dict[str, str]:
    """Every text file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    files = {name: REPOSITORY / name for name in listed if name}
    contents = {name: path.read_bytes() for name, path in files.items() if path.is_file() and not path.is_symlink()}
    return {name: data.decode("utf-8", "replace") for name, data in contents.items() if b"\0" not in data[:8000]}


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return committed()


def findings(pattern: re.Pattern[str], files: dict[str, str]) -> list[str]:
    return [f"{name}: {found[0]}" for name, text in files.items() for found in pattern.finditer(text)]


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE_PATH, PRIVATE_KEY], ids=["registry", "machine path", "key"])
def test_no_committed_file_holds(pattern: re.Pattern[str], files: dict[str, str]) -> None:
    assert findings(pattern, files) == []


@pytest.mark.parametrize(
    ("pattern", "sample"),
    [
        (REGISTRY, "--index-url https://pypi" + ".org/simple"),
        (REGISTRY, '"resolved' + '": "https://somewhere/x.tgz"'),
        (MACHINE_PATH, "see /" + "work/main/README.md"),
        (MACHINE_PATH, "DATA = '/" + "tmp/data'"),
        (PRIVATE_KEY, "-----BEGIN EC PRIVATE " + "KEY-----\n" + "A" * 64),
    ],
)
def test_the_search_finds_a_bad_file(pattern: re.Pattern[str], sample: str) -> None:
    assert findings(pattern, {"bad.txt": sample})


def test_typescript_files_tell_one_story_and_leave_nothing_for_later(files: dict[str, str]) -> None:
    ours = {n: t for n, t in files.items() if n.startswith("browser/src/") and n.endswith(".ts")}
    assert [n for n, t in ours.items() if t.count("\n") > LONGEST_FILE] == []
    assert findings(LEFTOVER_TS, ours) == []


def entry_lines(lock: str) -> str:
    """A lock with each entry on one line."""
    return re.sub(r"\\\n\s*", " ", (REPOSITORY / lock).read_text(encoding="utf-8"))


def requirements(text: str) -> dict[str, str]:
    """name -> its entry: version, marker and hashes."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {re.split(r"[=\s@;]", line, maxsplit=1)[0]: line for line in lines}


def unpinned(text: str) -> list[str]:
    pinned = re.compile(r"[A-Za-z0-9._-]+==\S+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+")
    return [line for line in requirements(text).values() if not pinned.fullmatch(line)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_version_and_hashes_for_each_package_and_no_address(lock: str) -> None:
    text = entry_lines(lock)
    assert requirements(text)
    assert unpinned(text) == []
    assert "://" not in text


@pytest.mark.parametrize(
    "line",
    ["rich==15.0.0", "rich>=15 --hash=sha256:" + "0" * 64, "--find-links wheels", "rich @ https://host/rich.whl"],
)
def test_an_unpinned_line_is_found(line: str) -> None:
    assert unpinned(line + "\n") == [line]


def test_what_runs_is_what_was_tested() -> None:
    """The tests' lock holds the very versions and hashes of the lock that `make run` installs."""
    marker = re.compile(r" ; .*?(?= +--hash)")
    run, dev = (requirements(marker.sub("", entry_lines(lock))) for lock in LOCKS[:2])
    assert {name: dev.get(name) for name in run} == run
