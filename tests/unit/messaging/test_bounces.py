"""Mails that come back, from programs that none of us wrote, and from people who would like to be believed."""

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chopmark.messaging.bounces import MOST_OCTETS, MOST_PARTS, Bounce, Unread, read_bounce
from chopmark.messaging.reports import ReportState
from chopmark.messaging.return_paths import ReturnPaths

VECTORS = Path(__file__).parents[2] / "vectors" / "bounces"
MESSAGE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MARK = "abcdefghijklmnopqrstuvwxyzxnwunesyiygr3i2r"
PATHS = ReturnPaths("bounces+*@mail.example.com", bytes(32))
FAILED, UNDELIVERED, WAITING = ReportState.FAILED, ReportState.UNDELIVERED, ReportState.WAITING


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.eml").read_bytes()


@pytest.mark.parametrize(
    ("name", "state", "status"),
    [
        ("postfix-unknown", FAILED, "5.1.1"),
        ("postfix-full", FAILED, "5.2.2"),
        ("postfix-spam", UNDELIVERED, "5.7.1"),
        ("postfix-expired", UNDELIVERED, "4.2.0"),
        ("postfix-delayed", WAITING, "4.2.0"),
        ("exim", FAILED, "5.0.0"),
        ("exchange", FAILED, "5.1.10"),
        ("gmail", FAILED, "5.1.2"),
    ],
)
def test_the_notifications_of_other_programs_say_what_became_of_our_message(
    name: str, state: ReportState, status: str
) -> None:
    assert read_bounce(vector(name), PATHS) == Bounce(MESSAGE, state, status)


def test_every_vector_is_in_the_table_and_says_the_status_that_it_was_made_with() -> None:
    made = sorted(path.stem for path in VECTORS.glob("*.eml"))
    told = re.findall(r"^\| `([\w-]+)\.eml` \|", (VECTORS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert made == sorted(told)


def dsn(*recipients: str, to: str = f"bounces+{MARK}@mail.example.com", envelope: str = "", kind: str = "") -> bytes:
    """A notification as RFC 3464 s.2 has it."""
    groups = "".join(f"Final-Recipient: rfc822; x@customers.example\n{one}\n\n" for one in recipients)
    return (
        f"From: <>\nTo: {to}\nMIME-Version: 1.0\n"
        f"Content-Type: {kind or 'multipart/report'}; report-type=delivery-status; boundary=b\n\n"
        f"--b\n\nIt came back.\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; relay.example.net\n{envelope}\n{groups}--b--\n"
    ).encode()


def failed(status: str) -> str:
    return f"Action: failed\nStatus: {status}"


DEAD = failed("5.1.1")


@pytest.mark.parametrize(
    ("recipients", "state"),
    [
        ([DEAD], FAILED),
        (["action: FAILED (it is over)\nstatus: 5.1.1 (no such box)"], FAILED),
        ([failed("5.0.0")], FAILED),
        ([failed("5.2.1")], FAILED),
        ([failed("5.4.4")], FAILED),
        ([failed("5.2.3")], UNDELIVERED),  # too big for this mailbox
        ([failed("5.3.4")], UNDELIVERED),  # too big for that system
        ([failed("5.5.0")], UNDELIVERED),
        ([failed("5.6.1")], UNDELIVERED),
        ([failed("5.7.26")], UNDELIVERED),  # our own domain is not authenticated
        ([failed("4.4.7")], UNDELIVERED),
        (["Action: failed"], UNDELIVERED),
        ([failed("nonsense")], UNDELIVERED),
        (["Action: delayed\nStatus: 4.4.1"], WAITING),
        (["Action: delivered\nStatus: 2.0.0"], WAITING),
        (["Action: relayed\nStatus: 2.0.0"], WAITING),
        ([DEAD, "Action: delivered\nStatus: 2.0.0"], WAITING),  # an address for two boxes, one of which got it
        ([DEAD, failed("5.2.2")], FAILED),
        ([DEAD, failed("5.7.1")], UNDELIVERED),
    ],
)
def test_only_a_final_failure_of_the_address_itself_says_that_nothing_arrives_there(
    recipients: list[str], state: ReportState
) -> None:
    bounce = read_bounce(dsn(*recipients), PATHS)
    assert isinstance(bounce, Bounce)
    assert (bounce.message, bounce.state) == (MESSAGE, state)


def test_the_envelope_id_tells_whose_mail_it_is_where_the_envelope_sender_has_no_mark() -> None:
    plain = ReturnPaths("bounces@mail.example.com", bytes(32))
    assert plain.sender(MESSAGE) == "bounces@mail.example.com"
    told = dsn(DEAD, to="bounces@mail.example.com", envelope=f"Original-Envelope-Id: {MARK}\n")
    assert read_bounce(told, plain) == Bounce(MESSAGE, FAILED, "5.1.1")
    assert read_bounce(dsn(DEAD), plain) is Unread.NOT_OURS


def test_a_server_that_writes_addresses_large_or_in_brackets_changes_nothing() -> None:
    for to in (f"BOUNCES+{MARK.upper()}@MAIL.EXAMPLE.COM", f'"A" <bounces+{MARK}@mail.example.com>, x@y.example'):
        assert read_bounce(dsn(DEAD, to=to), PATHS) == Bounce(MESSAGE, FAILED, "5.1.1")


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", Unread.NO_REPORT),
        (b"Subject: hello\n\nwhen do you open?\n", Unread.NO_REPORT),
        (dsn(DEAD, kind="multipart/mixed"), Unread.NO_REPORT),
        (dsn(), Unread.NO_REPORT),
        (dsn("Status: 5.1.1"), Unread.NO_REPORT),
        (dsn(DEAD).replace(b"message/delivery-status", b"text/plain"), Unread.NO_REPORT),
        (dsn(DEAD, to="bounces@mail.example.com"), Unread.NOT_OURS),
        (dsn(DEAD, to=f"other+{MARK}@mail.example.com"), Unread.NOT_OURS),
        (dsn(DEAD, to=f"bounces+{MARK}@mail.example.net"), Unread.NOT_OURS),
        (dsn(DEAD, to="bounces+x@mail.example.com", envelope="Original-Envelope-Id: QQ314159\n"), Unread.NOT_OURS),
        (dsn(DEAD, to=f"bounces+b{MARK[1:]}@mail.example.com"), Unread.FORGED),  # another message's id, this one's MAC
        (dsn(DEAD, to=f"bounces+{MARK[:-1]}a@mail.example.com"), Unread.FORGED),
        (b"x" * (MOST_OCTETS + 1), Unread.TOO_BIG),
        (dsn(DEAD) + b"Content-Type: message/rfc822\n\n" * MOST_PARTS, Unread.TOO_DEEP),
    ],
)
def test_what_is_no_notification_of_ours_is_left_alone(octets: bytes, why: Unread) -> None:
    assert read_bounce(octets, PATHS) is why


