"""When lists are published, when certificates of services are renewed, and which time is certified: to the second."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.audit.ports import NotStamped
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, Tip, new_stream
from chopmark.core.types import IssuerId, Serial
from chopmark.keys.adapter import as_private_key
from chopmark.keys.file import FileSigner
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.pki import tsp, tsp_token
from chopmark.pki.ceremony import (
    SerialAndValidity,
    issuing_certificate,
    ocsp_responder_certificate,
    root_certificate,
    timestamp_certificate,
)
from chopmark.pki.publication import Publication
from chopmark.pki.tsp import FailInfo
from chopmark.pki.x509 import IssuerView, not_after
from chopmark.va.ports import Crl, CrlShard, Ended, LastCrl
from chopmark.va.publisher import Publisher, next_number
from chopmark.va.renewal import NotRenewed, ResponderRenewal
from chopmark.va.stamping import MOST_APART, Stamping
from chopmark.va.timestamp import LOOK_EVERY, OF_ALL, PER_NETWORK, TimestampAuthority
from chopmark.va.timestamp_key import Certifier, TimestampKeys
from chopmark.va.timestamp_ports import TimestampKey
from tests.tables import Clock
from tests.vectors.pki.house import ROOT_URLS, URLS, signer

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = timedelta(days=365)
NODE = 5
SUBJECT = [("C", "TW"), ("O", "Firm"), ("CN", "A service")]
ROOT_KEY, ISSUING_KEY, SERVICE_KEY = (signer(KeyAlgorithm.P256) for _ in range(3))


def spki(of: Signer) -> bytes:
    return of.public_key_der


def validity(begins: datetime, ends: datetime, number: int = 1) -> SerialAndValidity:
    return SerialAndValidity(number, begins, ends)


ROOT_DER = root_certificate(as_private_key(ROOT_KEY), SUBJECT, validity(NOW - YEAR, NOW + 20 * YEAR))
ROOT = IssuerView.read(IssuerId("root"), ROOT_DER)


def issuing(ends: datetime) -> IssuerView:
    key = as_private_key(ROOT_KEY)
    der = issuing_certificate(key, ROOT, spki(ISSUING_KEY), SUBJECT, validity(NOW - YEAR, ends, 2), ROOT_URLS)
    return IssuerView.read(IssuerId("investor"), der)


ISSUING = issuing(NOW + 10 * YEAR)


class Counting:
    """Random bytes that differ."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


class NoTips:
    """Every stream begins."""

    async def tip(self, stream: StreamId) -> Tip:
        return new_stream(stream)


def audit_log(clock: Clock) -> AuditLog:
    return AuditLog(NoTips(), AuditKey("a1", bytes(32)), clock)


# lists ------------------------------------------------------------------------------------------------------------


@dataclass
class Shards:
    """The status records of one shard."""

    present: Crl | None = None
    mark: str = "3"
    beside: int = 1
    gone: list[Ended] = field(default_factory=list)
    asked: list[datetime] = field(default_factory=list)
    records: list[AuditRecord] = field(default_factory=list)

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        crl = self.present
        last = None if crl is None else LastCrl(crl.number, crl.this_update, crl.beside)
        return CrlShard(last, crl is None or crl.mark != self.mark, self.mark, self.beside)

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        self.asked.append(keep_after)
        return self.gone

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        self.present = crl
        self.records.append(record)
        return True


async def published(shards: Shards, at: datetime) -> int:
    clock = Clock(at)
    made = Publisher(ISSUING, ISSUING_KEY, 1, Publication("http://ca.example"), shards, audit_log(clock), clock)  # type: ignore[arg-type]
    return await made.publish_due()


def test_the_numbers_of_lists_are_milliseconds_of_unix_time_and_rise_in_any_case() -> None:
    second_day = datetime(1970, 1, 2, tzinfo=UTC)
    assert next_number(None, second_day) == 86_400_000
    assert next_number(86_400_000 - 1, second_day) == 86_400_000
    assert next_number(86_400_000, second_day) == 86_400_001
    assert next_number(10**15, second_day) == 10**15 + 1


async def test_the_first_list_is_of_now_lives_a_day_and_has_whoever_ended_at_any_time() -> None:
    ended = Ended(Serial("1234"), NOW - DAY + timedelta(microseconds=5), "key_compromise")
    shards = Shards(gone=[ended])
    assert await published(shards, NOW + timedelta(milliseconds=7)) == 1
    assert shards.present is not None
    assert (shards.present.this_update, shards.present.next_update) == (NOW, NOW + DAY)
    assert (shards.present.mark, shards.present.beside) == ("3", 1)
    assert shards.asked == [datetime(1970, 1, 1, tzinfo=UTC)]
    made = x509.load_der_x509_crl(shards.present.der)
    assert (made.last_update_utc, made.next_update_utc) == (NOW, NOW + DAY)
    assert [(one.serial_number, one.revocation_date_utc) for one in made] == [(0x1234, NOW - DAY)]
    number = made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == shards.present.number == int(NOW.timestamp()) * 1000 + 7
    assert [record.event for record in shards.records] == [Event.VA_CRL_PUBLISHED]


