"""What Chopmark is measured beside: openssl speed, cfssl with PostgreSQL, cfssl ocspserve; wrk as client."""

import json
import os
import re
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.http import Connection, request
from bench.site import ended, free_port
from bench.world import awaited

CFSSL_SCHEMA = """
CREATE TABLE certificates (
  serial_number bytea NOT NULL, authority_key_identifier bytea NOT NULL, ca_label bytea, status bytea NOT NULL,
  reason int, expiry timestamptz, revoked_at timestamptz, pem bytea NOT NULL,
  PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (
  serial_number bytea NOT NULL, authority_key_identifier bytea NOT NULL, body bytea NOT NULL, expiry timestamptz,
  PRIMARY KEY (serial_number, authority_key_identifier),
  FOREIGN KEY (serial_number, authority_key_identifier)
    REFERENCES certificates (serial_number, authority_key_identifier));
"""
"""The two tables that cfssl 1.2 reads and writes."""


def openssl_p256(seconds: int, processes: int) -> tuple[float, float]:
    """Return signatures and verifications a second by `openssl speed`, P-256, that many processes."""
    command = ["openssl", "speed", "-seconds", str(seconds), "-multi", str(processes), "ecdsap256"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sign, verify = said.strip().splitlines()[-1].split()[-2:]
    return float(sign), float(verify)


def has_cfssl() -> bool:
    """Whether cfssl is installed (Debian: golang-cfssl)."""
    return shutil.which("cfssl") is not None


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


@dataclass(frozen=True, slots=True)
class Wrk:
    """What wrk saw."""

    requests_a_second: float
    client_cores: float


def wrk(url: str, script: Path | None, seconds: float, connections: int) -> Wrk:
    """Return what wrk measures with one thread; RuntimeError when anything but 2xx came back."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += [] if script is None else ["-s", str(script)]
    before, begun = os.times(), time.perf_counter()
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    after, took = os.times(), time.perf_counter() - begun
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"wrk at {url}: {said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said nothing of use: {said}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Wrk(float(found[1]), cpu / took)


def wrk_requests(
    folder: Path, name: str, method: str, requests: Sequence[tuple[str, bytes]], headers: Mapping[str, str]
) -> Path:
    """Write wrk's script: it sends these paths and bodies in turn, each request's octets made once."""
    fields = ", ".join(f"[{_lua(key.encode())}] = {_lua(value.encode())}" for key, value in headers.items())
    pairs = ",\n".join(f"{{{_lua(path.encode())}, {_lua(body) if body else 'nil'}}}" for path, body in requests)
    lines = [
        f"local asked = {{\n{pairs}}}",
        f"local headers, made, at = {{{fields}}}, {{}}, 0",
        "function init()",
        f"  for i, one in ipairs(asked) do made[i] = wrk.format('{method}', one[1], headers, one[2]) end",
        "end",
        "function request() at = at % #made + 1; return made[at] end",
    ]
    script = folder / f"{name}.lua"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return script


def _lua(octets: bytes) -> str:
    """Return a Lua string of the octets, every unusual one as a decimal escape."""
    plain = (chr(o) if 32 <= o < 127 and chr(o) not in '\\"' else f"\\{o:03d}" for o in octets)
    return '"' + "".join(plain) + '"'


@contextmanager
def cfssl(arguments: Sequence[str], folder: Path) -> Iterator[tuple[int, int]]:
    """Give port and process id of a running `cfssl ARGUMENTS`, which says nothing about single requests."""
    port = free_port()
    command = ["cfssl", *arguments, "-address=127.0.0.1", f"-port={port}", "-loglevel=5"]
    with (folder / "cfssl.log").open("a") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True)
    try:
        awaited(port)
        yield port, process.pid
    finally:
        ended(process)


@contextmanager
def cfssl_ca(folder: Path, dsn: str) -> Iterator[tuple[int, int]]:
    """Give a cfssl that signs with a P-256 CA and records each certificate in PostgreSQL (asyncpg's dsn)."""
    signing = {"usages": ["digital signature", "content commitment", "client auth"], "expiry": "8760h"}
    about = {"CN": "bench", "key": {"algo": "ecdsa", "size": 256}}
    (folder / "config.json").write_text(json.dumps({"signing": {"default": signing}}))
    (folder / "ca.json").write_text(json.dumps(about))
    made = subprocess.run(
        ["cfssl", "gencert", "-initca", "-loglevel=5", "ca.json"], cwd=folder, capture_output=True, check=True
    )
    for name, pem in json.loads(made.stdout).items():
        (folder / f"ca-{name}.pem").write_text(pem)
    user, _, rest = dsn.removeprefix("postgresql://").partition("@/")
    database, _, host = rest.partition("?host=")
    source = f"host={host} user={user} dbname={database} sslmode=disable"
    (folder / "db.json").write_text(json.dumps({"driver": "postgres", "data_source": source}))
    files = ["-ca=ca-cert.pem", "-ca-key=ca-key.pem", "-config=config.json", "-db-config=db.json"]
    with cfssl(["serve", *files], folder) as running:
        yield running


async def make_cfssl_tables(dsn: str) -> None:
    """Make cfssl's tables in an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(CFSSL_SCHEMA)
    finally:
        await connection.close()


async def answer_of(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the body of one answer; RuntimeError unless it is 200."""
    connection = await Connection.open("127.0.0.1", port)
    answer = await connection.request(request(method, path, headers, body))
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status}: {answer.body[:200]!r}")
    return answer.body


def responses_file(folder: Path, answers: Sequence[bytes]) -> Path:
    """Write OCSP answers as cfssl reads them: base64, a line each."""
    file = folder / "responses"
    file.write_text("".join(b64encode(der).decode() + "\n" for der in answers))
    return file


def as_json(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"))
