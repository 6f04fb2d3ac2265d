"""Check every stored certificate again, as an auditor would: the row, the reserved bytes and the audit records.

No column is trusted. The certificate's bytes are parsed again and compared with the profile's linting certificate, in
the same way as a draft is before it is signed. pkilint judges a sample, or all. A row that somebody has edited is
found here (I33).
"""

import hashlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat import asn1

from chopmark.audit.record import StoredRecord
from chopmark.ca.approval import Claimed, unapproved
from chopmark.ca.embedded import CertificateExpectations
from chopmark.ca.lint import Linter
from chopmark.ca.naming import named
from chopmark.ca.ports import Entry
from chopmark.core.types import CertificateState, Serial
from chopmark.pki import draft as drafts
from chopmark.pki import key_checks, signing
from chopmark.pki import linting_certificate as linting_certificates
from chopmark.pki.der import NotDer, encoded, require_der, require_whole_signature
from chopmark.pki.received import Naming
from chopmark.pki.shared import sharing
from chopmark.pki.x509 import IssuerView, TbsCertificate, moment, serial_hex

LIMBO_AFTER = timedelta(seconds=60)
"""I4: within this time a reservation is finished or given up, and a revocation that the RA has decided is done."""
SHARED = "key.rsa_shared_prime"
"""F38: two certificates have RSA keys with a prime in common, so anybody can compute both keys; block both."""
LONGEST_BACKDATE = timedelta(hours=1)
_ENDED = frozenset({CertificateState.REVOKED, CertificateState.ORPHANED, CertificateState.HELD})
_SIGNED = frozenset({CertificateState.ISSUED, CertificateState.REVOKED, CertificateState.HELD})


@dataclass(frozen=True, slots=True)
class Held:
    """What the RA has stored for the same serial."""

    order: str
    spki_sha256: str
    state: CertificateState
    der: bytes
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ordered:
    """The order that a certificate was made for; `key_customer` is the customer to whom its key belongs."""

    state: str
    customer: str
    serial: str | None
    spki_sha256: str | None
    key_customer: str | None
    account: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """How many records of the order's audit stream name this serial, by kind of event."""

    reserved: int
    issued: int
    revoked: int
    orphaned: int
    held: int = 0
    released: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate row, and everything in other tables that has to agree with it."""

    entry: Entry
    held: Held | None
    order: Ordered | None
    told: Told
    records: tuple[StoredRecord, ...] = ()
    """The order's audit records, from the first one on."""


