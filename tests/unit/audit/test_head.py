"""Heads: one line of JSON, signed outside the database; and the file that keeps them."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chopmark.audit.head import (
    FIRST_HEAD,
    HeadDraft,
    Lost,
    decode_head,
    encode_head,
    head_hash,
    verify_head,
)
from chopmark.audit.headfile import HeadFile, read_heads
from chopmark.audit.headlines import parse_head_lines

KEY = Ed25519PrivateKey.generate()


def a_head(size=3):
    draft = HeadDraft(size, bytes([size]) * 32, datetime(2026, 3, 2, 1, 0, tzinfo=UTC), FIRST_HEAD, 1)
    return draft.signed(KEY.sign(draft.message()))


def test_a_head_is_one_line_of_sorted_json_that_comes_back():
    line = encode_head(a_head())
    assert list(json.loads(line)) == ["at", "fencing", "previous", "root", "signature", "size"]
    assert "\n" not in line
    assert " " not in line
    assert decode_head(line) == a_head()
    assert len(head_hash(a_head())) == 32


def test_only_the_signing_keys_signature_holds():
    head = a_head()
    stranger = Ed25519PrivateKey.generate().public_key()
    assert verify_head(head, [KEY.public_key()])
    assert verify_head(head, [stranger, KEY.public_key()])
    assert not verify_head(head, [stranger])
    assert not verify_head(head, [])
    assert not verify_head(replace(head, signature=b""), [KEY.public_key()])
    for change in ({"size": 4}, {"root": bytes(32)}, {"fencing": 2}, {"previous": bytes([1]) * 32}):
        assert not verify_head(replace(head, draft=replace(head.draft, **change)), [KEY.public_key()])


def test_a_head_signed_with_p256_verifies_too():
    key = ec.generate_private_key(ec.SECP256R1())
    draft = a_head().draft
    head = draft.signed(key.sign(draft.message(), ec.ECDSA(hashes.SHA256())))
    assert verify_head(head, [KEY.public_key(), key.public_key()])
    assert not verify_head(replace(head, draft=replace(draft, size=9)), [key.public_key()])


@pytest.mark.parametrize(
    "change", [{"size": -1}, {"size": True}, {"size": "3"}, {"root": 1}, {"root": "zz"}, {"at": 5}, {"more": 1}]
)
def test_a_line_with_a_wrong_member_is_no_head(change):
    members = json.loads(encode_head(a_head())) | change
    with pytest.raises(ValueError, match=r".+"):
        decode_head(json.dumps(members, sort_keys=True, separators=(",", ":")))


def a_successor():
    draft = replace(a_head().draft, lost=Lost(bytes([1]) * 32, bytes([2]) * 32, 9))
    return draft.signed(KEY.sign(draft.message()))


def test_a_successor_says_what_is_lost_in_its_place_among_the_sorted_members_and_comes_back():
    line = encode_head(a_successor())
    assert list(json.loads(line)) == ["at", "fencing", "lost", "previous", "root", "signature", "size"]
    assert list(json.loads(line)["lost"]) == ["base", "root", "size"]
    assert decode_head(line) == a_successor()
    assert parse_head_lines(line + "\n").heads == (a_successor(),)
    assert a_successor().draft.continues == bytes([1]) * 32
    assert a_head().draft.continues == FIRST_HEAD


def test_what_is_lost_is_signed_too():
    head = a_successor()
    assert verify_head(head, [KEY.public_key()])
    for lost in (None, replace(head.draft.lost, size=8), replace(head.draft.lost, base=bytes(32))):
        assert not verify_head(replace(head, draft=replace(head.draft, lost=lost)), [KEY.public_key()])


@pytest.mark.parametrize(
    "lost",
    [
        None,
        [],
        {},
        {"base": "00", "root": "00"},
        {"base": "00", "root": "00", "size": 1, "more": 1},
        {"base": 1, "root": "00", "size": 1},
        {"base": "00", "root": "zz", "size": 1},
        {"base": "00", "root": "00", "size": -1},
        {"base": "00", "root": "00", "size": True},
    ],
)
def test_a_line_that_says_something_else_of_what_is_lost_is_no_head(lost):
    members = json.loads(encode_head(a_successor())) | {"lost": lost}
    with pytest.raises(ValueError, match=r"^(?!the head is not spelled canonically)"):
        decode_head(json.dumps(members, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", "x", "[" * 100_000])
def test_a_line_that_is_something_else_is_no_head(line):
    with pytest.raises(ValueError, match=r".+"):
        decode_head(line)


def test_another_spelling_of_a_head_is_no_head():
    with pytest.raises(ValueError, match="canonically"):
        decode_head(encode_head(a_head()) + " ")


def test_the_file_keeps_every_head_in_order(tmp_path):
    file = HeadFile(tmp_path / "heads.jsonl")
    assert file.last() is None
    for size in (1, 2, 3):
        file.append(a_head(size))
    assert file.last() == a_head(3)
    assert read_heads(tmp_path / "heads.jsonl").heads == (a_head(1), a_head(2), a_head(3))


def test_appending_never_changes_what_is_there(tmp_path):
    path = tmp_path / "heads.jsonl"
    HeadFile(path).append(a_head(1))
    before = path.read_bytes()
    HeadFile(path).append(a_head(2))
    assert path.read_bytes().startswith(before)
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_line_torn_by_a_crash_is_skipped_and_spoils_nothing(tmp_path, kept):
    path = tmp_path / "heads.jsonl"
    file = HeadFile(path)
    file.append(a_head(1))
    with path.open("ab") as raw:
        raw.write(encode_head(a_head(2)).encode()[:kept])
    assert file.last() == a_head(1)
    assert read_heads(path).heads == (a_head(1),)
    assert read_heads(path).unreadable == ()
    file.append(a_head(2))
    file.append(a_head(3))
    assert file.last() == a_head(3)
    assert read_heads(path).heads == (a_head(1), a_head(2), a_head(3))
    assert read_heads(path).unreadable == ()


def test_the_last_head_is_found_in_a_long_file(tmp_path):
    file = HeadFile(tmp_path / "heads.jsonl")
    for size in range(60):
        file.append(a_head(size))
    assert file.last() == a_head(59)


def test_a_line_that_is_no_torn_head_is_reported():
    lines = [encode_head(a_head(size)) for size in (1, 2, 3)]
    lines[1] = lines[1].replace('"size":2', '"size":two')
    assert parse_head_lines("\n".join(lines) + "\n").unreadable == (2,)


def test_octets_that_are_no_text_are_reported(tmp_path):
    path = tmp_path / "heads.jsonl"
    path.write_bytes(b"\xff\xfe\n" + encode_head(a_head(1)).encode() + b"\n")
    assert read_heads(path).unreadable == (1,)


def test_a_disk_that_takes_nothing_is_an_os_error(tmp_path):
    path = tmp_path / "heads.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=os.strerror(28)):
        HeadFile(path).append(a_head(1))
