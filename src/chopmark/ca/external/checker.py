"""Check the stored certificates of an external CA again, against the requests, the orders and the audit records.

What the CA has reserved cannot be seen here. What can be checked are the certificate's bytes, its chain to a configured
root, the order that asked for it, the RA's row that shows it to the customer, and the audit records. No column is
trusted (I33).
"""

import hashlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509

from chopmark.audit.record import StoredRecord
from chopmark.ca.approval import Claimed, unapproved
from chopmark.ca.checker import LIMBO_AFTER, SHARED, Checked, Fault, Held, Ordered
from chopmark.ca.external.ports import ExternalCaExpectations, Request, RequestState
from chopmark.ca.lint import Linter
from chopmark.ca.naming import named
from chopmark.core.types import CertificateState, Serial
from chopmark.pki import key_checks, path, received, signing
from chopmark.pki.der import NotDer, require_der
from chopmark.pki.profile import Profile
from chopmark.pki.received import Anchors, Naming, Wanted
from chopmark.pki.shared import sharing
from chopmark.pki.x509 import serial_hex

COUNTS = frozenset({RequestState.RECEIVED, RequestState.ISSUED, RequestState.REVOKED})


@dataclass(frozen=True, slots=True)
class Said:
    """How many records of the order's audit stream name the serial, by event; `received` and `issued` name the CA."""

    received: int
    issued: int
    put_aside: int
    asked: int
    revoked: int


@dataclass(frozen=True, slots=True)
class Row:
    """A request for which a certificate came, and everything in other tables that has to agree with it."""

    request: Request
    account: str
    held: Held | None
    held_stream: tuple[bytes, ...]
    order: Ordered | None
    ticked: bool
    told: Said
    records: tuple[StoredRecord, ...] = ()
    """The order's audit records, from the first one on."""


class Rows(Protocol):
    """Reads what is stored and returns it unchanged."""

    def certificates(self) -> AsyncGenerator[Row, None]:
        """Yield every request for which a certificate came, as of one moment."""
        ...

    async def strays(self) -> list[Serial]:
        """Return serials that the RA has stored for customers and no CA has a row for."""
        ...


class ExternalChecker:
    """Checks all rows; `lint_each` is 1 for pkilint on every certificate, n for every n-th, 0 for none."""

    def __init__(self, known: ExternalCaExpectations, rows: Rows, lint_each: int = 10) -> None:
        self._known = known
        self._rows = rows
        self._lint_each = lint_each
        self._linter = Linter()

    async def check(self, now: datetime, others: Mapping[int, Sequence[Serial]] | None = None) -> Checked:
        """Return every fault of every row; `others` are the RSA moduli of certificates that other CAs have issued."""
        moduli = {modulus: list(serials) for modulus, serials in (others or {}).items()}
        faults = [Fault(serial, "holding_without_certificate") for serial in await self._rows.strays()]
        seen = linted = 0
        async with aclosing(self._rows.certificates()) as rows:
            async for row in rows:
                name = row.request.serial or Serial(f"order {row.request.order}")
                found = list(_judge(self._known, row, now, moduli))
                der = row.request.der
                if der is not None and row.request.state in COUNTS and self._lint_each and seen % self._lint_each == 0:
                    found += [f"lint.{one.code}" for one in self._linter.findings_certificate(der) if one.is_error]
                    linted += 1
                faults += [Fault(name, code) for code in dict.fromkeys(found)]
                seen += 1
        shared = sharing(moduli.keys())
        faults += [Fault(serial, SHARED) for number in shared for serial in moduli[number]]
        return Checked(seen, linted, tuple(faults))


def _judge(known: ExternalCaExpectations, row: Row, now: datetime, moduli: dict[int, list[Serial]]) -> Iterator[str]:
    request = row.request
    yield from _audited(request, row.told)
    yield from _ended(row)
    yield from _approved(known, row)
    if request.state not in COUNTS:
        if row.held is not None and row.held.order == request.order:
            yield "holding_of_nothing"
        return
    yield from _correspondence(row, now)
    if request.der is None:
        yield "certificate_missing"
        return
    try:
        require_der(request.der)
        record = x509.load_der_x509_certificate(request.der)
        spki = signing.spki_of(record)
    except (NotDer, ValueError):
        yield "certificate_malformed"
        return
    modulus = key_checks.rsa_modulus(spki)
    if modulus is not None:
        moduli.setdefault(modulus, []).append(request.serial or Serial(""))
    yield from _columns(request, record, spki)
    yield from (f"key.{finding.code}" for finding in key_checks.judge(spki))
    yield from _chain(known, request, request.der, record)
    yield from _profile(known, row, request.der, record, spki)


def _approved(known: ExternalCaExpectations, row: Row) -> Iterator[str]:
    """Yield a fault unless the order's records prove that its customer approved this key."""
    request, order = row.request, row.order
    customer = "" if order is None else order.customer
    said = Claimed(request.order, customer, row.account, request.profile, request.spki_sha256)
    yield from unapproved(row.records, known.terms, said)


