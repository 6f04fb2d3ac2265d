"""E-mail addresses that a code may be sent to: ASCII, without look-alike letters, deliverable without SMTPUTF8."""

import re
from typing import Final, NewType

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from chopmark.core.refusal import Refusal
from chopmark.core.types import Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.text import DOT, FOLD_LIMIT, fold, has_hidden, trim

EmailAddress = NewType("EmailAddress", str)
"""An address in ASCII: the local part as typed, the domain in lower case, an IDN as `xn--`."""

_LATIN: Final = re.compile(r"[A-Za-z]")
_PLAIN_DOMAIN: Final = re.compile(r"[a-z0-9.\-㐀-䶿一-鿿]+")


def parse_email(raw: str) -> EmailAddress | Refusal:
    """Return the address that was typed (full-width letters are converted), or why it cannot be used.

    The domain is not looked up, because this code uses no network. Refused: a local part outside ASCII, letters of
    another alphabet that look like Latin ones, a local part of more than 64 octets, quoted local parts, IP addresses
    and special-use domains (RFC 5321 s.4.5.3.1.1, RFC 6761).
    """
    trimmed = trim(raw)
    if not trimmed:
        return _no("empty", text("Enter the e-mail address."))
    if len(trimmed) > FOLD_LIMIT:
        return _no("too_long", text("The e-mail address is too long. Check that nothing else is pasted with it."))
    if has_hidden(trimmed):
        return _no("hidden", text("The e-mail address contains an invisible character. Type it anew by hand."))
    typed = fold(trimmed)
    if " " in typed:
        return _no("space", text("An e-mail address has no spaces. Remove them."))
    if typed.count("@") != 1:
        return _no("at_sign", text("An e-mail address has exactly one @ sign, as in name@example.com."))
    wrong = _unfit_local_part(typed.partition("@")[0])
    return wrong or _validated(typed)


def mask_email(address: EmailAddress) -> str:
    """Return the first letter of each side and the last label: `z•••@g•••.com`, whatever the length."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}{DOT * 3}@{domain[:1]}{DOT * 3}.{domain.rpartition('.')[2]}"


def _unfit_local_part(local: str) -> Refusal | None:
    if local.isascii():
        return None
    return _confusable() if _LATIN.search(local) else _local_not_ascii()


def _validated(typed: str) -> EmailAddress | Refusal:
    try:
        found: ValidatedEmail = validate_email(typed, check_deliverability=False, allow_smtputf8=True, strict=True)
    except EmailNotValidError:
        return _no("form", text("This is not a complete e-mail address. It looks like name@example.com."))
    if not _PLAIN_DOMAIN.fullmatch(found.domain):
        return _confusable()
    return EmailAddress(f"{found.local_part}@{found.ascii_domain}")


def _confusable() -> Refusal:
    return _no(
        "confusable",
        text("The e-mail address contains a letter of another alphabet. Type it anew with the letters a to z."),
    )


def _local_not_ascii() -> Refusal:
    return _no(
        "local_not_ascii",
        text("We cannot send to this e-mail address. The part before the @ sign needs the letters a to z."),
    )


def _no(reason: str, public: Text) -> Refusal:
    return malformed(f"email.{reason}", public, "email")
