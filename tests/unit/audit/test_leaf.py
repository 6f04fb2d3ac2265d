"""Leaves: canonical bytes, MAC, hash, chaining, and what a record may say."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.facts import FACTS, LONGEST, clean_facts
from chopmark.audit.record import (
    GENESIS,
    AuditKey,
    AuditKeys,
    StreamId,
    customer_stream,
    encode,
    leaf_hash,
    make_record,
    new_stream,
    next_tip,
    staff_stream,
    stamp,
)
from chopmark.core.types import CustomerId

KEY = AuditKey("a1", bytes(range(32)))
AT = datetime(2026, 3, 2, 9, 30, 15, 123_999, tzinfo=timezone(timedelta(hours=8)))
CHAIN = StreamId("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def a_record(**facts):
    return make_record(new_stream(CHAIN), Event.RA_ORDER_OPENED, facts, AT, KEY)


def test_the_canonical_bytes_are_sorted_json_without_spaces_or_mac():
    record = a_record(operation="rekey", attempt=1)
    assert encode(record) == (
        b'{"at":"2026-03-02T01:30:15.123Z","chain":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","event":"ra:order:opened",'
        b'"facts":{"attempt":1,"operation":"rekey"},"kid":"a1","previous":"' + b"0" * 64 + b'","version":1}'
    )


def test_the_mac_is_hmac_sha256_over_label_and_bytes_and_the_hash_covers_both():
    record = a_record(operation="rekey")
    mac = hmac.new(bytes(range(32)), b"chopmark-leaf-1\n" + encode(record), hashlib.sha256).digest()
    assert record.mac == mac
    assert leaf_hash(record) == hashlib.sha256(b"\x00" + encode(record) + mac).digest()


def test_a_leaf_names_the_one_before_it():
    first = a_record()
    second = make_record(next_tip(first), Event.RA_KEY_BOUND, {}, AT, KEY)
    assert (first.version, first.previous) == (1, GENESIS)
    assert (second.version, second.previous) == (2, leaf_hash(first))
    assert second.leaf_id == f"{CHAIN}@2"


def test_a_stored_leaf_comes_back_as_it_was():
    record = a_record(field="統一編號", count=3, reason=None, role=True)
    assert record.stored().record() == record
    assert record.at == datetime(2026, 3, 2, 1, 30, 15, 123_000, tzinfo=UTC)
    assert "統一編號" in record.stored().facts


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="aware"):
        stamp(AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="aware"):
        make_record(new_stream(CHAIN), Event.RA_ORDER_OPENED, {}, AT.replace(tzinfo=None), KEY)


@pytest.mark.parametrize("stream", ["", "a b", "a\nb", "order@1", "x" * 101, ":a"])
def test_a_malformed_chain_id_is_refused(stream):
    with pytest.raises(ValueError, match="chain id"):
        make_record(new_stream(StreamId(stream)), Event.RA_ORDER_OPENED, {}, AT, KEY)


def test_chains_of_persons_carry_their_kind():
    assert customer_stream(CustomerId("A-1")) == "customer:A-1"
    assert staff_stream("lin") == "staff:lin"


@pytest.mark.parametrize("name", ["password", "birth_date", "mobile", "email", "name", "national_id", "otp", ""])
def test_a_fact_outside_the_allow_list_is_refused(name):
    with pytest.raises(ValueError, match="no such audit fact"):
        clean_facts({name: "x"})


def test_every_fact_has_a_sentence():
    assert all(sentence.endswith(".") for sentence in FACTS.values())


@pytest.mark.parametrize("value", [1.5, b"x", ["x"], {"a": 1}, 2**53, -(2**53)])
def test_a_value_that_json_readers_do_not_keep_is_refused(value):
    with pytest.raises(ValueError, match="audit fact 'count'"):
        clean_facts({"count": value})


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\nb\r\n", "a\\u000ab\\u000d\\u000a"),
        ("\x1b[31m", "\\u001b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("a\\u000ab", "a\\\\u000ab"),
        ("=cmd", "=cmd"),
        ("王小明", "王小明"),
    ],
)
def test_what_could_break_a_line_is_escaped(value, stored):
    assert clean_facts({"reason": value})["reason"] == stored


@pytest.mark.parametrize("value", ["x" * 201, "\n" * 150, "x" * 199 + "\n", "\\" * 101, "王" * 100_000])
def test_a_long_value_is_cut_to_the_bound(value):
    kept = clean_facts({"reason": value})["reason"]
    assert isinstance(kept, str)
    assert len(kept) <= LONGEST
    assert kept.endswith("…")


def test_a_value_of_exactly_the_bound_is_kept():
    assert clean_facts({"reason": "x" * 200})["reason"] == "x" * 200


MALFORMED: dict[str, list[Any]] = {
    "version": [0, -1, True, "1", None],
    "previous": [b"", bytes(31), "00" * 32],
    "mac": [b"", None],
    "at": ["2026-03-02 01:30:15.123Z", "2026-03-02T01:30:15Z", "2026-03-02T09:30:15.123+08:00", "", None],
    "facts": ["", "[]", "null", '{"a": 1}', '{"b":1,"a":1}', '{"a":1,"a":1}', "[" * 100_000, '{"a":"\\ud800"}', None],
    "event": [None, b"x", "\ud800"],
    "stream": [None],
    "kid": [7],
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_a_malformed_column_is_a_value_error_and_nothing_else(column, value):
    broken = replace(a_record(count=1).stored(), **{column: value})
    with pytest.raises(ValueError, match=r".+"):
        broken.leaf_hash()


def test_an_unknown_event_has_bytes_and_no_typed_leaf():
    odd = replace(a_record().stored(), event="ra:order:danced")
    assert json.loads(odd.canonical())["event"] == "ra:order:danced"
    with pytest.raises(ValueError, match="danced"):
        odd.record()


def test_an_audit_key_is_long_enough_named_and_never_shown():
    assert "secret" not in repr(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        AuditKey("a1", bytes(31))
    with pytest.raises(ValueError, match="a name"):
        AuditKey("", bytes(32))
    with pytest.raises(ValueError, match="two audit keys"):
        AuditKeys([KEY, KEY])


def test_every_event_reads_source_subject_action():
    for event in Event:
        source, subject, action = event.value.split(":")
        assert source in {"portal", "ra", "post", "ca", "va", "staff", "audit"}
        assert event.name == f"{source}_{subject}_{action}".upper()