def work(octets: bytes) -> int:
    """How many functions are called while a mail is read."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read_bounce(octets, PATHS)
    finally:
        sys.setprofile(before)
    return calls


SIZE = 1 << 14
NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(MOST_PARTS - 1))
GROUPS = b"Content-Type: multipart/report; boundary=r\n\n--r\nContent-Type: message/delivery-status\n\n"
TYPE = b"Content-Type: multipart/report"


@pytest.mark.parametrize(
    ("begins", "goes_on", "most"),
    [
        (NESTED, b"\n", 25),
        (GROUPS, b"A:\n\n", 25),
        (GROUPS, b"--r\n\n", 25),
        (b"", b"A: b\n", 25),
        (TYPE, b"; a=b", 1),
        (TYPE, b";\n a=b", 5),
        (TYPE + b"; x=\xff", b"; a=b", 1),
    ],
    ids=["parts within parts", "recipients", "parts", "fields", "a type", "a folded type", "a type with other octets"],
)
def test_the_work_for_a_mail_grows_no_faster_than_its_size(begins: bytes, goes_on: bytes, most: int) -> None:
    for size in (SIZE, 4 * SIZE):
        assert work((begins + goes_on * size)[:size]) < most * size


def test_a_mark_is_worth_nothing_with_another_key() -> None:
    assert read_bounce(dsn(DEAD), ReturnPaths("bounces+*@mail.example.com", b"k" * 32)) is Unread.FORGED


def test_octets_of_any_charset_and_fields_that_are_cut_off_are_read() -> None:
    big5 = "信箱不存在".encode("big5")
    told = dsn(DEAD).replace(b"--b--", b"Diagnostic-Code: smtp; 550 " + big5 + b"\n--b--")
    assert read_bounce(told, PATHS) == Bounce(MESSAGE, FAILED, "5.1.1")
    assert read_bounce(told.replace(b"To: ", b"To: " + big5 + b" <x@y.example>, "), PATHS) == Bounce(
        MESSAGE, FAILED, "5.1.1"
    )


@given(st.binary(max_size=400), st.integers(0, 10_000), st.sampled_from(["postfix-unknown", "exchange", "gmail"]))
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_into_a_notification_names_no_other_message(junk: bytes, at: int, name: str) -> None:
    whole = vector(name)
    place = at % len(whole)
    read = read_bounce(whole[:place] + junk + whole[place:], PATHS)
    assert isinstance(read, Unread) or read.message == MESSAGE


@pytest.mark.parametrize("message", [MESSAGE, f"{MESSAGE}-email", f"{MESSAGE}-mobile", f"R{MESSAGE}"])
def test_every_kind_of_message_id_comes_back_out_of_its_mark_and_fits_into_an_address(message: str) -> None:
    mark = PATHS.mark(message)
    assert mark is not None
    assert PATHS.message_of(mark) == PATHS.message_of(mark.upper()) == message
    local, _, domain = str(PATHS.sender(message)).partition("@")
    assert (len(local) <= 64, domain) == (True, "mail.example.com")
    for place in range(len(mark)):
        other = "a" if mark[place] != "a" else "b"
        assert PATHS.message_of(mark[:place] + other + mark[place + 1 :]) is None


def test_a_message_with_an_id_that_is_not_ours_has_no_mark() -> None:
    assert PATHS.mark("trial-1") is None
    assert PATHS.sender("trial-1") is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bounces",
        "*@*.example.com",
        "**@example.com",
        "b <b+*@example.com>",
        "x" * 21 + "*@example.com",
        "b@ex*.com",
    ],
)
def test_an_address_to_which_no_mark_could_be_sent_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"e-mail address|characters"):
        ReturnPaths(address, bytes(32))
