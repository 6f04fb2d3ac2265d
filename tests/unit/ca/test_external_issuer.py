"""An order at another CA, step by step, with a CA and a store in memory: what is asked, kept, given up, and revoked."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, Tip, new_stream
from chopmark.ca.external.issuer import LEASE, MOST_DOUBTS, UNKNOWN_FATE_AFTER, ExternalCaTerms, ExternalIssuer
from chopmark.ca.external.ports import (
    Answer,
    Denied,
    Ending,
    ExternalRequest,
    NotReached,
    Over,
    Received,
    Request,
    RequestState,
    Silent,
    Stored,
    Waiting,
)
from chopmark.ca.external.sentences import DENIED, GONE, NOT_OURS, SILENT
from chopmark.ca.ports import Certified, IssuanceRequest, Pending
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.pki.received import Anchors, Naming
from tests.tables import Clock
from tests.vectors.pki.house import SUBJECT, profile

DER = serialization.Encoding.DER
NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
KEY, CA_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
SPKI = KEY.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
ORDER = OrderId("O1")
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "C0001234")])


def certificate(serial: int = 0x1234) -> bytes:
    made = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), serial, NOW, NOW + timedelta(days=365))
    return made.sign(CA_KEY, hashes.SHA256()).public_bytes(DER)


def csr(*extensions: x509.ExtensionType, name: x509.Name = NAME) -> bytes:
    made = x509.CertificateSigningRequestBuilder(name)
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(DER)


CERTIFICATE = certificate()
REQUEST = Request(
    order=ORDER,
    attempt=1,
    issuer=IssuerId("them"),
    transaction=b"T" * 16,
    profile="investor",
    spki_sha256=hashlib.sha256(SPKI).hexdigest(),
    state=RequestState.SENT,
    sent_at=NOW,
)
RECEIVED = replace(
    REQUEST,
    state=RequestState.RECEIVED,
    serial=Serial("1234"),
    der=CERTIFICATE,
    not_before=NOW,
    not_after=NOW + timedelta(days=365),
    next_at=NOW,
)
ISSUED = replace(RECEIVED, state=RequestState.ISSUED, next_at=None)


@dataclass
class Store:
    """Requests in memory. `before_change` happens before the next change, as another process would do it."""

    kept: list[Request] = field(default_factory=list)
    works: list[OutboxJob] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    async def newest(self, order: OrderId) -> Request | None:
        return self.kept[-1] if self.kept else None

    async def by_serial(self, serial: Serial) -> Request | None:
        return next((one for one in self.kept if one.serial == serial), None)

    async def begin(self, request: Request, record: AuditRecord) -> bool:
        self.kept.append(request)
        self.events.append(record.event)
        return True

    async def change(
        self, before: Request, after: Request, record: AuditRecord | None = None, works: tuple[OutboxJob, ...] = ()
    ) -> Stored:
        if before not in self.kept:
            return Stored.MOVED
        self.kept[self.kept.index(before)] = replace(after, version=before.version + 1)
        self.works += works
        self.events += [] if record is None else [record.event]
        return Stored.YES


@dataclass
class Ca:
    """The CA's client: answers as it is told, and remembers what it was asked."""

    answer: Answer = field(default_factory=lambda: Silent("timeout"))
    ending: Ending = Ending.DONE
    confirms: bool = True
    sends_csr: bool = False
    csr_names: bool = False
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    async def request(self, asked: ExternalRequest) -> Answer:
        self.asked.append("request")
        self.meanwhile()
        return self.answer

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        self.asked.append("poll")
        return self.answer

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        self.asked.append("accept")
        return self.ending

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        self.asked.append("reject")

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        self.asked.append("revoke")
        self.meanwhile()
        return self.ending


class Granted:
    """Every order was approved."""

    async def granted(self, issuance: IssuanceRequest) -> IssuanceRequest:
        return issuance


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


def issuer(ca: Ca, store: Store, at: datetime = NOW, constants: Mapping[str, str] = SUBJECT) -> ExternalIssuer:
    clock = Clock(at)
    terms = ExternalCaTerms(
        IssuerId("them"), "Their CA", Anchors((), ()), Naming.OURS, False, {"investor": profile()}, {}, constants
    )
    audit_log = AuditLog(NoTips(), AuditKey("a1", bytes(32)), clock)
    return ExternalIssuer(terms, ca, store, audit_log, clock, Counting(), Granted())  # type: ignore[arg-type]


ISSUANCE = IssuanceRequest(ORDER, "investor", SPKI, {}, csr())
SECOND = timedelta(seconds=1)


async def resumed(ca: Ca, store: Store, at: datetime = NOW) -> Certified | Pending | Refusal:
    return await issuer(ca, store, at).resume(ISSUANCE)


def state(store: Store) -> RequestState:
    return store.kept[-1].state


def test_the_number_of_a_transaction_is_not_shown_where_a_request_is() -> None:
    asked = ExternalRequest(REQUEST.transaction, b"", SPKI, (), "investor", None)
    assert "TTTT" not in repr(REQUEST) + repr(asked)


