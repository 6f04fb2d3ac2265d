"""The journal's lines and files: what is written, what is read again, and what is no line of ours."""

import asyncio
import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chopmark.audit.journal import Deed, JournalDamaged, JournalKey, Line, decode_line, encode_line
from chopmark.audit.journalfile import JournalFolder
from chopmark.audit.journaling import Journal
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import IssuerId, OrderId, Serial

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
KEY = JournalKey(b"a" * 32, b"d" * 32)
LINE = Line(
    Deed.ISSUED,
    NOON,
    IssuerId("investor"),
    Serial("0A1B"),
    OrderId("ORDER"),
    0,
    NOON + timedelta(days=365),
    body=b"a certificate that names Wang Shi-Yi",
)
NONCE = bytes(range(12))


class Still:
    """A clock that stands, and randomness that counts."""

    def __init__(self) -> None:
        self.given = 0

    def now(self) -> datetime:
        return NOON

    def token(self, size: int) -> bytes:
        self.given += 1
        return self.given.to_bytes(size, "big")


def folder_names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def journal(folder: JournalFolder, *, behind: bool = False) -> Journal:
    still = Still()
    return Journal(folder, KEY, lambda: behind, still, still)


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        replace(LINE, deed=Deed.REVOKED, reason="key_compromise", body=b""),
        replace(LINE, deed=Deed.RESERVED, body=b"x" * 100_000),
    ],
)
def test_a_line_reads_as_it_was_written(line: Line) -> None:
    assert decode_line(encode_line(line, KEY, NONCE), KEY) == line


def test_a_body_is_not_to_be_read_without_the_key() -> None:
    written = encode_line(LINE, KEY, NONCE)
    assert b"Wang" not in b64decode(json.loads(written)["body"])
    assert "Wang" not in written


@pytest.mark.parametrize(
    "member", ["at", "deed", "issuer", "order", "serial", "until", "mac", "body", "shard", "reason"]
)
def test_an_edited_member_is_damage(member: str) -> None:
    members = json.loads(encode_line(LINE, KEY, NONCE))
    other = {"shard": 1, "reason": "superseded", "deed": "revoked", "body": b64encode(b"z" * 40).decode()}
    members[member] = other.get(member, "00" + str(members[member])[2:])
    with pytest.raises(JournalDamaged):
        decode_line(json.dumps(members, separators=(",", ":"), sort_keys=True), KEY)


def by_the_documented_form(line: Line) -> str:
    """Return a line as the documentation of the form has it: JSON with its members sorted, put together by `json`."""
    members: dict[str, object] = {
        "at": "2026-03-31T12:00:00.000Z",
        "deed": line.deed.value,
        "issuer": line.issuer,
        "order": line.order,
        "reason": line.reason,
        "serial": line.serial,
        "shard": line.shard,
        "until": "2027-03-31T12:00:00.000Z",
    }

    def canonical() -> bytes:
        return json.dumps(members, separators=(",", ":"), sort_keys=True).encode()

    sealed = NONCE + KEY.cipher.encrypt(NONCE, zlib.compress(line.body), canonical()) if line.body else b""
    members["body"] = b64encode(sealed).decode()
    members["mac"] = KEY.mac(canonical()).hex()
    return canonical().decode()


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        replace(LINE, deed=Deed.REVOKED, reason="key_compromise", body=b""),
        replace(LINE, issuer=IssuerId('x,"mac":"y,"body":"z'), order=OrderId(',"order":'), serial=Serial(',"deed":')),
        replace(LINE, issuer=IssuerId("x,"), order=OrderId("\\"), reason="\u738b\U00020000,"),
    ],
)
def test_a_line_has_the_documented_form_whatever_its_members_are(line: Line) -> None:
    assert encode_line(line, KEY, NONCE) == by_the_documented_form(line)
    assert decode_line(by_the_documented_form(line), KEY) == line


def test_a_line_read_without_its_body_is_checked_as_strictly() -> None:
    written = encode_line(LINE, KEY, NONCE)
    assert decode_line(written, KEY, with_body=False) == replace(LINE, body=b"")
    at = written.index('"body":"') + 20
    other = "B" if written[at] == "A" else "A"
    with pytest.raises(JournalDamaged):
        decode_line(written[:at] + other + written[at + 1 :], KEY, with_body=False)


def test_every_octet_that_is_changed_is_damage() -> None:
    written = encode_line(LINE, KEY, NONCE)
    for at, octet in enumerate(written):
        with pytest.raises(JournalDamaged):
            decode_line(written[:at] + ("#" if octet != "#" else "+") + written[at + 1 :], KEY)


