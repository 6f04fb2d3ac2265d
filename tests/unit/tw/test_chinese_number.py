"""Numbers in Chinese characters."""

import pytest

from chopmark.tw.chinese_number import chinese_number


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("一", 1),
        ("元", 1),
        ("十", 10),
        ("十二", 12),
        ("二十", 20),
        ("廿", 20),
        ("廿一", 21),
        ("卅一", 31),
        ("九十", 90),
        ("九十九", 99),
        ("九〇", 90),
        ("九○", 90),
        ("一〇五", 105),
        ("二〇〇一", 2001),
        ("一百", 100),
        ("一百零五", 105),
        ("一百一十", 110),
        ("一百十", 110),
        ("一百一十三", 113),
        ("壹佰壹拾參", 113),
        ("〇", 0),
    ],
)
def test_chinese_numbers_have_their_value(written: str, number: int):
    assert chinese_number(written) == number


@pytest.mark.parametrize(
    "written", ["", "一百五", "零十", "百", "十百", "一百零五十", "一十二三", "十元", "千", "90", "九0"]
)
def test_what_is_no_number_is_none(written: str):
    assert chinese_number(written) is None