@pytest.mark.parametrize(
    ("later", "mark", "beside", "due"),
    [
        (timedelta(0), "3", 1, 0),
        (6 * HOUR - SECOND, "3", 1, 0),
        (6 * HOUR, "3", 1, 1),
        (SECOND, "4", 1, 1),
        (SECOND, "3", 2, 1),
        (SECOND, "3", 0, 1),
        (-SECOND, "3", 1, 1),
    ],
    ids=["just made", "before six hours", "after six hours", "a change", "one beside", "less", "the clock went back"],
)
async def test_a_list_is_made_anew_after_six_hours_and_at_once_for_a_change(
    later: timedelta, mark: str, beside: int, due: int
) -> None:
    shards = Shards()
    await published(shards, NOW)
    shards.mark, shards.beside = mark, beside
    assert await published(shards, NOW + later) == due


async def test_an_entry_stays_a_week_after_its_certificate_and_until_a_list_had_it() -> None:
    shards = Shards()
    await published(shards, NOW)
    await published(shards, NOW + 6 * HOUR)
    await published(shards, NOW + 6 * HOUR + 10 * DAY)
    assert shards.asked[1:] == [NOW + 6 * HOUR - 7 * DAY, NOW + 6 * HOUR]


# the responder's certificate --------------------------------------------------------------------------------------


@dataclass
class Responders:
    """The status records of one responder."""

    der: bytes | None
    records: list[Event] = field(default_factory=list)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        return self.der

    async def note(self, record: AuditRecord) -> None:
        self.records.append(record.event)

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        assert before == self.der
        self.der = after
        self.records.append(record.event)
        return True


def responder(ends: datetime) -> bytes:
    key = as_private_key(ISSUING_KEY)
    return ocsp_responder_certificate(key, ISSUING, spki(SERVICE_KEY), SUBJECT, validity(NOW - YEAR, ends, 3))


def renewal(records: Responders, at: datetime, of: IssuerView = ISSUING, root: bytes = ROOT_DER) -> ResponderRenewal:
    clock = Clock(at)
    log = audit_log(clock)
    return ResponderRenewal(of, (root,), ISSUING_KEY, NODE, records, log, clock, Counting())  # type: ignore[arg-type]


async def test_a_responder_is_renewed_when_less_than_thirty_days_are_left() -> None:
    ends = NOW + 30 * DAY
    waits, due = Responders(responder(ends)), Responders(responder(ends))
    assert await renewal(waits, NOW).renew_due() == 0
    assert waits.records == []
    assert await renewal(due, NOW + SECOND).renew_due() == 1
    assert due.records == [Event.CA_CERTIFICATE_RESERVED, Event.VA_RESPONDER_CHANGED]
    made = x509.load_der_x509_certificate(due.der or b"")
    assert made.not_valid_before_utc == NOW + SECOND - 5 * MINUTE
    assert made.not_valid_after_utc == NOW + SECOND + YEAR
    assert await renewal(Responders(None), NOW).renew_due() == 0


async def test_a_responder_is_not_renewed_where_that_would_not_make_it_last_longer() -> None:
    of = issuing(NOW + 20 * DAY)
    same, shorter = Responders(responder(NOW + 20 * DAY)), Responders(responder(NOW + 20 * DAY - SECOND))
    assert await renewal(same, NOW, of).renew_due() == 0
    assert await renewal(shorter, NOW, of).renew_due() == 1
    assert not_after(shorter.der or b"") == of.not_after


async def test_a_new_certificate_that_does_not_hold_up_to_the_root_is_not_stored() -> None:
    old = responder(NOW + DAY)
    records = Responders(old)
    another = root_certificate(as_private_key(SERVICE_KEY), SUBJECT, validity(NOW - YEAR, NOW + 20 * YEAR))
    with pytest.raises(NotRenewed):
        await renewal(records, NOW, root=another).renew_due()
    assert (records.der, records.records) == (old, [Event.CA_CERTIFICATE_RESERVED])


# the time-stamp authority -----------------------------------------------------------------------------------------


def stamping_certificate(ends: datetime, begins: datetime = NOW - YEAR) -> bytes:
    key = as_private_key(ISSUING_KEY)
    return timestamp_certificate(key, ISSUING, spki(SERVICE_KEY), SUBJECT, validity(begins, ends, 4), URLS)


