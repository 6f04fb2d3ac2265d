"""Segments as 3GPP TS 23.038 and 23.040 count them: 160/153 septets, 70/67 UCS-2 units."""

import pytest

from chopmark.messaging.sms import big5_gaps, segments, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),  # an extension character takes two septets
        ("€" * 81, 2),
        ("a" * 152 + "€" * 5, 2),  # 162 septets: the pair at 153 moves over whole
        ("€" * 153, 3),  # 76 pairs a segment, one septet unused: 76 + 76 + 1
        ("碼" * 70, 1),
        ("碼" * 71, 2),
        ("碼" * 134, 2),
        ("碼" * 135, 3),
        ("𠮷" * 35, 1),  # a surrogate pair takes two units
        ("𠮷" * 36, 2),
        ("𠮷" * 67, 3),  # 33 pairs a segment, one unit unused: 33 + 33 + 1
        ("a" * 69 + "碼", 1),
        ("a" * 70 + "碼", 2),
        ("ç" * 71, 2),  # small c with cedilla is not in the table, capital is
        ("Ç" * 160, 1),
    ],
)
def test_a_text_takes_this_many_sms(text: str, expected: int) -> None:
    assert segments(text) == expected


def test_the_worked_example_of_the_text_pattern_has_65_units() -> None:
    text = (
        "【華南期貨】您正在申請展延電子憑證(帳號末3碼456)。驗證碼 123456，5分鐘內有效。"
        "本公司不會向您索取此碼，請勿告知他人。"
    )
    assert sum(units(text)) == len(text.encode("utf-16-le")) // 2 == 65


def test_characters_outside_big5_are_named_once_in_order() -> None:
    assert big5_gaps("王小明，許功蓋【】") == ()
    assert big5_gaps("堃喆峯啓𠮷😀堃") == ("堃", "喆", "峯", "啓", "𠮷", "😀")
    assert big5_gaps("恒裏碁銹粧") == ("恒", "裏", "碁", "銹", "粧")