def _columns(request: Request, record: x509.Certificate, spki: bytes) -> Iterator[str]:
    """Yield the columns that differ from what the certificate says."""
    holds = {
        "serial": serial_hex(record.serial_number) == request.serial,
        "not_before": record.not_valid_before_utc == request.not_before,
        "not_after": record.not_valid_after_utc == request.not_after,
        "spki": hashlib.sha256(spki).hexdigest() == request.spki_sha256,
        "backdated": record.not_valid_before_utc >= request.sent_at - received.LONGER,
    }
    yield from (field for field, held in holds.items() if not held)


def _chain(known: ExternalCaExpectations, request: Request, der: bytes, record: x509.Certificate) -> Iterator[str]:
    """Yield what is wrong with the stored chain; for the CA connected now it must end in a configured root."""
    if not request.chain:
        yield "chain"
        return
    *between, root = request.chain
    yield from (finding.code for finding in path.chain_findings(der, between, root, _made(request, record)))
    if request.issuer == known.issuer and known.anchors is not None and root not in known.anchors.roots:
        yield "anchor"


def _made(request: Request, record: x509.Certificate) -> datetime:
    """Return the earliest moment at which the certificate can have been made.

    This is not always its notBefore: a CA may date a certificate back, even to before its own certificate begins.
    """
    return max(record.not_valid_before_utc, request.sent_at)


def _profile(
    known: ExternalCaExpectations, row: Row, der: bytes, record: x509.Certificate, spki: bytes
) -> Iterator[str]:
    """Yield why no version of the order's profile allows the certificate; the version with the fewest faults counts."""
    profiles = known.profiles.get(row.request.profile, ())
    if not profiles:
        yield "profile_unknown"
        return
    judged = [list(_fits(known, profile, row, der, record, spki)) for profile in profiles]
    yield from min(judged, key=len)


def _fits(
    known: ExternalCaExpectations, profile: Profile, row: Row, der: bytes, record: x509.Certificate, spki: bytes
) -> Iterator[str]:
    # `received.judge` is for new certificates. Here subject and chain are checked by `named` and `_chain` instead.
    naming = known.naming if row.request.issuer == known.issuer else Naming.THEIRS
    wanted = Wanted(spki, (("CN", ""),), naming, profile)
    judged = received.judge(der, (), wanted, Anchors((), ()), _made(row.request, record))
    yield from (finding.code for finding in judged.findings if finding.code not in {"subject", "chain"})
    customer = "" if row.order is None else row.order.customer
    values = {**known.constants, "customer": customer, "account": row.account}
    if not named(record.subject, profile.subject, values, naming):
        yield "subject"


def _correspondence(row: Row, now: datetime) -> Iterator[str]:
    """Yield where the RA's order, key and certificate row differ from the request."""
    request, order, held = row.request, row.order, row.held
    if order is None:
        yield "order_missing"
        return
    if order.spki_sha256 != request.spki_sha256:
        yield "order_of_another_key"
    if order.key_customer != order.customer:
        yield "key_of_another"
    if held is None:
        if order.state not in ("submitted", "pending"):
            yield "holding_missing"
        return
    if (held.order, held.spki_sha256, held.der) != (request.order, request.spki_sha256, request.der):
        yield "holding_differs"
    if row.held_stream != request.chain:
        yield "holding_of_another_chain"
    if order.serial != request.serial:
        yield "order_of_another_serial"
    live = held.state in (CertificateState.ACTIVE, CertificateState.ISSUED)
    if request.state is RequestState.REVOKED and live:
        yield "revoked_and_held"
    over = held.ended_at is not None and now >= held.ended_at + LIMBO_AFTER
    if request.state is not RequestState.REVOKED and not live and held.state is not CertificateState.HELD and over:
        yield "ended_and_not_revoked"


def _ended(row: Row) -> Iterator[str]:
    """Yield where the row contradicts itself on the certificate's end.

    It ends when the CA was told by its protocol, or when a person was asked to tell the CA and said that it is done.
    """
    request = row.request
    ended = request.revoked_at is not None or request.by_hand
    if (request.reason is not None) != ended or (request.state is RequestState.REVOKED and not ended):
        yield "state_of_end"
    if request.state is RequestState.ISSUED and ended:
        yield "state_of_end"
    if row.ticked != (request.by_hand and request.revoked_at is not None):
        yield "revoked_by_nobody"


def _audited(request: Request, told: Said) -> Iterator[str]:
    """Yield a fault unless the audit has one record for each step taken, and none for a step not taken."""
    issued = int(request.state in {RequestState.ISSUED, RequestState.REVOKED})
    wanted = Said(
        received=1 if request.state is RequestState.RECEIVED else told.received,
        issued=issued,
        put_aside=0 if request.state in COUNTS else max(1, told.put_aside),
        asked=int(request.by_hand),
        revoked=int(request.revoked_at is not None),
    )
    if told != wanted:
        yield "audit_differs"