@dataclass
class Stamps:
    """The records of one authority; `present` is its key."""

    present: TimestampKey | None = None
    earliest: datetime | None = None
    turn: bool = True
    turns: list[tuple[datetime, timedelta]] = field(default_factory=list)
    records: list[Event] = field(default_factory=list)
    looks: int = 0

    async def key(self, issuer: IssuerId) -> TimestampKey | None:
        self.looks += 1
        return self.present

    async def floor(self) -> datetime | None:
        return self.earliest

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        self.turns.append((now, ttl))
        return self.turn

    async def note(self, record: AuditRecord) -> None:
        self.records.append(record.event)

    async def found(self, issuer: IssuerId, key: TimestampKey, now: datetime, record: AuditRecord) -> bool:
        assert self.present is None
        self.present = key
        self.records.append(record.event)
        return True

    async def renew(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        assert self.present is not None
        assert self.present.certificate == before
        self.present = replace(self.present, certificate=after)
        self.records.append(record.event)
        return True


def keys(records: Stamps, at: datetime, of: IssuerView = ISSUING, findings: Sequence[str] = ()) -> TimestampKeys:
    clock = Clock(at)
    publication = Publication("http://ca.example")
    by = Certifier(of, (ROOT_DER,), ISSUING_KEY, publication, NODE, lambda _der: list(findings))
    return TimestampKeys(by, SUBJECT, lambda: (SERVICE_KEY, b"stored"), records, audit_log(clock), clock, Counting())


FOUNDED = [Event.CA_CERTIFICATE_RESERVED, Event.VA_TIMESTAMP_CHANGED]


async def test_an_authority_without_a_key_gets_one_for_five_years() -> None:
    records = Stamps()
    assert await keys(records, NOW).renew_due() == 1
    assert records.records == FOUNDED
    assert records.present is not None
    assert records.present.stored_key == b"stored"
    made = x509.load_der_x509_certificate(records.present.certificate)
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (NOW - 5 * MINUTE, NOW + 5 * YEAR)
    assert records.turns == [(NOW, MINUTE)]


async def test_the_certificate_of_an_authority_is_renewed_a_year_before_it_ends() -> None:
    waits = Stamps(TimestampKey(stamping_certificate(NOW + YEAR), b"stored"))
    due = Stamps(TimestampKey(stamping_certificate(NOW + YEAR), b"stored"))
    assert await keys(waits, NOW).renew_due() == 0
    assert (waits.turns, waits.records) == ([], [])
    assert await keys(due, NOW + SECOND).renew_due() == 1
    assert due.records == FOUNDED
    assert due.present is not None
    assert due.present.stored_key == b"stored"
    assert not_after(due.present.certificate) == NOW + SECOND + 5 * YEAR


async def test_an_authority_is_left_alone_where_another_process_renews_it_or_nothing_would_be_won() -> None:
    others = Stamps(turn=False)
    assert await keys(others, NOW).renew_due() == 0
    assert (others.present, others.records) == (None, [])
    of = issuing(NOW + 100 * DAY)
    last = Stamps(TimestampKey(stamping_certificate(of.not_after), b"stored"))
    assert await keys(last, NOW, of).renew_due() == 0
    assert last.turns == []


@dataclass
class Authority:
    """An authority, its clock, and how often its key was opened."""

    records: Stamps
    clock: Clock
    opened: int = 0
    trouble: bool = False

    def __post_init__(self) -> None:
        self.it = TimestampAuthority(
            ISSUING,
            self._open,
            NODE,
            self.records,
            self.clock,
            Counting(),
            lambda: "slow" if self.trouble else None,
        )

    def _open(self, stored: bytes, public: bytes) -> FileSigner:
        self.opened += 1
        return SERVICE_KEY

    async def stamped(self) -> datetime | bytes:
        """Return the time of a token, or a refusal's bytes."""
        answer = await self.it.answer(tsp.build_request(bytes(32), 7))
        try:
            token = tsp_token.token_of(answer)
        except tsp_token.TokenError:
            return answer
        return tsp_token.verify(token, bytes(32), [ROOT_DER], nonce=7).at


def authority(earliest: datetime | None = None, ends: datetime = NOW + 2 * YEAR) -> Authority:
    return Authority(Stamps(TimestampKey(stamping_certificate(ends), b"stored"), earliest), Clock(NOW))


LATE = tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)
BROKEN = tsp.rejection(FailInfo.SYSTEM_FAILURE)


