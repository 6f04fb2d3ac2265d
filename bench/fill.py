"""Fills a database with customers who were imported and certified 345 days ago, fast (`bench.bulk` writes the rows).

Every row is a copy of one that the product wrote for customer 0 (`bench.template`), column for column. Made anew for
each customer: ids, keyed hashes, sealed personal data (they open), the key, the certificate (really signed by the CA),
the audit records with their seals, and the tree with its signed head, so that `chopmark audit verify` accepts it all.
Copied as they are: the moments (but when an OCSP answer is due), the code's nonce, the stored CSR but for its key (its
signature does not hold).
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import people
from bench.bulk import Postgres, Rows, store_of
from bench.template import Template
from chopmark.app.settings import Settings
from chopmark.audit.head import FIRST_HEAD, HeadDraft, decode_head, encode_head, head_hash
from chopmark.audit.headfile import HeadFile
from chopmark.audit.headkey import FileHeadSigner
from chopmark.audit.record import AuditKey, StoredRecord, parse_stamp
from chopmark.audit.tree import Frontier, hash_leaf
from chopmark.core.types import Secret
from chopmark.identity.sealed import NONCE_BYTES, Sealer, SealKey
from chopmark.keys.file import FileSigner
from chopmark.pki import der as ders
from chopmark.store.engine.opening import is_postgres
from chopmark.va.responder import LIFE

CHUNK = 2_000
PROCESSES = 2
_DUE_WITHIN_MS = int(LIFE / timedelta(milliseconds=2))
"""OCSP answers are signed again at half their life: those of customers who came one by one are due all over it."""
Make = Callable[[Mapping[str, str], "Person"], Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a generator process needs; the secrets are those of a throw-away installation."""

    template: Template
    database: str
    data_key: bytes
    lookup_key: bytes
    audit_key: bytes
    passphrase: str


_BASE32 = str.maketrans("01894567abcdef23", "QRSTUVWXABCDEFYZ")


_random = Random(secrets.token_bytes(32))
"""Not the system's: fifty calls of that a customer would cost more than the customer's key."""


def _new_id() -> str:
    """Return an id as the product's look, of fewer random bits: 26 characters of the base32 alphabet."""
    return f"{_random.getrandbits(104):026x}".translate(_BASE32)


class Person:
    """The bytes that are made anew for one customer."""

    def __init__(self, i: int, job: "Maker") -> None:
        self.i = i
        key = people.old_key(i).public_key()
        self.point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.serial = b"\x01" + _random.randbytes(17)
        self.tbs = job.tbs(self)
        self.der = ders.signed(self.tbs, job.algorithm, job.signer.sign(self.tbs))
        email, mobile, state = people.email(i), people.mobile(i), people.person_id(i)
        self.words = {
            "number": people.number(i),
            "account": people.account(i),
            "last3": people.account(i)[-3:],
            "serial": self.serial.hex().upper(),
            "spki": hashlib.sha256(job.before_point + self.point).hexdigest(),
            "person": job.sealer.lookup_hash("person_id", state),
            "email": job.sealer.lookup_hash("destination", email),
            "mobile": job.sealer.lookup_hash("destination", mobile),
            **{name: _new_id() for name in job.ids},
        }
        self.plain = {
            "person_id_sealed": state,
            "name_sealed": people.NAME,
            "birth_date_sealed": people.BIRTH.isoformat(),
            "email": email,
            "mobile": mobile,
        }


