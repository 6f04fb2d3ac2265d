"""The words of messages: the purpose is there, a link or a name is not, and a code fits one SMS."""

import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest

from chopmark.core.types import Channel, Operation, Secret
from chopmark.messaging.ports import Purpose, code_purpose
from chopmark.messaging.sms import segments
from chopmark.messaging.templates import CodeParts, Language, Sender, Written, write_code, write_notice

SENDER = Sender("好景期貨", "Haojing Futures", "02-2345-6789")
CODES = [each for each in Purpose if each.is_code]
NOTICES = [each for each in Purpose if each.is_notice]
AT = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
EVERYWHERE = list(product(Language, Channel))


def code_message(
    purpose: Purpose,
    language: Language,
    channel: Channel,
    code: str = "012345",
    minutes: int = 5,
    last3: str | None = "456",
    reference: str = "BDFG",
    key_name: str | None = "HJKL",
) -> Written:
    return write_code(
        SENDER,
        purpose,
        language,
        channel,
        CodeParts(Secret(code), reference, key_name, timedelta(minutes=minutes)),
        account_last3=last3,
    )


def notice(purpose: Purpose, language: Language, channel: Channel) -> Written:
    stop = Secret("BDFGH-JKLMN") if purpose is Purpose.REPLACING else None
    return write_notice(SENDER, purpose, language, channel, at=AT, account_last3="456", stop=stop)


def test_a_renewal_code_on_a_phone_reads_like_this() -> None:
    written = code_message(Purpose.CODE_RENEWAL, Language.ZH, Channel.MOBILE)
    assert written.text.reveal() == (
        "【好景期貨】展延電子憑證(帳號末3碼456)。驗證碼012345，限5分鐘，參考BDFG，金鑰HJKL。本公司不索取，勿告知他人。"
    )


@pytest.mark.parametrize(("language", "channel"), EVERYWHERE)
@pytest.mark.parametrize(
    ("purpose", "zh", "en"),
    [
        (Purpose.CODE_RENEWAL, "展延電子憑證", "renewing"),
        (Purpose.CODE_APPLICATION, "申請電子憑證", "applying for"),
        (Purpose.CODE_REVOCATION, "廢止電子憑證", "revoking"),
    ],
)
def test_every_code_message_says_what_it_is_for_names_code_reference_firm_and_account(
    purpose: Purpose, zh: str, en: str, language: Language, channel: Channel
) -> None:
    written = code_message(purpose, language, channel)
    chinese = language is Language.ZH
    for expected in (zh if chinese else en, "012345", "BDFG", "好景期貨" if chinese else "Haojing Futures", "456"):
        assert expected in written.text.reveal()
    assert (zh if chinese else en) in written.subject
    assert "012345" not in written.subject


@pytest.mark.parametrize(("language", "channel"), EVERYWHERE)
def test_no_message_has_a_link_and_none_is_left_with_a_gap(language: Language, channel: Channel) -> None:
    written = [code_message(each, language, channel) for each in CODES]
    written += [notice(each, language, channel) for each in NOTICES]
    for each in written:
        for words in (each.subject, each.text.reveal()):
            assert not re.search(r"http|://|www\.|%\(|%s|None", words)
        assert "\n" not in each.subject
        assert channel is Channel.EMAIL or "\n" not in each.text.reveal()


@pytest.mark.parametrize(
    ("purpose", "language", "digits", "minutes"), list(product(CODES, Language, range(6, 11), (1, 5, 10)))
)
def test_a_code_of_six_to_ten_digits_fits_one_sms(
    purpose: Purpose, language: Language, digits: int, minutes: int
) -> None:
    written = code_message(purpose, language, Channel.MOBILE, "0" * digits, minutes)
    assert segments(written.text.reveal()) == 1


def test_a_notice_shows_taiwans_time() -> None:
    written = notice(Purpose.ACTIVATED, Language.ZH, Channel.MOBILE)
    assert "2026/11/23 00:30啟用" in written.text.reveal()
    elsewhere = write_notice(
        SENDER,
        Purpose.ACTIVATED,
        Language.ZH,
        Channel.MOBILE,
        at=AT.astimezone(timezone(timedelta(hours=-5))),
        account_last3="456",
    )
    assert elsewhere.text.reveal() == written.text.reveal()