async def test_a_token_has_the_present_second_and_never_an_earlier_one_than_before() -> None:
    made = authority()
    made.clock.at = NOW + timedelta(milliseconds=999)
    assert await made.stamped() == NOW
    made.clock.at = NOW + 2 * SECOND
    assert await made.stamped() == NOW + 2 * SECOND
    made.clock.at = NOW + SECOND
    assert await made.stamped() == NOW + 2 * SECOND, "a second back, the last time is given again"
    made.clock.at = NOW + SECOND - timedelta(milliseconds=1)
    assert await made.stamped() == LATE
    made.clock.at = NOW + 2 * SECOND
    assert await made.stamped() == NOW + 2 * SECOND


async def test_no_token_is_earlier_than_the_newest_head_of_the_audit() -> None:
    made = authority(NOW + HOUR)
    assert await made.stamped() == LATE
    made.clock.at = NOW + HOUR - SECOND
    assert await made.stamped() == NOW + HOUR
    made.clock.at = NOW + HOUR
    assert await made.stamped() == NOW + HOUR


async def test_there_is_no_token_while_the_clock_is_in_doubt_nor_without_a_valid_certificate() -> None:
    made = authority(ends=NOW + SECOND)
    made.trouble = True
    assert await made.stamped() == LATE
    made.trouble = False
    made.clock.at = NOW + SECOND
    assert await made.stamped() == NOW + SECOND
    made.clock.at = NOW + SECOND + timedelta(milliseconds=1)
    assert await made.stamped() == BROKEN
    nobody = Authority(Stamps(), Clock(NOW))
    assert await nobody.stamped() == BROKEN
    assert await nobody.it.certificate() is None
    assert not_after(await authority().it.certificate() or b"") == NOW + 2 * YEAR


async def test_key_and_certificate_are_read_once_a_minute_and_after_the_clock_went_back() -> None:
    made = authority()
    for later, looks in ((timedelta(0), 1), (LOOK_EVERY - SECOND, 1), (LOOK_EVERY, 2), (LOOK_EVERY, 2)):
        made.clock.at = NOW + later
        await made.stamped()
        assert made.records.looks == looks
    made.clock.at = NOW + LOOK_EVERY - SECOND
    await made.stamped()
    assert made.records.looks == 3
    assert made.opened == 1, "the key is the same"
    made.records.present = TimestampKey(stamping_certificate(NOW + 3 * YEAR), b"another")
    made.clock.at = NOW + 3 * LOOK_EVERY
    await made.stamped()
    assert made.opened == 2


async def test_each_network_and_all_together_are_answered_so_often_a_minute() -> None:
    made = authority()
    assert (PER_NETWORK, OF_ALL) == (120, 3000)
    assert [made.it.admit("192.0.2.0/24") for _ in range(PER_NETWORK)] == [0] * PER_NETWORK
    assert made.it.admit("192.0.2.0/24") > 0
    assert made.it.admit("198.51.100.0/24") == 0
    assert [made.it.admit("") for _ in range(OF_ALL - PER_NETWORK - 1)] == [0] * (OF_ALL - PER_NETWORK - 1)
    assert made.it.admit("") > 0
    made.clock.at = NOW + MINUTE
    assert made.it.admit("192.0.2.0/24") == 0


# whoever has a head stamped ---------------------------------------------------------------------------------------


async def stamp(at: datetime) -> datetime | str:
    """Have something stamped by an authority whose clock says `at`; ours says NOW."""
    made = authority()
    made.clock.at = at

    async def ask(request: bytes) -> bytes:
        return await made.it.answer(request)

    try:
        return (await Stamping(ask, [ROOT_DER], Clock(NOW), Counting()).stamp(bytes(32)))[1]
    except NotStamped as error:
        return str(error)


async def test_a_time_that_is_far_from_ours_is_not_believed() -> None:
    accuracy = timedelta(seconds=tsp.ACCURACY_S)
    assert MOST_APART == 5 * MINUTE
    for apart in (timedelta(0), MOST_APART + accuracy, -MOST_APART - accuracy):
        assert await stamp(NOW + apart) == NOW + apart
    for apart in (MOST_APART + accuracy + SECOND, -MOST_APART - accuracy - SECOND):
        assert "clock" in str(await stamp(NOW + apart))


async def test_the_nonce_of_a_request_has_128_bits() -> None:
    asked: list[int] = []

    class Sizes(Counting):
        def token(self, size: int) -> bytes:
            asked.append(size)
            return b"\xff" * size

    async def nobody(request: bytes) -> bytes:
        ask = tsp.parse_request(request)
        assert not isinstance(ask, FailInfo)
        assert ask.nonce == (1 << 128) - 1
        raise NotStamped("nobody")

    with pytest.raises(NotStamped, match="nobody"):
        await Stamping(nobody, [ROOT_DER], Clock(NOW), Sizes()).stamp(bytes(32))
    assert asked == [16]
