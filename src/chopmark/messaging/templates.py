"""The texts of all messages with codes and of all notices, for phones and for e-mail, in Chinese and English.

A text names the firm first, then says what is happening, and warns (TW-13). It contains no link, and no personal data
except the last three characters of the account. On a phone, a message with a code fits one SMS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.ports import Purpose
from chopmark.tw.zone import TAIPEI

_LINK: Final = re.compile(r"https?:|://|www\.|\.(com|net|org|tw|io)\b", re.IGNORECASE)
_LAST3: Final = re.compile(r"[0-9A-Z]{3}", re.ASCII)
_CODE: Final = re.compile(r"[0-9]{6,10}", re.ASCII)
_REFERENCE: Final = re.compile(r"[A-Z]{4}", re.ASCII)
_STOP: Final = re.compile(r"[A-Z]{5}-[A-Z]{5}", re.ASCII)
_NO_STOP: Final = re.compile("")


class Language(StrEnum):
    """The languages of messages to customers."""

    ZH = "zh-TW"
    EN = "en"


@dataclass(frozen=True, slots=True)
class Sender:
    """How the firm is named in messages: its short name in both languages, and its hotline for mail."""

    firm: str
    firm_en: str
    hotline: str

    def __post_init__(self) -> None:
        for words in (self.firm, self.firm_en, self.hotline):
            if not words or not words.isprintable() or words != words.strip() or _LINK.search(words):
                raise ValueError(f"a sender's words are one printable line without a link, not {words!r}")

    def name(self, language: Language) -> str:
        """Return the firm's name in that language."""
        return self.firm if language is Language.ZH else self.firm_en


@dataclass(frozen=True, slots=True)
class Written:
    """A finished message. The subject is for e-mail and never contains the code."""

    subject: str
    text: Secret


@dataclass(frozen=True, slots=True)
class CodeParts:
    """The variable parts of a message with a code; `key_name` is the short name of the key that it approves, if any."""

    code: Secret
    reference: str
    key_name: str | None
    life: timedelta

    def __post_init__(self) -> None:
        names = [self.reference, *(() if self.key_name is None else (self.key_name,))]
        if not _CODE.fullmatch(self.code.reveal()) or not all(map(_REFERENCE.fullmatch, names)):
            raise ValueError("a code is 6 to 10 digits, its reference and the short name of a key four capital letters")