class Maker:
    """Makes rows out of a template; compiled once a process."""

    def __init__(self, job: Job) -> None:
        self.template = job.template
        self.sealer = Sealer(SealKey("data-1", job.data_key), job.lookup_key)
        self.audit = AuditKey("audit-1", job.audit_key)
        self.signer = FileSigner.open(job.template.ca_key, Secret(job.passphrase))
        rows = job.template.rows
        self._now = int(datetime.now(UTC).timestamp() * 1000)
        self.old_tbs: bytes = job.template.one("certificates", "tbs")
        tokens = self._tokens()
        self.ids = [name for name in tokens if name.startswith("id")]
        self._tokens_by_value = {value: name for name, value in tokens.items()}
        old: bytes = job.template.one("certificates", "der")
        self.algorithm = _signature_algorithm(old, self.old_tbs)
        self._cuts = self._tbs_cuts()
        old_spki = people.old_key(0).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.before_point, _ = _around(old_spki, self._old_point())
        self.columns: dict[str, list[str]] = {}
        self._makers: dict[str, list[tuple[list[Any], list[tuple[int, Make]]]]] = {}
        for table in rows:
            if table not in {"leaves", "chains"}:
                self.columns[table] = list(rows[table][0])
                self._makers[table] = [self._row(table, row) for row in rows[table]]
        self._records = [self._record(row) for row in sorted(rows["leaves"], key=lambda row: row["entry"])]
        self.columns["leaves"] = ["entry", "chain", "version", "previous", "at", "event", "facts", "kid", "mac"]
        self.columns["places"] = ["position", "entry"]
        self.columns["chains"] = ["chain", "version", "tip"]

    def _tokens(self) -> dict[str, str]:
        one, rows = self.template.one, self.template.rows
        contacts = {row["channel"]: row["destination_hash"] for row in rows["contacts"]}
        return {
            "number": one("customers", "id"),
            "account": one("accounts", "number"),
            "serial": one("certificates", "serial"),
            "spki": one("keys", "spki_sha256"),
            "person": one("customers", "person_id_hash"),
            **contacts,
            "id_order": one("orders", "id"),
            "id_challenge": one("challenges", "id"),
            **{f"id_work{at}": row["id"] for at, row in enumerate(rows["work"])},
        }

    def _format(self, value: str) -> str | None:
        """Return a format for text in which something of customer 0 stands, or None."""
        made = value.replace("%", "%%")
        for old, name in self._tokens_by_value.items():
            made = made.replace(old, f"%({name})s")
        made = made.replace('"account_last3": "000"', '"account_last3": "%(last3)s"')
        return made if made != value.replace("%", "%%") else None

    def _row(self, table: str, row: Mapping[str, Any]) -> tuple[list[Any], list[tuple[int, Make]]]:
        """Return what every customer's row has, and by place how the rest is made."""
        parts = [self._maker(table, row, name) for name in row]
        return [None if callable(part) else part for part in parts], [
            (at, part) for at, part in enumerate(parts) if callable(part)
        ]

    def _maker(self, table: str, row: Mapping[str, Any], name: str) -> Make | Any:
        value = row[name]
        if isinstance(value, str):
            form = self._format(value)
            return value if form is None else lambda words, _: form % words
        if name == "answer_due":
            return lambda _words, _one: self._now + _random.randrange(_DUE_WITHIN_MS)
        if not isinstance(value, bytes):
            return value
        if name == "value_sealed":
            channel, version = row["channel"], row["version"]
            return lambda words, one: self._seal(one.plain[channel], "contacts", channel, words["number"], version)
        if name.endswith("_sealed"):
            column, version = name.removesuffix("_sealed"), row["version"]
            return lambda words, one: self._seal(one.plain[name], table, column, words["number"], version)
        if name in {"tbs", "der"}:
            return lambda _, one: getattr(one, name)
        if name == "csr":
            before, after = _around(value, self._old_point())
            return lambda _, one: before + one.point + after
        return value

    def _seal(self, value: str, table: str, column: str, row: str, version: int) -> bytes:
        return self.sealer.seal(value, table, column, row, version, _random.randbytes(NONCE_BYTES))

    def _old_point(self) -> bytes:
        return people.old_key(0).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def _tbs_cuts(self) -> list[bytes]:
        point = self._old_point()
        pieces, rest = [], self.old_tbs
        serial = bytes.fromhex(self.template.one("certificates", "serial"))
        for part in (serial, people.number(0).encode(), point, hashlib.sha1(point).digest()):
            before, rest = _around(rest, part)
            pieces.append(before)
        return [*pieces, rest]

    def tbs(self, one: Person) -> bytes:
        """Return the customer's TBSCertificate: customer 0's with serial, name, key and key identifier exchanged."""
        a, b, c, d, e = self._cuts
        identifier = hashlib.sha1(one.point).digest()
        return a + one.serial + b + people.number(one.i).encode() + c + one.point + d + identifier + e

    def _record(self, row: Mapping[str, Any]) -> tuple[str, int, str, str, str, str]:
        fields = ("version", "previous", "at", "event", "facts", "kid", "mac")
        stored = StoredRecord(stream=row["chain"], **{name: row[name] for name in fields})
        canonical = stored.canonical().decode()
        form = self._format(canonical.replace(row["previous"].hex(), "@PREVIOUS@")) or canonical
        form = form.replace("@PREVIOUS@", "%(previous)s")
        chain = self._format(row["chain"]) or row["chain"]
        return chain, row["version"], row["at"], row["event"], self._format(row["facts"]) or row["facts"], form

    def person(self, i: int, out: Rows, position: int, entry: int) -> list[bytes]:
        """Add customer i's rows; return the hashes of the records, which have places and entries from these on."""
        one = Person(i, self)
        words = one.words
        for table, makers in self._makers.items():
            for same, made in makers:
                row = same.copy()
                for at, make in made:
                    row[at] = make(words, one)
                out[table].append(tuple(row))
        tips: dict[str, tuple[int, bytes]] = {}
        hashes: list[bytes] = []
        for chain_form, version, moment, event, facts, form in self._records:
            chain = chain_form % words
            previous = tips[chain][1] if chain in tips else bytes(32)
            words["previous"] = previous.hex()
            canonical = (form % words).encode()
            mac = self.audit.mac(canonical)
            hashes.append(hash_leaf(canonical + mac))
            tips[chain] = (version, hashes[-1])
            at = entry + len(hashes) - 1
            out["leaves"].append((at, chain, version, previous, moment, event, facts % words, "audit-1", mac))
            out["places"].append((position + len(hashes) - 1, at))
        out["chains"] += [(chain, version, tip) for chain, (version, tip) in tips.items()]
        return hashes

    @property
    def leaves_each(self) -> int:
        """The number of records of one customer."""
        return len(self._records)


