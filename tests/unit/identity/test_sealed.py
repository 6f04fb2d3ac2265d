"""Sealed values open only where they belong; look-ups go by a keyed hash.

The standard AES-256-GCM and HKDF are checked against OpenSSL's by the library; here it is how they are used:
the HKDF of the look-up key against RFC 5869 written out with `hmac`.
"""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopmark.identity.sealed import SealBroken, Sealer, SealKey

ROOT = SealKey("s1", bytes(range(32)))
SEALER = Sealer(ROOT, bytes(32))
PLACE = ("customers", "birth_date", "C-1", 3)
SEALED = SEALER.seal("1960-05-04", *PLACE, bytes(12))


def test_a_sealed_value_opens_at_its_place_as_a_secret() -> None:
    opened = SEALER.open(SEALED, *PLACE)
    assert opened.reveal() == "1960-05-04"
    assert str(opened) == "-"


def test_the_value_is_not_in_its_seal() -> None:
    assert b"1960" not in SEALED
    assert SEALED.startswith(b"\x02s1" + bytes(12))
    assert len(SEALED) == 3 + 12 + len("1960-05-04") + 16


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("contacts", "birth_date", "C-1", 3),
        ("customers", "name", "C-1", 3),
        ("customers", "birth_date", "C-2", 3),
        ("customers", "birth_date", "C-1", 2),
        ("customersb", "irth_date", "C-1", 3),
    ],
)
def test_a_value_copied_to_another_table_column_row_or_version_does_not_open(
    elsewhere: tuple[str, str, str, int],
) -> None:
    with pytest.raises(SealBroken, match="another place"):
        SEALER.open(SEALED, *elsewhere)


@pytest.mark.parametrize("index", range(len(SEALED)))
def test_no_byte_of_a_sealed_value_can_be_edited(index: int) -> None:
    edited = bytearray(SEALED)
    edited[index] ^= 1
    with pytest.raises(SealBroken):
        SEALER.open(bytes(edited), *PLACE)


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_cut_value_is_broken(length: int) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(SEALED[:length], *PLACE)


def test_after_a_rotation_old_values_open_and_are_known_as_old_and_hashes_stay() -> None:
    rotated = Sealer(SealKey("s2", bytes(32)), bytes(32), older=(ROOT,))
    assert rotated.open(SEALED, *PLACE).reveal() == "1960-05-04"
    assert not rotated.is_current(SEALED)
    assert rotated.is_current(rotated.seal("x", *PLACE, bytes(12)))
    assert rotated.lookup_hash("mobile", "+886912345678") == SEALER.lookup_hash("mobile", "+886912345678")


def test_a_value_under_a_destroyed_key_is_broken_and_the_error_names_only_the_column() -> None:
    with pytest.raises(SealBroken) as raised:
        Sealer(SealKey("s2", bytes(32)), bytes(32)).open(SEALED, *PLACE)
    assert str(raised.value) == "customers.birth_date is sealed under a key that is not here"


def test_the_same_key_under_another_id_does_not_open_it() -> None:
    renamed = SEALED.replace(b"\x02s1", b"\x02s9", 1)
    with pytest.raises(SealBroken):
        Sealer(SealKey("s9", ROOT.secret), bytes(32)).open(renamed, *PLACE)


def test_the_lookup_hash_is_hmac_sha256_under_a_key_of_its_own_by_rfc_5869() -> None:
    pseudo_random_key = hmac.digest(bytes(32), bytes(range(32)), hashlib.sha256)
    key = hmac.digest(pseudo_random_key, b"chopmark-lookup-1\x01", hashlib.sha256)
    expected = hmac.digest(key, b"\0\0\0\x06mobile\0\0\0\x01x", hashlib.sha256).hex()
    assert Sealer(ROOT, bytes(range(32))).lookup_hash("mobile", "x") == expected


def test_equal_values_of_two_kinds_have_different_hashes() -> None:
    assert SEALER.lookup_hash("mobile", "x") != SEALER.lookup_hash("email", "x")
    assert SEALER.lookup_hash("a", "bc") != SEALER.lookup_hash("ab", "c")


def test_keys_and_nonces_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealKey("s", bytes(16))
    with pytest.raises(ValueError, match="ASCII"):
        SealKey("鑰", bytes(32))
    with pytest.raises(ValueError, match="look-up secret"):
        Sealer(ROOT, b"")
    with pytest.raises(ValueError, match="share a key id"):
        Sealer(ROOT, bytes(32), older=(ROOT,))
    with pytest.raises(ValueError, match="12 bytes"):
        SEALER.seal("x", *PLACE, bytes(11))
    assert "secret" not in repr(ROOT)


@given(st.text(alphabet=st.characters(codec="utf-8")), st.binary(min_size=12, max_size=12))
def test_every_text_comes_back_as_it_was(value: str, nonce: bytes) -> None:
    assert SEALER.open(SEALER.seal(value, *PLACE, nonce), *PLACE).reveal() == value


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_broken_and_nothing_else(junk: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(junk, *PLACE)


@pytest.mark.parametrize(
    ("kid", "fits"), [("k", True), ("k" * 32, True), ("", False), ("k" * 33, False), ("ké", False)]
)
def test_the_id_of_a_key_has_one_to_32_ascii_characters(kid: str, *, fits: bool) -> None:
    if fits:
        assert SealKey(kid, bytes(32)).kid == kid
        return
    with pytest.raises(ValueError, match="1 to 32"):
        SealKey(kid, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_root_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SealKey("s2", bytes(size))


@pytest.mark.parametrize("sealed", [b"", bytes(60), b"\x00" + bytes(12) + bytes(40)])
def test_what_names_no_key_is_no_sealed_value(sealed: bytes) -> None:
    with pytest.raises(SealBroken, match="cut"):
        SEALER.open(sealed, *PLACE)