def write_code(
    sender: Sender,
    purpose: Purpose,
    language: Language,
    channel: Channel,
    made: CodeParts,
    *,
    account_last3: str | None,
) -> Written:
    """Return the message with a code. Raises ValueError if a part is malformed.

    Because the form of every part is checked, no name, link or line break can get into a message.
    """
    if not purpose.is_code:
        raise ValueError(f"{purpose} is not about a code")
    parts = {
        "firm": sender.name(language),
        "hotline": sender.hotline,
        "doing": _DOING[language][purpose],
        "account": account_words(account_last3, language, channel),
        "code": made.code.reveal(),
        "reference": made.reference,
        "key": "" if made.key_name is None else _KEY_NAMED[language, channel] % {"key": made.key_name},
        "minutes": str(max(1, int(made.life.total_seconds()) // 60)),
    }
    subject = _CODE_SUBJECT[language] % parts
    return Written(subject, Secret(_CODE_TEXT[language, channel] % parts))


def write_notice(
    sender: Sender,
    purpose: Purpose,
    language: Language,
    channel: Channel,
    *,
    at: datetime,
    account_last3: str | None,
    stop: Secret | None = None,
) -> Written:
    """Return the notice that something happened at `at` (aware; shown in Taiwan's time).

    `stop` is the reference that stops a replacement. Only the notice of a replacement has one. Raises ValueError if a
    part is malformed.
    """
    if not purpose.is_notice:
        raise ValueError(f"{purpose} is about {'a code' if purpose.is_code else 'what is to come'}, no notice")
    reference = "" if stop is None else stop.reveal()
    if not (_STOP if purpose is Purpose.REPLACING else _NO_STOP).fullmatch(reference):
        raise ValueError("the notice of a replacement has a reference of two groups of five letters, and no other has")
    if at.utcoffset() is None:
        raise ValueError("the time of a notice must be aware")
    parts = {
        "firm": sender.name(language),
        "hotline": sender.hotline,
        "account": account_words(account_last3, language, channel),
        "at": at.astimezone(TAIPEI).strftime("%Y/%m/%d %H:%M"),
        "stop": reference,
    }
    title, what, remedy = _NOTICES[language][purpose]
    parts |= {"title": title, "what": what % parts, "remedy": remedy % parts}
    return Written(_NOTICE_SUBJECT[language] % parts, Secret(_NOTICE_TEXT[language, channel] % parts))


def account_words(last3: str | None, language: Language, channel: Channel) -> str:
    """Return how a message names an account: by exactly its last three characters; empty if they are None."""
    if last3 is None:
        return ""
    if not _LAST3.fullmatch(last3):
        raise ValueError("of an account a message shows exactly the last three characters")
    if language is Language.EN:
        return f" (account ending {last3})"
    return f"(帳號末3碼{last3})" if channel is Channel.MOBILE else f"（帳號末3碼 {last3}）"


_DOING: Final[Mapping[Language, Mapping[Purpose, str]]] = {
    Language.ZH: {
        Purpose.CODE_RENEWAL: "展延電子憑證",
        Purpose.CODE_APPLICATION: "申請電子憑證",
        Purpose.CODE_REVOCATION: "廢止電子憑證",
    },
    Language.EN: {
        Purpose.CODE_RENEWAL: "renewing",
        Purpose.CODE_APPLICATION: "applying for",
        Purpose.CODE_REVOCATION: "revoking",
    },
}

_CODE_SUBJECT: Final[Mapping[Language, str]] = {
    Language.ZH: "【%(firm)s】%(doing)s驗證碼（參考碼 %(reference)s）",
    Language.EN: "%(firm)s: code for %(doing)s your e-certificate (reference %(reference)s)",
}

_KEY_NAMED: Final[Mapping[tuple[Language, Channel], str]] = {
    (Language.ZH, Channel.MOBILE): "，金鑰%(key)s",
    (Language.EN, Channel.MOBILE): ", key %(key)s",
    (Language.ZH, Channel.EMAIL): "金鑰簡稱：%(key)s（請確認與網頁上顯示的相同）\n",
    (Language.EN, Channel.EMAIL): "Key: %(key)s (please check that the page shows the same)\n",
}

_CODE_TEXT: Final[Mapping[tuple[Language, Channel], str]] = {
    (Language.ZH, Channel.MOBILE): (
        "【%(firm)s】%(doing)s%(account)s。驗證碼%(code)s，限%(minutes)s分鐘，參考%(reference)s%(key)s。"
        "本公司不索取，勿告知他人。"
    ),
    (Language.EN, Channel.MOBILE): (
        "%(firm)s: you are %(doing)s your e-certificate%(account)s. Code %(code)s for %(minutes)s min, "
        "ref %(reference)s%(key)s. We never ask for it; tell no one."
    ),
    (Language.ZH, Channel.EMAIL): (
        "您好：\n\n您正在%(firm)s客戶服務專區%(doing)s%(account)s。\n\n"
        "驗證碼：%(code)s\n參考碼：%(reference)s（請確認與網頁上顯示的相同）\n%(key)s有效時間：%(minutes)s分鐘\n\n"
        "本公司不會向您索取此碼，請勿告知他人。若非您本人操作，請勿輸入驗證碼，並立即與本公司聯絡。\n\n"
        "%(firm)s 客服專線：%(hotline)s\n此信由系統自動寄出，請勿直接回覆。\n"
    ),
    (Language.EN, Channel.EMAIL): (
        "Hello,\n\nYou are %(doing)s your e-certificate%(account)s at %(firm)s.\n\n"
        "Code: %(code)s\nReference: %(reference)s (please check that the page shows the same)\n%(key)s"
        "Valid for: %(minutes)s minutes\n\n"
        "We never ask you for this code. Please tell no one. If this was not you, do not enter the code, "
        "and call us at once.\n\n"
        "%(firm)s, hotline: %(hotline)s\nThis message was sent automatically; please do not reply.\n"
    ),
}

_NOTICE_SUBJECT: Final[Mapping[Language, str]] = {
    Language.ZH: "【%(firm)s】%(title)s",
    Language.EN: "%(firm)s: %(title)s",
}

_NOTICE_TEXT: Final[Mapping[tuple[Language, Channel], str]] = {
    (Language.ZH, Channel.MOBILE): "【%(firm)s】%(what)s%(remedy)s",
    (Language.EN, Channel.MOBILE): "%(firm)s: %(what)s %(remedy)s",
    (Language.ZH, Channel.EMAIL): (
        "您好：\n\n%(what)s\n\n%(remedy)s\n\n%(firm)s 客服專線：%(hotline)s\n此信由系統自動寄出，請勿直接回覆。\n"
    ),
    (Language.EN, Channel.EMAIL): (
        "Hello,\n\n%(what)s\n\n%(remedy)s\n\n%(firm)s, hotline: %(hotline)s\n"
        "This message was sent automatically; please do not reply.\n"
    ),
}

_NOT_ME_ZH: Final = "若非您本人操作，請立即洽本公司客服。"
_NOT_ME_EN: Final = "If this was not you, call us at once."

_NOTICES: Final[Mapping[Language, Mapping[Purpose, tuple[str, str, str]]]] = {
    Language.ZH: {
        Purpose.ACTIVATED: ("電子憑證已啟用", "您的電子憑證%(account)s已於%(at)s啟用。", _NOT_ME_ZH),
        Purpose.SUPERSEDED: (
            "舊電子憑證已停用",
            "您的舊電子憑證%(account)s已於%(at)s由新憑證取代並停用。",
            _NOT_ME_ZH,
        ),
        Purpose.REVOKED: ("電子憑證已廢止", "您的電子憑證%(account)s已於%(at)s廢止。", _NOT_ME_ZH),
        Purpose.CONTACT_DISPUTED: (
            "聯絡資料有誤回報",
            "%(at)s有人以您的身分回報聯絡資料有誤%(account)s，相關申請已停止。",
            "請洽本公司客服更正或確認。",
        ),
        Purpose.HOLD: (
            "電子憑證服務已暫停",
            "因輸入錯誤次數過多，您的電子憑證服務%(account)s已於%(at)s暫停。",
            "請洽本公司客服恢復。",
        ),
        Purpose.MANY_FAILURES: (
            "驗證多次失敗",
            "您的電子憑證申請%(account)s至%(at)s已多次驗證失敗。",
            _NOT_ME_ZH,
        ),
        Purpose.HOLD_RELEASED: (
            "電子憑證服務已恢復",
            "您的電子憑證服務%(account)s已於%(at)s由本公司人員恢復。",
            _NOT_ME_ZH,
        ),
        Purpose.CONTACT_CHANGED: (
            "聯絡資料已變更",
            "您的聯絡資料%(account)s已於%(at)s變更，暫不可用於憑證。",
            _NOT_ME_ZH,
        ),
        Purpose.ORDER_OPENED: (
            "有人以您的身分提出憑證申請",
            "%(at)s有人登入您的帳戶提出電子憑證申請%(account)s。",
            _NOT_ME_ZH,
        ),
        Purpose.KEY_BOUND: (
            "憑證申請已有新的金鑰",
            "%(at)s您的電子憑證申請%(account)s在另一次登入中收到金鑰。",
            _NOT_ME_ZH,
        ),
        Purpose.RECORD_CHANGED: (
            "客戶資料已變更",
            "您登記的身分或帳號資料%(account)s已於%(at)s變更。",
            _NOT_ME_ZH,
        ),
        Purpose.CERTIFICATE_HELD: (
            "電子憑證已暫時停用",
            "您的電子憑證%(account)s已於%(at)s由本公司人員暫時停用。",
            "如有疑問，請洽本公司客服。",
        ),
        Purpose.CERTIFICATE_RELEASED: (
            "電子憑證已恢復使用",
            "您的電子憑證%(account)s已於%(at)s由本公司人員恢復使用。",
            _NOT_ME_ZH,
        ),
        Purpose.PASSWORD_PRINTED: (
            "已核發新的密碼單",
            "本公司已於%(at)s為您核發新的初始密碼，先前的密碼與登入均已失效。",
            _NOT_ME_ZH,
        ),
        Purpose.SLIP_PRINTED: (
            "已核發憑證核可單",
            "本公司已於%(at)s核對證件，為您核發憑證核可單。",
            "若非您本人到場辦理，請立即洽本公司客服。",
        ),
        Purpose.REPLACING: (
            "有人申請您的新電子憑證",
            "有人申請您的新電子憑證%(account)s，未用舊憑證。",
            "非本人請至客服專區輸入停止碼%(stop)s。",
        ),
        Purpose.ORDER_STOPPED: (
            "新憑證的申請已停止",
            "新電子憑證的申請%(account)s已於%(at)s以停止碼停止。",
            "請立即洽本公司客服。",
        ),
        Purpose.CERTIFICATE_STOPPED: (
            "新的電子憑證已暫停使用",
            "您新申請的電子憑證%(account)s已於%(at)s以停止碼暫停使用。",
            "請立即洽本公司客服。",
        ),
    },
    Language.EN: {
        Purpose.ACTIVATED: (
            "e-certificate activated",
            "Your e-certificate%(account)s was activated on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.SUPERSEDED: (
            "old e-certificate ended",
            "Your old e-certificate%(account)s was replaced by the new one and ended on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.REVOKED: (
            "e-certificate revoked",
            "Your e-certificate%(account)s was revoked on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.CONTACT_DISPUTED: (
            "contact reported as wrong",
            "On %(at)s (Taiwan time) someone in your name reported your contact as wrong%(account)s. We stopped.",
            "Please call us to put it right.",
        ),
        Purpose.HOLD: (
            "e-certificate service on hold",
            "After too many wrong entries your e-certificate service%(account)s is on hold since %(at)s (Taiwan time).",
            "Please call us to release it.",
        ),
        Purpose.MANY_FAILURES: (
            "several failed checks",
            "Several checks for your e-certificate%(account)s failed until %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.HOLD_RELEASED: (
            "e-certificate service resumed",
            "Our staff resumed your e-certificate service%(account)s on %(at)s.",
            _NOT_ME_EN,
        ),
        Purpose.CONTACT_CHANGED: (
            "contact changed",
            "Your contact%(account)s was changed on %(at)s. It cannot be used for certificates for 7 days.",
            _NOT_ME_EN,
        ),
        Purpose.ORDER_OPENED: (
            "an order for an e-certificate was opened",
            "Someone signed in as you and opened an order for an e-certificate%(account)s on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.KEY_BOUND: (
            "your order has a new key",
            "Your order for an e-certificate%(account)s got a key from another login on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.RECORD_CHANGED: (
            "customer record changed",
            "Your ID or account on record%(account)s was changed on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.CERTIFICATE_HELD: (
            "e-certificate on hold",
            "Our staff put your e-certificate%(account)s on hold on %(at)s (Taiwan time).",
            "Please call us if you have questions.",
        ),
        Purpose.CERTIFICATE_RELEASED: (
            "e-certificate released",
            "Our staff released your e-certificate%(account)s on %(at)s (Taiwan time).",
            _NOT_ME_EN,
        ),
        Purpose.PASSWORD_PRINTED: (
            "new password slip",
            "On %(at)s we printed a new initial password for you; the one before and all sign-ins have ended.",
            _NOT_ME_EN,
        ),
        Purpose.SLIP_PRINTED: (
            "approval slip printed",
            "On %(at)s we saw your papers and printed an approval slip for an e-certificate for you.",
            _NOT_ME_EN,
        ),
        Purpose.REPLACING: (
            "someone applies for a new e-certificate",
            "Someone applies for a new e-certificate%(account)s in your name without the old one.",
            "Not you? Enter the stop code %(stop)s in our customer area at once.",
        ),
        Purpose.ORDER_STOPPED: (
            "the order for a new e-certificate was stopped",
            "The order for a new e-certificate%(account)s was stopped by its stop code on %(at)s (Taiwan time).",
            "Please call us at once.",
        ),
        Purpose.CERTIFICATE_STOPPED: (
            "your new e-certificate is on hold",
            "Your new e-certificate%(account)s was put on hold by its stop code on %(at)s (Taiwan time).",
            "Please call us at once.",
        ),
    },
}
