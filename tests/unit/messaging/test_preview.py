"""Every text is looked at before the first customer waits for one."""

from datetime import timedelta

import pytest

from chopmark.messaging.ports import Purpose
from chopmark.messaging.preview import faults_of, previews, text_faults
from chopmark.messaging.templates import Language, Sender

LIFE = timedelta(minutes=5)
SENDER = Sender("好景期貨", "Haojing Futures", "02-1234-5678")


def test_every_text_is_shown_with_its_sms_and_those_of_the_demo_are_fit() -> None:
    shown = list(previews(SENDER, 10, timedelta(minutes=10)))
    assert {(one.purpose, one.language) for one in shown} == {(p, lang) for p in Purpose for lang in Language}
    assert text_faults(SENDER, 10, timedelta(minutes=10)) == []
    assert all(one.segments == 1 for one in shown if one.purpose.is_code)


def test_a_name_that_is_too_long_or_rare_is_found() -> None:
    assert any(
        "takes 2 SMS, more than 1" in fault for fault in text_faults(Sender("好景國際綜合證券" * 2, "H", "1"), 6, LIFE)
    )
    assert any("Big5 does not have: 堃" in fault for fault in text_faults(Sender("堃期貨", "Kun", "1"), 6, LIFE))


@pytest.mark.parametrize("number", ["02-2345-6789", "(02)2345-6789", "0223456789", "0912-345-678", "+886 223 456 789"])
def test_a_telephone_number_in_a_text_is_found(number: str) -> None:
    assert faults_of(f"驗證碼000000，洽{number}。", 1, 1, 6) == ("has a telephone number",)
    assert any("telephone" in fault for fault in text_faults(Sender(f"好景{number}", "H", "1"), 6, LIFE))


@pytest.mark.parametrize("link", ["https://x.example", "www.haojing", "haojing.com", "reurl.cc", "bit.ly"])
def test_a_web_address_in_a_text_is_found(link: str) -> None:
    assert faults_of(f"請見{link} ", 1, 1, 6) == ("has a web address",)


def test_neither_a_code_nor_a_time_is_taken_for_a_telephone_number() -> None:
    assert faults_of("驗證碼0000000000，於2026/11/23 00:30啟用，帳號末3碼456。", 1, 1, 10) == ()
