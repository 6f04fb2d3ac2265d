"""Typed text made plain."""

from chopmark.tw.text import FOLD_LIMIT, capitals, compact, fold, has_hidden, has_other_digits, trim


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


def test_digits_of_other_scripts_are_told():
    assert has_other_digits("٠٩")
    assert not has_other_digits("09九²")


def test_long_text_is_not_normalised():
    assert fold(" " + "Ａ" * (FOLD_LIMIT + 1)) == "Ａ" * (FOLD_LIMIT + 1)