def _around(whole: bytes, part: bytes) -> tuple[bytes, bytes]:
    if whole.count(part) != 1:
        raise ValueError("the template has that not exactly once")
    before, _, after = whole.partition(part)
    return before, after


def _signature_algorithm(der: bytes, tbs: bytes) -> bytes:
    rest = der.partition(tbs)[2]
    return rest[: 2 + rest[1]]


_maker: Maker | None = None


def _begin(job: Job) -> None:
    global _maker  # noqa: PLW0603 - one a generator process, compiled once
    _maker = Maker(job)


def _chunk(database: str, first: int, last: int, position: int, entry: int) -> tuple[list[bytes], Rows]:
    """Make customers first to last - 1; PostgreSQL's rows are written here, SQLite's by the one process that may."""
    maker = _maker
    if maker is None:
        raise RuntimeError("the generator has not begun")
    rows: Rows = {table: [] for table in maker.columns}
    hashes: list[bytes] = []
    for i in range(first, last):
        hashes += maker.person(i, rows, position + len(hashes), entry + len(hashes))
    if is_postgres(database):
        Postgres(database).write(maker.columns, rows)
        return hashes, {}
    return hashes, rows


def job_of(settings: Settings, template: Template) -> Job:
    """Return the generator's job for an installation."""

    def key(name: str) -> bytes:
        return bytes.fromhex(getattr(settings, name).get_secret_value())

    passphrase = settings.ca_passphrase.get_secret_value()
    url = settings.database_url
    return Job(template, url, key("data_key"), key("lookup_key"), key("audit_key"), passphrase)


def fill(job: Job, data: Path, first: int, last: int) -> str:
    """Write customers first to last - 1 and the head over their records; return what took how long.

    PostgreSQL's tables are analysed, as its autovacuum would; SQLite's are not, as the product never does. No leaf may
    be waiting for the sequencer, and nobody else may write meanwhile.
    """
    maker, store, begun = Maker(job), store_of(job.database), time.perf_counter()
    head, entry = store.begin(list(maker.columns))
    frontier = Frontier() if head is None else Frontier.from_bytes(head[0], head[2])
    chunks = [(at, min(last, at + CHUNK)) for at in range(first, last, CHUNK)]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _begin, (job,)) as pool:
        for hashes, rows in _in_turn(pool, job, chunks, (frontier.size, entry + 1), maker.leaves_each):
            if rows:
                store.write(maker.columns, rows)
            for one in hashes:
                frontier = frontier.append(one)
    written = time.perf_counter()
    signer = FileHeadSigner.open((data / "audit-head.key.pem").read_bytes())
    before = None if head is None else decode_head(head[1])
    moments = [parse_stamp(row["at"]) for row in job.template.rows["leaves"]]
    moments += [] if before is None else [before.draft.at]
    draft = HeadDraft(
        size=frontier.size,
        root=frontier.root(),
        at=max(moments) + timedelta(seconds=1),
        previous=FIRST_HEAD if before is None else head_hash(before),
        fencing=1 if before is None else before.draft.fencing,
    )
    signed = draft.signed(signer.sign(draft.message()))
    store.end((signed.size, encode_head(signed), frontier.to_bytes()))
    HeadFile(data / "heads.jsonl").append(signed)
    ended = time.perf_counter()
    return f"{ended - begun:.0f} s: {written - begun:.0f} for the rows, {ended - written:.0f} for keys and indexes"


def _in_turn(
    pool: ProcessPoolExecutor, job: Job, chunks: Sequence[tuple[int, int]], start: tuple[int, int], each: int
) -> Iterator[tuple[list[bytes], Rows]]:
    """Yield what the chunks make in their order, a few ahead only."""
    waiting: list[Future[tuple[list[bytes], Rows]]] = []
    for begin, end in chunks:
        before = (begin - chunks[0][0]) * each
        waiting.append(pool.submit(_chunk, job.database, begin, end, start[0] + before, start[1] + before))
        if len(waiting) > PROCESSES * 2:
            yield waiting.pop(0).result()
    for one in waiting:
        yield one.result()