def test_a_member_that_was_moved_is_damage() -> None:
    written = encode_line(LINE, KEY, NONCE)
    mac = written[written.index(',"mac":') : written.index(',"order":')]
    without = written.replace(mac, "")
    for after in (',"body":', ',"deed":', ',"serial":', "}"):
        moved = without.replace(after, mac + after, 1)
        with pytest.raises(JournalDamaged):
            decode_line(moved, KEY)


def test_a_line_of_another_installation_is_damage() -> None:
    written = encode_line(LINE, KEY, NONCE)
    for other in (JournalKey(b"b" * 32, b"d" * 32), JournalKey(b"a" * 32, b"e" * 32)):
        with pytest.raises(JournalDamaged):
            decode_line(written, other)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\u00e9", '{"at":1}', "[" * 5000])
def test_what_is_no_line_is_damage(text: str) -> None:
    with pytest.raises(JournalDamaged):
        decode_line(text, KEY)


def test_a_body_that_unpacks_to_more_than_any_is_refused() -> None:
    with pytest.raises(JournalDamaged):
        decode_line(encode_line(replace(LINE, body=bytes(2 << 20)), KEY, NONCE), KEY)


def test_lines_of_all_nodes_are_read_once_each_and_later_ones_when_they_come(tmp_path: Path) -> None:
    one, two = JournalFolder(tmp_path, 1), JournalFolder(tmp_path, 2)
    one.append(["a", "b"], NOON.date())
    two.append(["c"], NOON.date())
    tail = one.tail(NOON)
    assert tail.more() == ["a", "b", "c"]
    assert tail.more() == []
    two.append(["d"], (NOON + timedelta(days=1)).date())
    one.append(["e"], NOON.date())
    assert tail.more() == ["e", "d"]


def test_files_of_days_before_the_day_before_are_left_alone(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path, 1)
    for days, word in ((2, "old"), (1, "yesterday"), (0, "today")):
        folder.append([word], (NOON - timedelta(days=days)).date())
    assert folder.tail(NOON).more() == ["yesterday", "today"]
    assert folder.tail(None).more() == ["old", "yesterday", "today"]


def test_a_torn_line_waits_for_its_end_and_spoils_no_other(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path, 1)
    folder.append(["first"], NOON.date())
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"torn in the mid")
    tail = folder.tail(None)
    assert tail.more() == ["first"]
    folder.append(["second"], NOON.date())
    assert tail.more() == ["torn in the mid", "second"]


def test_a_file_that_lost_lines_is_read_again_from_its_beginning(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path, 1)
    folder.append(["first", "second"], NOON.date())
    tail = folder.tail(None)
    tail.more()
    (path,) = tmp_path.iterdir()
    path.write_text("other\n")
    assert tail.more() == ["other"]


def test_other_files_in_the_directory_are_none_of_its_business(tmp_path: Path) -> None:
    (tmp_path / "heads.jsonl").write_text("head\n")
    (tmp_path / "journal-x-20260331.jsonl").write_text("x\n")
    assert JournalFolder(tmp_path, 1).tail(None).more() == []


async def test_lines_that_come_together_are_all_on_the_disk_when_each_call_returns(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path, 1)
    writer = journal(folder)
    lines = [replace(LINE, serial=Serial(f"{number:04X}")) for number in range(50)]
    await asyncio.gather(*(writer.write(line) for line in lines))
    read = [decode_line(text, KEY) for text in folder.tail(None).more()]
    assert {line.serial for line in read} == {line.serial for line in lines}


async def test_a_disk_that_takes_no_line_is_a_refusal_and_the_next_line_is_tried(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path / "not mounted", 1)
    writer = journal(folder)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await writer.write(LINE)
        assert (refused.value.refusal.kind, refused.value.refusal.code) == (Kind.UNAVAILABLE, "journal.unwritten")
    folder.directory.mkdir()
    await writer.write(LINE)
    assert len(folder.tail(None).more()) == 1


async def test_nothing_is_written_while_the_database_is_behind(tmp_path: Path) -> None:
    writer = journal(JournalFolder(tmp_path, 1), behind=True)
    with pytest.raises(Refused) as refused:
        await writer.write(LINE)
    assert refused.value.refusal.code == "standstill"
    assert not folder_names(tmp_path)
    assert writer.closed


def test_a_probe_leaves_nothing_behind_and_says_when_the_directory_takes_nothing(tmp_path: Path) -> None:
    JournalFolder(tmp_path, 1).probe()
    assert not folder_names(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        JournalFolder(tmp_path / "gone", 1).probe()