# what the answer to a request means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said", "after", "doubts", "wait_s"),
    [
        (Silent("timeout"), Pending(5), RequestState.SENT, 0, None),
        (Waiting(40, b"t"), Pending(40), RequestState.WAITING, 0, 40),
        (Waiting(0), Pending(1), RequestState.WAITING, 0, 1),
        (Waiting(10**6), Pending(3600), RequestState.WAITING, 0, 3600),
        (Denied("http_400"), DENIED, RequestState.DENIED, 0, None),
        (NotReached("unreachable"), Pending(5), RequestState.GIVEN_UP, 0, 10),
        (NotReached("busy", 30), Pending(30), RequestState.GIVEN_UP, 0, 30),
        (Over("cmp_25"), Pending(5), RequestState.GIVEN_UP, 1, 10),
        (Received(CERTIFICATE, ()), NOT_OURS, RequestState.QUARANTINED, 0, None),
    ],
)
async def test_only_where_nobody_knows_whether_a_certificate_exists_there_is_a_doubt(
    answer: Answer, said: Pending | Refusal, after: RequestState, doubts: int, wait_s: int | None
) -> None:
    store = Store()
    assert await issuer(Ca(answer), store).issue(ISSUANCE) == said
    (kept,) = store.kept
    assert (kept.state, kept.doubts) == (after, doubts)
    assert kept.next_at == (None if wait_s is None else NOW + timedelta(seconds=wait_s))
    assert kept.transaction == (1).to_bytes(16, "big")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("number", ["00", "ff"], ids=["zero", "minus one"])
async def test_a_certificate_whose_number_is_not_positive_is_put_aside_without_one(number: str) -> None:
    der = certificate(0x7F).replace(bytes.fromhex("02017f"), bytes.fromhex(f"0201{number}"), 1)
    store = Store()
    assert await issuer(Ca(Received(der, ())), store).issue(ISSUANCE) == NOT_OURS
    (kept,) = store.kept
    assert (kept.state, kept.serial, kept.der, store.works) == (RequestState.QUARANTINED, None, der, [])


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (replace(REQUEST, state=RequestState.REVOKED), GONE),
        (replace(REQUEST, state=RequestState.DENIED), DENIED),
        (replace(REQUEST, state=RequestState.QUARANTINED), NOT_OURS),
        (replace(REQUEST, state=RequestState.GIVEN_UP, doubts=MOST_DOUBTS), SILENT),
        (ISSUED, Certified(Serial("1234"), CERTIFICATE, (), REQUEST.spki_sha256, NOW, NOW + timedelta(days=365))),
    ],
)
async def test_what_is_over_is_not_asked_again(kept: Request, said: Certified | Refusal) -> None:
    ca, store = Ca(), Store([kept])
    assert await resumed(ca, store, NOW + UNKNOWN_FATE_AFTER) == said
    assert (ca.asked, store.kept) == ([], [kept])


async def test_an_attempt_without_an_answer_is_given_up_after_twenty_seconds_and_another_one_is_made() -> None:
    ca, store = Ca(), Store([REQUEST])
    assert UNKNOWN_FATE_AFTER == 20 * SECOND
    assert await resumed(ca, store, NOW + 20 * SECOND - SECOND) == Pending(5)
    assert state(store) is RequestState.SENT
    assert await resumed(ca, store, NOW + 20 * SECOND) == Pending(5)
    assert (state(store), store.kept[-1].doubts, ca.asked) == (RequestState.GIVEN_UP, 1, [])
    assert await resumed(ca, store, NOW + 29 * SECOND) == Pending(1)
    assert await resumed(ca, store, NOW + 30 * SECOND) == Pending(5)
    assert ca.asked == ["request"]
    assert [(one.attempt, one.doubts) for one in store.kept] == [(1, 1), (2, 1)]
    assert store.kept[0].transaction != store.kept[1].transaction


async def test_a_request_that_waits_is_asked_about_by_one_worker_at_a_time() -> None:
    waiting = replace(REQUEST, state=RequestState.WAITING, next_at=NOW + 40 * SECOND, ticket=b"t")
    ca, store = Ca(), Store([waiting])
    assert await resumed(ca, store, NOW + 39 * SECOND) == Pending(1)
    assert ca.asked == []
    assert await resumed(ca, store, NOW + 40 * SECOND) == Pending(5)
    assert ca.asked == ["poll"]
    assert store.kept[-1].next_at == NOW + 40 * SECOND + LEASE
    assert await resumed(ca, store, NOW + 41 * SECOND) == Pending(29)
    assert ca.asked == ["poll"]


# a confirmation ---------------------------------------------------------------------------------------------------


async def test_a_certificate_that_came_is_confirmed_and_not_asked_for_again() -> None:
    ca, store = Ca(), Store([RECEIVED])
    assert isinstance(await resumed(ca, store), Certified)
    assert (ca.asked, state(store)) == (["accept"], RequestState.ISSUED)
    assert store.events == [Event.CA_CERTIFICATE_ISSUED]


