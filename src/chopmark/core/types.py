"""The shared vocabulary as types: ids, factors, channels, purposes, operations and states."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

CustomerId = NewType("CustomerId", str)
"""The firm's own number of the customer: 1 to 20 of A-Z, 0-9 and '-'; never the national id."""
AccountNumber = NewType("AccountNumber", str)
"""A trading account as the firm writes it, for example F014000-0000007."""
OrderId = NewType("OrderId", str)
"""The id of one order: 26 characters of base32, 128 random bits."""
ChallengeId = NewType("ChallengeId", str)
"""The id of one challenge (one sent code): 26 characters of base32, 128 random bits."""
LoginId = NewType("LoginId", str)
"""The id of one sign-in or launch: 26 characters of base32, 128 random bits; it stays when the session id changes."""
Serial = NewType("Serial", str)
"""A certificate's serial number: its octets in upper-case hexadecimal, an even number of digits."""
IssuerId = NewType("IssuerId", str)
"""The short name of an issuing CA within this installation."""


class Secret:
    """A value that is never shown by accident: its repr and its str are a dash.

    Codes, passwords, pass-phrases and keys are passed around as this type, so that they do not appear in logs,
    tracebacks or formatted strings.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; reviewers look at the places that call this."""
        return self._value

    def __repr__(self) -> str:
        return "-"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "-"


class FactorClass(StrEnum):
    """What kind of thing a factor is; a step-up must use a class that the login did not (TW-01)."""

    PASSWORD = "password"
    SMS = "sms"
    EMAIL = "email"
    TOTP = "totp"
    PASSKEY = "passkey"
    OLD_KEY = "old_key"
    BRANCH = "branch"


class Channel(StrEnum):
    """Where a code or a notice can be sent."""

    MOBILE = "mobile"
    EMAIL = "email"

    @property
    def factor(self) -> FactorClass:
        """The factor class that a code over this channel proves."""
        return FactorClass.SMS if self is Channel.MOBILE else FactorClass.EMAIL

    @property
    def other(self) -> "Channel":
        """The other channel: where the notice goes."""
        return Channel.EMAIL if self is Channel.MOBILE else Channel.MOBILE


class Operation(StrEnum):
    """What an order asks for (RFC 3647 s.4.1, 4.7, 4.9)."""

    ENROL = "enrol"
    REKEY = "rekey"
    REPLACE = "replace"
    REVOKE = "revoke"


class Reason(StrEnum):
    """Why a certificate is applied for while another one is valid, or why one is revoked."""

    FIRST = "first"
    EXPIRED = "expired"
    LOST = "lost"
    COMPROMISED = "compromised"
    NEW_DEVICE = "new_device"
    REPLACE = "replace"
    NO_LONGER_NEEDED = "no_longer_needed"


class KeyHome(StrEnum):
    """Where the customer's private key will live; chosen before the key exists."""

    BROWSER = "browser"
    FILE = "file"
    HELPER = "helper"


class KeyEvidence(StrEnum):
    """What proved that the customer sent the key that was bound to an order."""

    LOGIN = "login"
    """A request within a login of the customer, and nothing else."""
    OLD_KEY = "old_key"
    """The signature of the certificate that is renewed (TW-16)."""
    TLS = "tls"
    """A TLS connection that the certificate's key has opened (TW-16)."""
    CREDENTIAL = "credential"
    """A one-time credential, shown by a program."""


class Installed(StrEnum):
    """How we know that a new certificate has arrived where the customer keeps it."""

    OPENED = "opened"
    """It was opened again there, or its program used it."""
    SAID = "said"
    """The customer says so; the old certificate stays for the policy's days."""


class OrderState(StrEnum):
    """The states of an order; `ra.model` has the transitions."""

    OPEN = "open"
    BOUND = "bound"
    CODE_VERIFIED = "coded"
    BIRTH_DATE_VERIFIED = "checked"
    SUBMITTED = "submitted"
    PENDING = "pending"
    ISSUED = "issued"
    ACTIVE = "active"
    DONE = "done"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    LOCKED = "held"
    REFUSED = "refused"


class CertificateState(StrEnum):
    """The states of a certificate; superseded counts as revoked (4) at OCSP and CRL."""

    RESERVED = "reserved"
    ORPHANED = "orphaned"
    ISSUED = "issued"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    HELD = "held"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ActingLogin:
    """The login that takes a step of an order, and the factor classes of all logins that have touched that order.

    `known` are those on record when the order was read; `union` has this login's too. The step's statement compares
    `known` with what is stored then, so that no login that came between is left out (TW-01).
    """

    id: LoginId
    known: frozenset[FactorClass]
    union: frozenset[FactorClass]


class AccountKind(StrEnum):
    """The market of an account; the label in brackets is shown, never stored in the number."""

    FUTURES = "futures"
    SECURITIES = "securities"
    SUB_BROKERAGE = "sub_brokerage"


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence for a person: an English message id and its values.

    The interface that shows it translates it (`zh-TW` or `en`); the code below has no languages. Values are plain
    numbers and words, or another `Text`; never a secret.
    """

    msgid: str
    values: tuple[tuple[str, "str | int | Text"], ...] = ()

    def __str__(self) -> str:
        return self.msgid % {k: str(v) for k, v in self.values} if self.values else self.msgid


def text(msgid: str, /, **values: "str | int | Text") -> Text:
    """Make a Text; `%(name)s` in the message id stands for a value."""
    return Text(msgid, tuple(sorted(values.items())))