@pytest.mark.parametrize("purpose", NOTICES)
def test_a_chinese_notice_fits_one_sms_and_an_english_one_two(purpose: Purpose) -> None:
    assert segments(notice(purpose, Language.ZH, Channel.MOBILE).text.reveal()) == 1
    assert segments(notice(purpose, Language.EN, Channel.MOBILE).text.reveal()) <= 2


def test_the_notice_of_a_replacement_on_a_phone_reads_like_this() -> None:
    written = notice(Purpose.REPLACING, Language.ZH, Channel.MOBILE)
    assert written.text.reveal() == (
        "【好景期貨】有人申請您的新電子憑證(帳號末3碼456)，未用舊憑證。非本人請至客服專區輸入停止碼BDFGH-JKLMN。"
    )


@pytest.mark.parametrize(("language", "channel"), EVERYWHERE)
def test_the_stop_code_stands_in_the_text_of_its_notice_and_in_no_subject(language: Language, channel: Channel) -> None:
    written = notice(Purpose.REPLACING, language, channel)
    assert written.text.reveal().count("BDFGH-JKLMN") == 1
    assert "BDFGH" not in written.subject


@pytest.mark.parametrize("stop", [None, "", "BDFGHJKLMN", "BDFGH-12345", "BDFGH-JKLMN\n", "bdfgh-jklmn"])
def test_a_replacement_is_never_told_without_a_stop_code_and_nothing_else_has_one(stop: str | None) -> None:
    given = None if stop is None else Secret(stop)
    with pytest.raises(ValueError, match="two groups of five letters"):
        write_notice(SENDER, Purpose.REPLACING, Language.ZH, Channel.EMAIL, at=AT, account_last3=None, stop=given)
    code = Secret("BDFGH-JKLMN")
    with pytest.raises(ValueError, match="two groups of five letters"):
        write_notice(SENDER, Purpose.HOLD, Language.ZH, Channel.EMAIL, at=AT, account_last3=None, stop=code)


def test_an_order_without_an_account_has_no_brackets() -> None:
    for language in Language:
        assert "(" not in code_message(CODES[0], language, Channel.MOBILE, last3=None).text.reveal()


@pytest.mark.parametrize("last3", ["王小明", "45", "4567", "４５６", "a\nb", "45\n"])
def test_nothing_but_the_last_three_characters_of_an_account_gets_into_a_message(last3: str) -> None:
    with pytest.raises(ValueError, match="last three"):
        code_message(CODES[0], Language.ZH, Channel.MOBILE, last3=last3)


@pytest.mark.parametrize(("code", "reference"), [("12345", "BDFG"), ("１２３４５６", "BDFG"), ("123456", "http")])
def test_code_and_reference_have_their_form(code: str, reference: str) -> None:
    with pytest.raises(ValueError, match="6 to 10 digits"):
        code_message(CODES[0], Language.ZH, Channel.MOBILE, code=code, reference=reference)


def test_codes_and_notices_are_not_mixed_up_and_a_notice_needs_an_aware_time() -> None:
    with pytest.raises(ValueError, match="not about a code"):
        code_message(Purpose.HOLD, Language.ZH, Channel.MOBILE)
    with pytest.raises(ValueError, match="is about a code"):
        notice(Purpose.CODE_RENEWAL, Language.ZH, Channel.MOBILE)
    with pytest.raises(ValueError, match="aware"):
        write_notice(SENDER, Purpose.HOLD, Language.ZH, Channel.EMAIL, at=AT.replace(tzinfo=None), account_last3=None)


@pytest.mark.parametrize("words", ["", "a\nb", " a", "see www.example", "https://x", "haojing.com.tw"])
def test_a_firms_words_are_one_line_without_a_link(words: str) -> None:
    with pytest.raises(ValueError, match="printable line"):
        Sender(words, "Haojing", "1")


def test_every_operation_has_its_purpose() -> None:
    assert [code_purpose(each) for each in Operation] == [
        Purpose.CODE_APPLICATION,
        Purpose.CODE_RENEWAL,
        Purpose.CODE_APPLICATION,
        Purpose.CODE_REVOCATION,
    ]