async def test_a_confirmation_without_an_answer_is_repeated_and_what_the_ca_has_forgotten_is_revoked() -> None:
    later, gone = Store([RECEIVED]), Store([RECEIVED])
    assert await resumed(Ca(ending=Ending.LATER), later) == Pending(5)
    assert (state(later), later.kept[-1].next_at, later.works) == (RequestState.RECEIVED, NOW + 5 * SECOND, [])
    assert await resumed(Ca(ending=Ending.BY_HAND), gone) == Pending(5)
    assert (state(gone), gone.kept[-1].doubts, gone.kept[-1].code) == (RequestState.GIVEN_UP, 1, "unconfirmed")
    ((kind, facts),) = [(one.kind, one.facts) for one in gone.works]
    assert (kind, facts["serial"]) == (OutboxJobKind.REVOKE, "1234")


async def test_where_the_serial_number_is_none_there_is_nothing_to_revoke() -> None:
    store = Store([replace(RECEIVED, serial=None)])
    assert await resumed(Ca(ending=Ending.BY_HAND), store) == Pending(5)
    assert (state(store), store.works) == (RequestState.GIVEN_UP, [])


# what the customer's request may say ------------------------------------------------------------------------------

ALTERNATIVE = x509.SubjectAlternativeName([x509.RFC822Name("other@example.com")])
OTHER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "C9")])
LOCALITY = x509.Name([*NAME, x509.NameAttribute(NameOID.LOCALITY_NAME, "Taipei")])


@pytest.mark.parametrize(
    ("request_der", "reads_names", "sent"),
    [
        (csr(), False, True),
        (csr(name=x509.Name([])), False, True),
        (csr(ALTERNATIVE), False, False),
        (csr(name=LOCALITY), False, False),
        (b"no request", False, False),
        (csr(), True, False),
        (csr(name=OTHER), True, False),
    ],
    ids=["a part of our name", "no name", "an extension", "a name of another kind", "nothing", "too little", "another"],
)
async def test_a_request_that_says_more_than_we_ask_for_is_not_sent(
    request_der: bytes, *, reads_names: bool, sent: bool
) -> None:
    ca, store = Ca(sends_csr=True, csr_names=reads_names), Store()
    said = await issuer(ca, store).issue(replace(ISSUANCE, csr_der=request_der))
    assert ca.asked == (["request"] if sent else [])
    assert sent or (isinstance(said, Refusal) and said.code == "csr_tells_more")
    assert len(store.kept) == sent


# revocation -------------------------------------------------------------------------------------------------------


async def revoked(ca: Ca, store: Store, reason: str = "superseded") -> None:
    await issuer(ca, store).revoke(Serial("1234"), reason)


@pytest.mark.parametrize(
    ("ending", "after", "event"),
    [
        (Ending.DONE, {"revoked_at": NOW, "by_hand": False}, Event.CA_CERTIFICATE_REVOKED),
        (Ending.BY_HAND, {"revoked_at": None, "by_hand": True}, Event.CA_REVOCATION_ASKED),
    ],
)
async def test_a_revocation_is_on_record_as_done_or_as_asked_of_a_person(
    ending: Ending, after: dict[str, object], event: Event
) -> None:
    ca, store = Ca(ending=ending), Store([ISSUED])
    await revoked(ca, store)
    (kept,) = store.kept
    assert {name: getattr(kept, name) for name in after} == after
    assert (kept.state, kept.reason, store.events) == (RequestState.REVOKED, "superseded", [event])
    await revoked(ca, store, "key_compromise")
    assert (ca.asked, store.kept) == (["revoke"], [kept])


async def test_what_another_process_has_revoked_meanwhile_stays_as_it_is() -> None:
    for other in ({"revoked_at": NOW - SECOND}, {"by_hand": True}):
        store = Store([ISSUED])
        told = replace(ISSUED, state=RequestState.REVOKED, reason="key_compromise", version=2, **other)
        ca = Ca(meanwhile=lambda store=store, told=told: store.kept.__setitem__(0, told))  # type: ignore[misc]
        await revoked(ca, store)
        assert (store.kept, store.events) == ([told], [])


async def test_a_revocation_that_the_ca_did_not_take_is_no_revocation() -> None:
    store = Store([ISSUED])
    with pytest.raises(Refused):
        await revoked(Ca(ending=Ending.LATER), store)
    assert (store.kept, store.events) == ([ISSUED], [])


async def test_a_certificate_of_a_ca_that_is_not_connected_any_more_is_for_a_person() -> None:
    ca, store = Ca(), Store([replace(ISSUED, issuer=IssuerId("others"))])
    await revoked(ca, store)
    assert (ca.asked, store.kept[-1].by_hand) == ([], True)


async def test_a_certificate_that_was_put_aside_keeps_its_state_when_it_is_revoked() -> None:
    store = Store([replace(ISSUED, state=RequestState.GIVEN_UP)])
    await revoked(Ca(), store)
    assert (state(store), store.kept[-1].revoked_at) == (RequestState.GIVEN_UP, NOW)
