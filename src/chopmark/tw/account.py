"""Trading account numbers by market: each way of typing one gives the same form; there is no check digit."""

import re
from typing import Final

from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountKind, AccountNumber, Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.text import capitals

_LABELS: Final = {
    AccountKind.FUTURES: "(期)",
    AccountKind.SECURITIES: "(證)",
    AccountKind.SUB_BROKERAGE: "(複)",
}
_OWN_DIGITS: Final = 7
_FUTURES_BROKER: Final = re.compile(r"F[0-9A-Z]{6}|F[0-9A-Z]{3}")
_SECURITIES_BROKER: Final = re.compile(r"[0-9A-Z]{4}")


def label(kind: AccountKind) -> str:
    """Return the market's tag, which is shown before a number and is not part of it."""
    return _LABELS[kind]


def last3(number: AccountNumber) -> str:
    """Return the last three digits, for naming an account in a message."""
    return number[-3:]


def parse_account(raw: str, kind: AccountKind) -> AccountNumber | Refusal:
    """Return the number in the form `broker-own`: `F014000-0000007`, `9A95-0123456`, or why it is none.

    Futures: F, six letters or digits, hyphen, seven digits; a broker written short (`F014`) is
    filled with zeros. Securities and sub-brokerage: four letters or digits, hyphen, seven digits.
    The hyphen may be left out, and the market's own tag may stand in front.
    """
    typed = capitals(raw)
    for other, tag in _LABELS.items():
        if typed.startswith(tag):
            if other is not kind:
                return _no("kind", text("The sign before the account number names another market. Check the account."))
            typed = typed.removeprefix(tag)
    plain = typed.replace("-", "")
    if not plain:
        return _no("empty", text("Enter the account number."))
    if typed.count("-") > 1 or ("-" in typed and len(typed.partition("-")[2]) != _OWN_DIGITS):
        return _no("hyphen", text("An account number has one hyphen, before its last seven digits. Check it."))
    broker, own = plain[:-_OWN_DIGITS], plain[-_OWN_DIGITS:]
    if not re.fullmatch(r"[0-9]{7}", own):
        return _no("digits", text("An account number ends with seven digits from 0 to 9. Check them."))
    return _futures(broker, own) if kind is AccountKind.FUTURES else _securities(broker, own)


def _futures(broker: str, own: str) -> AccountNumber | Refusal:
    if not _FUTURES_BROKER.fullmatch(broker):
        return _no(
            "broker",
            text("A futures account begins with F and six more characters, as in F014000-0000007. Check them."),
        )
    return AccountNumber(f"{broker.ljust(7, '0')}-{own}")


def _securities(broker: str, own: str) -> AccountNumber | Refusal:
    if not _SECURITIES_BROKER.fullmatch(broker):
        return _no(
            "broker",
            text("A securities account begins with four letters or digits, as in 9A95-0000007. Check them."),
        )
    return AccountNumber(f"{broker}-{own}")


def _no(reason: str, public: Text) -> Refusal:
    return malformed(f"account.{reason}", public, "account")
