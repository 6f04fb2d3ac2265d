"""An import of certificates with a directory in memory: whose each one is, what is staged, and what is told of it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, Tip, new_stream
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, CustomerId
from chopmark.ra.certificate_import.ports import Asked, Begun, Known
from chopmark.ra.certificate_import.report import Found
from chopmark.ra.certificate_import.run import CertificateImport
from chopmark.ra.former_issuers import FormerIssuer, FormerIssuers, NoStatus
from chopmark.ra.imported import Fingerprint, ImportedCertificate
from tests.tables import Clock

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
OLD, KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
DER = serialization.Encoding.DER
ANN, BEN = CustomerId("C1"), CustomerId("C2")
ANN_ID, BEN_ID = "A120034503", "F220034519"
"""Made up; the check digits are right."""


def certificate(name: str, key: ec.EllipticCurvePrivateKey = KEY, serial: int = 0x1234) -> bytes:
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The old CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, NOW, NOW + timedelta(days=30))
    return made.sign(OLD, hashes.SHA256()).public_bytes(DER)


FORMER = FormerIssuer("old", "舊", "Old", (certificate("The old CA", OLD),), ("CN=p-{person_id}", "CN=c-{customer}"))


class Hashes:
    """Hashes as nobody else does."""

    def lookup_hash(self, kind: str, value: str) -> str:
        return f"{kind}/{value}"


class NoTips:
    """Every stream begins."""

    async def tip(self, stream: StreamId) -> Tip:
        return new_stream(stream)


class Counting:
    """Random bytes that differ."""

    count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


@dataclass
class Registry:
    """The directory, and what a run leaves in it. `begun` is how far a process that was killed had come."""

    there: frozenset[Fingerprint] = frozenset()
    keys: Mapping[str, frozenset[CustomerId]] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    certified: frozenset[CustomerId] = frozenset()
    begun: int = 0
    staged: list[tuple[int, int]] = field(default_factory=list)
    rows: list[ImportedCertificate] = field(default_factory=list)
    finished: bool = False
    given_up: bool = False

    async def known(self, asked: Asked, now: datetime) -> Known:
        persons = {f"person_id/{ANN_ID}": ANN, f"person_id/{BEN_ID}": BEN}
        accounts = {AccountNumber("F1-1"): ANN, AccountNumber("F1-2"): BEN}
        return Known(
            {one: persons[one] for one in asked.persons if one in persons},
            {AccountNumber(one): accounts[AccountNumber(one)] for one in asked.accounts if one in accounts},
            frozenset(CustomerId(one) for one in asked.customers if one in {ANN, BEN}),
            self.there, self.keys, self.blocked, self.certified,
        )  # fmt: skip

    async def begin(self, run: str, input_sha256: str, staff: str, now: datetime) -> Begun:
        return Begun(run, self.begun)

    async def sweep(self, most: int) -> int:
        return 0

    async def stage(
        self, run: str, start: int, end: int, rows: Sequence[ImportedCertificate], now: datetime
    ) -> Refusal | None:
        self.staged.append((start, end))
        self.rows += rows
        return None

    async def shared_keys(self, run: str, most: int) -> list[str]:
        return []

    async def leave_out(self, run: str, keys: Sequence[str]) -> None:
        raise AssertionError("no key is shared")

    async def finish(self, run: str, done: int, report: str, now: datetime, record: AuditRecord) -> bool:
        self.finished = True
        return True

    async def give_up(self, run: str) -> None:
        self.given_up = True


def importing(registry: Registry, batch: int = 10) -> CertificateImport:
    clock = Clock(NOW)
    log = AuditLog(NoTips(), AuditKey("a1", bytes(32)), clock)
    former = FormerIssuers({"old": FORMER}, NoStatus())
    return CertificateImport(registry, Hashes(), log, clock, Counting(), former, "investor", batch)  # type: ignore[arg-type]


def table(folder: Path, *lines: tuple[bytes, str, str, str]) -> Path:
    """Write a table of certificates with customer, person id and account."""
    path = folder / "a.csv"
    written = (",".join((base64.b64encode(der).decode(), *cells)) for der, *cells in lines)
    path.write_text("\n".join(("certificate,customer,person_id,account", *written)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "cells", "found"),
    [
        (f"p-{ANN_ID}", ("", "", ""), Found.MATCHED),
        ("c-C1", ("", "", ""), Found.MATCHED),
        ("Somebody", ("C1", "", ""), Found.MATCHED),
        ("Somebody", ("", ANN_ID, ""), Found.MATCHED),
        ("Somebody", ("", "", "f1-1"), Found.MATCHED),
        ("Somebody", ("", "", "Ｆ１－１"), Found.MATCHED),
        ("Somebody", ("C1", ANN_ID, "F1-1"), Found.MATCHED),
        (f"p-{ANN_ID}", ("C1", "", "F1-1"), Found.MATCHED),
        ("Somebody", ("", "", ""), Found.NO_TEMPLATE),
        ("Somebody", ("", "A120034504", ""), Found.NO_TEMPLATE),
        ("Somebody", ("C9", "", ""), Found.NO_CUSTOMER),
        ("Somebody", ("C2", ANN_ID, ""), Found.TWO_CUSTOMERS),
        ("Somebody", ("C1", "", "F1-2"), Found.TWO_CUSTOMERS),
        ("Somebody", ("C1", BEN_ID, ""), Found.TWO_CUSTOMERS),
        (f"p-{ANN_ID}", ("C2", "", ""), Found.TWO_CUSTOMERS),
        ("c-C9", ("C1", "", ""), Found.TWO_CUSTOMERS),
    ],
)
async def test_a_certificate_is_whose_subject_and_table_name_together(
    tmp_path: Path, name: str, cells: tuple[str, str, str], found: Found
) -> None:
    registry = Registry()
    report = await importing(registry).run([table(tmp_path, (certificate(name), *cells))], "amy")
    assert report.counts == {found: 1}
    assert [row.customer for row in registry.rows] == ([ANN] if found is Found.MATCHED else [])


@pytest.mark.parametrize(
    ("registry", "found"),
    [
        (Registry(), Found.MATCHED),
        (Registry(blocked=frozenset({"key"})), Found.KEY_BLOCKED),
        (Registry(keys={"key": frozenset({ANN})}), Found.MATCHED),
        (Registry(keys={"key": frozenset({ANN, BEN})}), Found.KEY_SHARED),
        (Registry(keys={"key": frozenset({BEN})}), Found.KEY_SHARED),
        (Registry(there=frozenset({Fingerprint("there")})), Found.THERE),
    ],
    ids=["nothing", "blocked", "their own", "another's too", "another's", "there"],
)
async def test_what_is_known_of_a_certificate_and_its_key_decides(
    tmp_path: Path, registry: Registry, found: Found
) -> None:
    der = certificate("c-C1")
    spki = hashed(KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    registry.blocked = frozenset(spki for _ in registry.blocked)
    registry.keys = dict(zip([spki], registry.keys.values(), strict=False))
    registry.there = frozenset(Fingerprint(hashed(der)) for _ in registry.there)
    (tmp_path / "a.cer").write_bytes(der)
    assert (await importing(registry).run([tmp_path / "a.cer"], "amy")).counts == {found: 1}


def hashed(data: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize().hex()


@pytest.mark.parametrize(
    ("account", "kept"), [("F1-1", "F1-1"), ("F1-9", None), ("", None)], ids=["theirs", "nobody's", "none"]
)
async def test_the_account_is_kept_only_where_it_is_the_customer_s(
    tmp_path: Path, account: str, kept: str | None
) -> None:
    registry = Registry()
    await importing(registry).run([table(tmp_path, (certificate("c-C1"), "", "", account))], "amy")
    assert [row.account for row in registry.rows] == [kept]


def pem(number: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.load_der_x509_certificate(certificate("c-C1", key, number))
    return made.public_bytes(serialization.Encoding.PEM)


async def test_a_run_goes_on_where_a_process_that_was_killed_had_come_to(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(b"".join(pem(number) for number in range(1, 6)))
    whole, rest, new = Registry(), Registry(begun=3), Registry()
    assert (await importing(whole, 2).run([tmp_path], "amy")).resumed_at is None
    assert (whole.staged, len(whole.rows), whole.finished) == ([(0, 2), (2, 4), (4, 5)], 5, True)
    report = await importing(rest, 2).run([tmp_path], "amy")
    assert (report.resumed_at, report.imported, report.counts) == (3, 5, {Found.MATCHED: 5})
    assert (rest.staged, [row.serial for row in rest.rows]) == ([(3, 4), (4, 5)], ["04", "05"])
    await importing(new).check([tmp_path])
    assert (new.staged, new.rows, new.finished) == ([], [], False)


async def test_nothing_takes_effect_where_something_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(pem(1) + b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    registry = Registry()
    report = await importing(registry).run([tmp_path], "amy")
    assert (report.imported, len(report.unreadable), report.counts[Found.MATCHED]) == (0, 1, 1)
    assert (registry.finished, registry.given_up) == (False, True)


async def test_the_progress_counts_each_octet_twice_and_ends_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(b"".join(pem(number) for number in range(1, 4)) + b"and some text\n")
    size, told = (tmp_path / "a.pem").stat().st_size, list[tuple[int, int]]()
    await importing(Registry(), 1).check([tmp_path], lambda done, total: told.append((done, total)))
    done = [one for one, _ in told]
    assert done == sorted(done)
    assert (done[-1], {total for _, total in told}) == (2 * size, {2 * size})
