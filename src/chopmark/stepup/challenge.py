"""A challenge is one code, sent over one channel for one order: its states, and how an answer is read.

This module has no input or output. What changes a challenge is a conditional statement of the store, because many
requests may arrive at once; `Challenge.refusal` says of a challenge as it was read why no answer may be compared.
"""

import hmac
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from chopmark.core.counted import in_minutes, in_seconds
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ChallengeId, Channel, CustomerId, Operation, OrderId, Secret, Text, text
from chopmark.stepup.typed import MOST, bare, code_in, folded, has_zhuyin
from chopmark.tw.zone import TAIPEI

MIN_DIGITS: Final = 6
MAX_DIGITS: Final = 10
NONCE_BYTES: Final = 16
MAX_LIFE: Final = timedelta(seconds=600)
"""NIST SP 800-63B-4 s.3.1.3: a code lives at most 10 minutes."""
MOST_ATTEMPTS: Final = 5
REFERENCE_ALPHABET: Final = "BDFGHJKMNPRTWXYZ"
"""Sixteen letters that are hard to confuse with one another and do not form words."""


class ChallengeState(StrEnum):
    """LIVE can be answered; CONSUMED was answered right; DEAD had too many wrong answers or was replaced."""

    LIVE = "live"
    CONSUMED = "consumed"
    DEAD = "dead"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Everything about one sent code except the code; times are aware UTC.

    `spki` is the SHA-256 of the key that the order is for, in hexadecimal, or "".
    """

    id: ChallengeId
    order: OrderId
    customer: CustomerId
    channel: Channel
    contact_version: int
    nonce: bytes
    kid: str
    operation: Operation
    spki: str
    reference: str
    digits: int
    attempts: int
    max_attempts: int
    created_at: datetime
    expires_at: datetime
    resend_at: datetime
    state: ChallengeState = ChallengeState.LIVE

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES:
            raise ValueError(f"the nonce must have {NONCE_BYTES} bytes")
        if not MIN_DIGITS <= self.digits <= MAX_DIGITS:
            raise ValueError(f"a code has {MIN_DIGITS} to {MAX_DIGITS} digits")
        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise ValueError(f"a code allows 1 to {MOST_ATTEMPTS} attempts")
        if not 0 <= self.attempts <= self.max_attempts:
            raise ValueError("attempts must lie between 0 and max_attempts")
        if not timedelta(0) < self.expires_at - self.created_at <= MAX_LIFE:
            raise ValueError("a code lives more than 0 and at most 600 seconds")

    @property
    def tries_left(self) -> int:
        """How many answers may still be compared."""
        return self.max_attempts - self.attempts if self.state is ChallengeState.LIVE else 0

    def remaining_s(self, now: datetime) -> int:
        """Return for how many whole seconds the code is still valid; 0 when it is not valid any more."""
        if self.state is not ChallengeState.LIVE:
            return 0
        return max(0, math.floor((self.expires_at - now).total_seconds()))

    def resend_in_s(self, now: datetime) -> int:
        """Return the seconds, rounded up, until the customer may ask for another code; 0 when they may now."""
        return max(0, math.ceil((self.resend_at - now).total_seconds()))

    def refusal(self, now: datetime) -> Refusal | None:
        """Return why no answer may be compared now, or None when one may; this does not count an attempt."""
        if self.state is ChallengeState.CONSUMED:
            return already_used()
        if self.state is ChallengeState.DEAD:
            return dead(self.max_attempts) if self.attempts >= self.max_attempts else replaced()
        if self.state is ChallengeState.EXPIRED or now >= self.expires_at:
            return expired()
        return dead(self.max_attempts) if self.attempts >= self.max_attempts else None


def parse_code(raw: str, digits: int) -> Secret | Refusal:
    """Return the code in what was typed or pasted, as `digits` ASCII digits with leading zeros.

    When there is none, return a refusal with a hint; this does not count as an attempt. `stepup.typed` says which
    forms are understood.
    """
    if len(raw) > MOST:
        return _unreadable(
            "code_length", text("The code has %(digits)s digits. Please type only the code.", digits=digits)
        )
    seen = folded(raw)
    found, kept = code_in(seen, digits), bare(seen)
    if found is not None:
        return Secret(found)
    if not kept:
        return _unreadable(
            "code_empty", text("Please type the %(digits)s digits of the code that was sent to you.", digits=digits)
        )
    if not (kept.isascii() and kept.isdigit()):
        return _unreadable("code_not_digits", _no_digits(raw, digits))
    said = text(
        "The code has %(digits)s digits, and you typed %(typed)s. Please look at the message again.",
        digits=digits,
        typed=len(kept),
    )
    return _unreadable("code_length", said)


def _no_digits(raw: str, digits: int) -> Text:
    if has_zhuyin(raw):
        return text(
            "Your keyboard is set to Zhuyin. Please switch it to English and type the %(digits)s digits of the code.",
            digits=digits,
        )
    return text(
        "The code has only digits, %(digits)s of them. The four letters in the message are the reference, "
        "not the code.",
        digits=digits,
    )


def matches(expected: Secret, given: Secret) -> bool:
    """Return whether both codes are equal; the time it takes does not depend on where they differ."""
    return hmac.compare_digest(expected.reveal().encode(), given.reveal().encode())


def reference(random: bytes) -> str:
    """Return the four letters that the page and the message both show, made from the first 2 random bytes."""
    if len(random) < 2:
        raise ValueError("a reference needs 2 random bytes")
    first, second = random[0], random[1]
    return "".join(REFERENCE_ALPHABET[n] for n in (first >> 4, first & 15, second >> 4, second & 15))


def too_soon(again_at: datetime, now: datetime) -> Refusal:
    """Return the refusal when another code was sent to this customer just now, for this order or another one."""
    wait_s = max(1, math.ceil((again_at - now).total_seconds()))
    said = text("Please wait %(wait)s before you ask for another code.", wait=in_seconds(wait_s))
    return Refusal(Kind.TOO_MANY, said, code="resend_too_soon", retry_after_s=wait_s)


def sms_used_up(minutes: int, wait_s: int, *, abroad: bool) -> Refusal:
    """Return the refusal when too many codes by SMS were asked for from one block of addresses, or for one country."""
    if abroad:
        said = text(
            "No more codes can be sent to mobile numbers of this country today. Please use your e-mail, or call us."
        )
        return Refusal(Kind.TOO_MANY, said, field="channel", code="sends_country", retry_after_s=wait_s)
    said = text(
        "Too many codes by text message were asked for from your network. Please use your e-mail, or try again in "
        "%(wait)s.",
        wait=in_minutes(minutes),
    )
    return Refusal(Kind.TOO_MANY, said, field="channel", code="sends_network", retry_after_s=wait_s)


def sent_too_often(again_at: datetime, now: datetime) -> Refusal:
    """Return the refusal when as many codes were sent as an order may have; a new order changes nothing about it."""
    said = text(
        "No more codes can be sent before %(time)s (Taiwan time), also not for a new order. Please try again then, "
        "or call us if you need one earlier.",
        time=again_at.astimezone(TAIPEI).strftime("%Y-%m-%d %H:%M"),
    )
    wait_s = max(1, math.ceil((again_at - now).total_seconds()))
    return Refusal(Kind.TOO_MANY, said, field="channel", code="sends_order", retry_after_s=wait_s)


def wrong_code(tries_left: int) -> Refusal:
    """Return the refusal for a code that was compared and is wrong; `tries_left` is at least 1."""
    if tries_left == 1:
        said = text("The code is not right. You can try one more time. Please look at the newest message.")
    else:
        said = text(
            "The code is not right. You can try %(tries)s more times. Please look at the newest message.",
            tries=tries_left,
        )
    return Refusal(Kind.WRONG_CODE, said, field="code", code="code_wrong")


def dead(max_attempts: int) -> Refusal:
    """Return the refusal when the attempts are used up; then even the right code is not accepted."""
    said = text(
        "The code was wrong %(times)s times and is now blocked for your safety. Please ask for a new code.",
        times=max_attempts,
    )
    return Refusal(Kind.CODE_DEAD, said, field="code", code="code_blocked")


def expired() -> Refusal:
    """Return the refusal for a code that is too old; it was not compared, so this does not say whether it was right."""
    said = text("The time for this code is over, so it was not checked. Please ask for a new code.")
    return Refusal(Kind.CODE_DEAD, said, field="code", code="code_expired")


def replaced() -> Refusal:
    """Return the refusal for a code that a newer code, a new key or a changed contact has made void."""
    said = text(
        "This code no longer works: a newer one was sent, or your contact or your key has changed since. "
        "Please type the code from the newest message, or ask for a new code."
    )
    return Refusal(Kind.CODE_DEAD, said, field="code", code="code_replaced")


def already_used() -> Refusal:
    """Return the refusal for a code that was accepted already; it is accepted once (NIST SP 800-63B-4 s.3.1.3.2)."""
    said = text("This code was already used. Please reload the page to see how far your request has come.")
    return Refusal(Kind.CODE_DEAD, said, field="code", code="code_used")


def _unreadable(code: str, said: Text) -> Refusal:
    return Refusal(Kind.MALFORMED, said, field="code", code=code)
