"""Typed text made plain."""

import pytest

from chopmark.tw.text import FOLD_LIMIT, capitals, compact, fold, has_hidden, trim


def test_full_width_letters_become_ordinary_ones():
    assert fold("Ａ１２３（期）") == "A123(期)"


def test_runs_of_any_space_become_one_or_none():
    assert fold("　王  小\t明\r\n") == "王 小 明"
    assert fold("　王  小\t明\r\n", inner_spaces=False) == "王小明"


def test_invisible_characters_go():
    assert fold("\u202d0912\u200b345\x00678\u202c\ufeff\ud800") == "0912345678"


def test_trimming_keeps_what_stands_inside():
    assert trim("\u202a a\u200bb \u202c") == "a\u200bb"
    assert trim("\u200b \u200b") == ""


def test_invisible_characters_are_told_and_spaces_are_none_of_them():
    assert has_hidden("a\u202eb")
    assert has_hidden("\ud800")
    assert not has_hidden("王 小明\u3000\t\n")


def test_every_dash_becomes_a_hyphen():
    assert compact("1‐2‑3‒4–5—6―7−8－9") == "1-2-3-4-5-6-7-8-9"


def test_only_latin_letters_get_capitals():
    assert capitals("a-z ß \u0131") == "A-Zß\u0131"


@pytest.mark.parametrize(
    "nine", ["９", "٩", "۹", "๙", "९", "\u07c9", "\U0001d7d7", "\U0001d7e1", "\U0001fbf9", "\U0001e959"], ids=ascii
)
def test_a_digit_of_any_script_is_that_digit(nine: str):
    """Expected values of the Unicode Character Database: each is a decimal digit (Nd) of value nine."""
    assert fold(f"a{nine}b") == compact(f"a{nine}b") == "a9b"


def test_what_counts_and_is_no_decimal_digit_stays():
    assert fold("九Ⅸ⓽") == "九IX⓽"


def test_long_text_is_not_normalised():
    assert fold(" " + "Ａ" * (FOLD_LIMIT + 1)) == "Ａ" * (FOLD_LIMIT + 1)
