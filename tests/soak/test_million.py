"""A million customers are imported in constant memory, and a second run of the same file changes nothing."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LINES = int(os.environ.get("CHOPMARK_IMPORT_LINES", "1000000"))
MOST_MIB = 200
_WEIGHTS = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1)
_LETTERS = {"A": 10, "B": 11, "C": 12, "D": 13, "E": 14, "F": 15, "G": 16, "H": 17, "J": 18, "K": 19}


def person_id(number: int) -> str:
    """Return a synthetic national id with its check digit (domain rule: weights 1,9,8,7,6,5,4,3,2,1,1)."""
    letter = "ABCDEFGHJK"[number // 10_000_000 % 10]
    body = f"1{number % 10_000_000:07d}"
    digits = [int(digit) for digit in f"{_LETTERS[letter]}{body}"]
    total = sum(digit * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))
    return f"{letter}{body}{-total % 10}"


def sheet(lines: int) -> Iterator[str]:
    yield "customer,person_id,name,birth_date,mobile,email,accounts,verified_on\n"
    for n in range(lines):
        mobile = f"09{n % 100_000_000:08d}"
        yield f"S{n:08d},{person_id(n)},測試,1970-01-01,{mobile},c{n}@example.com,F014000-{n:07d},2025-01-02\n"


def test_a_million_lines_are_imported_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    with path.open("w", encoding="utf-8") as out:
        out.writelines(sheet(LINES))
    names = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase")
    secrets = {f"CHOPMARK_{name.upper()}": os.urandom(32).hex() for name in names}
    urls = {"CHOPMARK_PUBLIC_URL": "https://a.example.com", "CHOPMARK_STATUS_URL": "http://a.example.com"}
    environment = {**os.environ, **secrets, **urls, "CHOPMARK_DATA": str(tmp_path / "data")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "chopmark", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    run("ca", "init")
    assert re.search(rf"{LINES} customers imported", run("customers", "import", str(path), "--by", "soak"))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MOST_MIB * 1024