class Rows(Protocol):
    """Reads what is stored and returns it unchanged."""

    def certificates(self) -> AsyncGenerator[Stored, None]:
        """Yield every certificate row of the installation as of one moment, those of one order together."""
        ...

    async def strays(self) -> list[Serial]:
        """Return serials that the RA has stored for customers and the CA has no row for."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold for one serial; `code` is stable."""

    serial: Serial
    code: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and how many certificates it has read and linted."""

    certificates: int
    linted: int
    faults: tuple[Fault, ...]

    def with_others(self, other: "Checked") -> "Checked":
        """Return the sum of this and another check; a fault that both have found is listed once."""
        faults = tuple(dict.fromkeys((*self.faults, *other.faults)))
        return Checked(self.certificates + other.certificates, self.linted + other.linted, faults)


class Checker:
    """Checks all rows; `lint_each` is 1 for pkilint on every certificate, n for every n-th, 0 for none.

    `standard` is for certificates of the CA that issues now; `earlier` are for those of the CAs before it.
    """

    def __init__(
        self,
        standard: CertificateExpectations,
        rows: Rows,
        lint_each: int = 10,
        earlier: Sequence[CertificateExpectations] = (),
    ) -> None:
        self._standards = {one.issuer.id: one for one in (*earlier, standard)}
        self._rows = rows
        self._lint_each = lint_each
        self._linter = Linter()
        self._moduli: dict[int, list[Serial]] = {}

    @property
    def moduli(self) -> Mapping[int, Sequence[Serial]]:
        """The RSA moduli that the last check has read, each with the serials that have it."""
        return self._moduli

    async def check(self, now: datetime) -> Checked:
        """Return every fault of every row."""
        self._moduli.clear()
        faults: list[Fault] = [Fault(serial, "holding_without_certificate") for serial in await self._rows.strays()]
        seen = linted = 0
        async with aclosing(self._rows.certificates()) as rows:
            async for row in rows:
                found = list(self._judge(row, now))
                if row.entry.der is not None and self._lint_each and seen % self._lint_each == 0:
                    found += [f"lint.{finding.code}" for finding in self._linter.findings_certificate(row.entry.der)]
                    linted += 1
                faults += [Fault(row.entry.reservation.serial, code) for code in found]
                seen += 1
        shared = sharing(self._moduli.keys())
        faults += [Fault(serial, SHARED) for number in shared for serial in self._moduli[number]]
        return Checked(seen, linted, tuple(faults))

    def _judge(self, row: Stored, now: datetime) -> Iterator[str]:
        entry = row.entry
        standard = self._standards.get(entry.reservation.issuer)
        if standard is None:
            yield "issuer_unknown"
            return
        yield from _contents(standard, entry, self._moduli)
        if entry.der is not None:
            yield from _signed(standard.issuer, entry.reservation.tbs, entry.der)
        yield from _states(entry, now)
        yield from _correspondence(row, now)
        yield from _audited(entry.state, row.told)
        yield from _approved(standard, row)


def _contents(standard: CertificateExpectations, entry: Entry, moduli: dict[int, list[Serial]]) -> Iterator[str]:
    """Yield where the reserved bytes (TBS) differ from the columns or from what the profile allows.

    Adds the modulus of an RSA key to `moduli`.
    """
    meant = entry.reservation
    try:
        require_der(meant.tbs)
        tbs = asn1.decode_der(TbsCertificate, meant.tbs)
    except (NotDer, ValueError):
        yield "tbs_malformed"
        return
    spki = encoded(tbs.public_key)
    modulus = key_checks.rsa_modulus(spki)
    if modulus is not None:
        moduli.setdefault(modulus, []).append(meant.serial)
    holds = {
        "serial": serial_hex(tbs.serial) == meant.serial,
        "not_before": moment(tbs.validity.not_before) == meant.not_before,
        "not_after": moment(tbs.validity.not_after) == meant.not_after,
        "spki": hashlib.sha256(spki).hexdigest() == meant.spki_sha256,
        "backdated": meant.not_before <= meant.reserved_at <= meant.not_before + LONGEST_BACKDATE,
    }
    yield from (field for field, held in holds.items() if not held)
    yield from (f"key.{finding.code}" for finding in key_checks.judge(spki))
    yield from _profile(standard, entry, tbs, spki)


def _profile(standard: CertificateExpectations, entry: Entry, tbs: TbsCertificate, spki_der: bytes) -> Iterator[str]:
    meant = entry.reservation
    profile = standard.profiles.get((meant.profile, meant.profile_version))
    if profile is None:
        yield "profile_unknown"
        return
    if meant.shard != drafts.shard(tbs.serial, profile.shards):
        yield "shard"
    try:
        linting_certificate = standard.linting_certificate(profile, key_checks.kind(spki_der))
    except ValueError:
        return
    if linting_certificate is None:
        yield "profile_unlinted"
        return
    yield from (
        finding.code
        for finding in linting_certificates.compare(meant.tbs, linting_certificate.tbs_der, linting_certificate.allowed)
    )


def _signed(issuer: IssuerView, tbs_der: bytes, certificate_der: bytes) -> Iterator[str]:
    """Yield what is wrong unless the certificate is the reserved bytes (TBS) with the issuer's signature.

    `cryptography` parses the certificate here, which did not take part in making it.
    """
    try:
        require_der(certificate_der)
        require_whole_signature(certificate_der)
        certificate = x509.load_der_x509_certificate(certificate_der)
    except (NotDer, ValueError):
        yield "certificate_malformed"
        return
    if certificate.tbs_certificate_bytes != tbs_der:
        yield "tbs_differs"
    if not signing.verifies(
        signing.public_key(issuer.spki_der),
        certificate.signature,
        certificate.tbs_certificate_bytes,
        issuer.key.hash_algorithm,
    ):
        yield "signature"


def _states(entry: Entry, now: datetime) -> Iterator[str]:
    """Yield where the columns of the row contradict one another."""
    if (entry.der is not None) != (entry.state in _SIGNED):
        yield "state_of_bytes"
    ended = entry.ended_at is not None, entry.reason is not None
    if ended != ((True, True) if entry.state in _ENDED else (False, False)):
        yield "state_of_end"
    if entry.state is CertificateState.RESERVED and now >= entry.reservation.reserved_at + LIMBO_AFTER:
        yield "limbo"


def _correspondence(row: Stored, now: datetime) -> Iterator[str]:
    """Yield where the RA's order, key and certificate row differ from the CA's row."""
    entry, order, held = row.entry, row.order, row.held
    meant = entry.reservation
    if order is None:
        yield "order_missing"
        return
    if order.spki_sha256 != meant.spki_sha256 and entry.state is not CertificateState.ORPHANED:
        yield "order_of_another_key"
    if order.key_customer != order.customer:
        yield "key_of_another"
    if entry.state not in _SIGNED:
        if held is not None:
            yield "holding_of_nothing"
        return
    if held is None:
        if order.state not in ("submitted", "pending"):
            yield "holding_missing"
        return
    if (held.order, held.spki_sha256, held.der) != (meant.order, meant.spki_sha256, entry.der):
        yield "holding_differs"
    if order.serial != meant.serial:
        yield "order_of_another_serial"
    yield from _endings(entry, held, now)


def _endings(entry: Entry, held: Held, now: datetime) -> Iterator[str]:
    """Yield where RA and CA disagree on whether the certificate has ended or is on hold."""
    live = held.state in (CertificateState.ACTIVE, CertificateState.ISSUED)
    if entry.state is CertificateState.REVOKED and live:
        yield "revoked_and_held"
    if entry.state is CertificateState.HELD and live and now >= (entry.ended_at or now) + LIMBO_AFTER:
        yield "on_hold_and_live"
    over = held.ended_at is not None and now >= held.ended_at + LIMBO_AFTER
    told = live or (held.state is CertificateState.HELD and entry.state is CertificateState.HELD)
    if entry.state is not CertificateState.REVOKED and not told and over:
        yield "ended_and_not_revoked"


def _audited(state: CertificateState, told: Told) -> Iterator[str]:
    """Yield a fault unless the audit has exactly one record for each step taken, and none for a step not taken."""
    on_hold = told.held - told.released
    wanted = Told(
        reserved=1,
        issued=int(state in _SIGNED),
        revoked=int(state is CertificateState.REVOKED),
        orphaned=int(state is CertificateState.ORPHANED),
        held=told.released + (on_hold == 1 if state is CertificateState.REVOKED else state is CertificateState.HELD),
        released=told.released,
    )
    if told != wanted:
        yield "audit_differs"


def _approved(standard: CertificateExpectations, row: Stored) -> Iterator[str]:
    """Yield a fault unless the order's records prove the customer's approval of this key, and the subject is theirs."""
    meant, order = row.entry.reservation, row.order
    customer, account = ("", "") if order is None else (order.customer, order.account)
    yield from unapproved(
        row.records, standard.terms, Claimed(meant.order, customer, account, meant.profile, meant.spki_sha256)
    )
    profile = standard.profiles.get((meant.profile, meant.profile_version))
    if profile is None or order is None or row.entry.der is None:
        return
    try:
        subject = x509.load_der_x509_certificate(row.entry.der).subject
    except ValueError:
        return
    values = {**standard.constants, "customer": customer, "account": account}
    if not named(subject, profile.subject, values, Naming.OURS):
        yield "subject"
