"""The words of a key: what openssl, sha256sum and tr make of it, and what people type."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopmark.client.signing import ClientKey
from chopmark.pki.key_words import LETTERS, are_key_words, key_name, key_words

DIGEST = "0123456789abcdef" * 4
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


def by_tr(digest: str) -> str:
    """What a stranger's shell says."""
    tr = shutil.which("tr")
    assert tr is not None
    made = subprocess.run([tr, "0-9a-f", "BCDFGHJKLMNPRSTW"], input=digest, capture_output=True, text=True, check=True)
    return made.stdout[:12]


def test_the_words_are_what_tr_makes_of_the_digest() -> None:
    for digest in (DIGEST, ClientKey.generate().spki_sha256.hex()):
        assert key_words(digest).replace("-", "") == by_tr(digest)


def test_three_groups_of_four_letters_and_the_first_is_the_name() -> None:
    assert key_words(DIGEST) == "BCDF-GHJK-LMNP"
    assert key_name(DIGEST) == "BCDF"


def test_no_letter_is_a_vowel_or_looks_like_another_or_like_a_digit() -> None:
    assert len(set(LETTERS)) == 16
    assert not set(LETTERS) & set("AEIOUYQVZX0123456789")


@given(DIGESTS, DIGESTS)
def test_words_are_those_of_one_key_however_they_are_written(mine: str, other: str) -> None:
    words = key_words(mine)
    spelled = (words, words.lower(), words.replace("-", ""), words.replace("-", " "), f"  {words}\n", words.title())
    for written in spelled:
        assert are_key_words(written, mine)
        assert are_key_words(written, other) is (mine[:12] == other[:12])


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "-",
        "BCDF",
        "BCDF-GHJK-LMN",
        "BCDF-GHJK-LMNPR",
        "BCDF-GHJK-LMNB",
        "0123-4567-89AB",
        "ＢＣＤＦ",
        "x" * 10_000,
    ],
)
def test_anything_else_is_no_key_s_words(typed: str) -> None:
    assert not are_key_words(typed, DIGEST)


def test_full_width_letters_and_marks_of_direction_are_read_as_letters() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else "－" for c in key_words(DIGEST))
    assert are_key_words(wide, DIGEST)
    assert are_key_words(f"\u202e{key_words(DIGEST)}\u202c", DIGEST)
