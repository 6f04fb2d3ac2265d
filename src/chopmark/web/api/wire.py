"""The JSON API's structures. Members are snake_case; bytes are base64url without padding; moments are epoch ms."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from typing import Literal

import msgspec

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Channel, Installed, KeyHome, Operation, Reason, text


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A request body: unknown members and other types are refused."""


class StartBody(Strict):
    """POST /orders; `instead` is the id of an open order that ends for this one."""

    operation: Operation
    account: str
    key_home: KeyHome = KeyHome.BROWSER
    reason: Reason | None = None
    serial: str | None = None
    instead: str | None = None


class KeyBody(Strict):
    """PUT /orders/{id}/key: a PKCS #10 request, and for a renewal the old key's signature.

    The proof holds the old certificate. `old_certificate` is accepted from pages of earlier releases, and not read.
    """

    csr: str
    proof: str | None = None
    old_certificate: str | None = None


class PossessionBody(Strict):
    """POST /orders/{id}/possession: the key's signature, or the key words that a program shows."""

    proof: str | None = None
    key_words: str | None = None


class ChannelBody(Strict):
    """POST /orders/{id}/challenges and /dispute"""

    channel: Channel


class CodeBody(Strict):
    """POST /orders/{id}/code"""

    code: str


class SlipBody(Strict):
    """POST /orders/{id}/slip: the letters of an approval slip, in any case and grouping."""

    slip: str


class BirthDateBody(Strict):
    """POST /orders/{id}/birth-date: three fields as typed."""

    year: str
    month: str
    day: str
    era: Literal["roc", "before_roc"] = "roc"


class ConfirmBody(Strict):
    """POST /orders/{id}/confirm: the hash of the terms that were shown."""

    consent: str


class ProveBody(Strict):
    """POST /orders/{id}/prove: the new key's signature, and how it is known that the certificate has arrived."""

    proof: str
    installed: Installed = Installed.OPENED


class LaunchBody(Strict):
    """POST /launches: for whom, and which factor classes the login used."""

    customer: str
    account: str
    factors: list[str]
    wanted: str | None = None


class LaunchOut(msgspec.Struct):
    """The one-time address; it lives `expires_in_s` seconds and works once."""

    url: str
    expires_in_s: int


class StatusOut(msgspec.Struct):
    """The server's time."""

    server_time: int


class AccountOut(msgspec.Struct):
    """One account of the customer."""

    number: str
    label: str
    selected: bool


class CertificateOut(msgspec.Struct, omit_defaults=True):
    """A certificate of the customer; `chain` has the issuing CA first and the root last.

    One that the customer brought along from a former issuer has that CA's name as `issuer`, and `sha256`, by which it
    is got instead of its serial number; its `order` is empty.
    """

    serial: str
    state: str
    not_before: int
    not_after: int
    days_left: int
    account: str
    key_home: str
    order: str
    superseded_by: str | None = None
    issuer: str | None = None
    sha256: str | None = None
    der: str | None = None
    chain: list[str] | None = None
    certificate_pem: str | None = None
    chain_pem: str | None = None


class AdviceOut(msgspec.Struct):
    """The one recommended action and why; the sentence is translated."""

    action: str
    reason: str | None
    why: str


class OpenOrderOut(msgspec.Struct):
    """An order that was begun."""

    id: str
    operation: str
    state: str


class OverviewOut(msgspec.Struct):
    """What the customer has and should do."""

    server_time: int
    accounts: list[AccountOut]
    certificate: CertificateOut | None
    recommended: AdviceOut
    open_order: OpenOrderOut | None


class NonceOut(msgspec.Struct):
    """A fresh nonce for the next signature; the one before is dead. `login` is the id of the caller's login."""

    nonce: str
    expires_in_s: int
    login: str


class CredentialOut(msgspec.Struct):
    """What a customer gives to a program, once: HTTP Basic at the EST address; `password` exists nowhere else."""

    url: str
    user: str
    password: str
    expires_in_s: int


class ChannelOut(msgspec.Struct):
    """A channel, masked; `why_not` is a translated sentence when it is closed."""

    channel: str
    masked: str
    registered_on: str
    eligible: bool
    why_not: str | None


class ChallengeOut(msgspec.Struct):
    """The newest code that was sent; never the code. `undelivered`: its message could not be delivered so far."""

    id: str
    reference: str
    channel: str
    masked: str
    remaining_s: int
    resend_in_s: int
    attempts_left: int
    sends_left: int
    undelivered: bool


class ConsentOut(msgspec.Struct):
    """The terms to confirm."""

    version: int
    sha256: str
    text: list[str]


class OldCertificateOut(msgspec.Struct):
    """The certificate whose key signs a renewal.

    `issuer` is the name of its former issuer, for one that the customer brought along; otherwise null.
    """

    serial: str
    sha256: str
    der: str
    issuer: str | None = None


class NameOut(msgspec.Struct):
    """One RDN of a subject: the attribute's short name (C, O, OU, CN, serialNumber) and its value."""

    type: str
    value: str


class ReceiptOut(msgspec.Struct):
    """What the customer may keep."""

    number: str
    completed_at: int
    serial: str
    account: str


class OrderOut(msgspec.Struct, omit_defaults=True):
    """An order as it counts now; `next` names the customer's next step.

    `key_name` is the short name of its key, as messages and terms have it. `csr_subject` are the names that the
    request has to carry, in this order; absent where it carries none. `ended` is "contact_disputed" when a contact that
    is not the customer's ended the order, "stopped_by_contact" when one stopped it with the code of its message.
    """

    id: str
    operation: str
    state: str
    next: str
    account: str
    key_home: str
    portal: str
    needs_old_key: bool
    birth_date_asked: bool
    expires_in_s: int
    channels: list[ChannelOut]
    reason: str | None = None
    nonce: str | None = None
    nonce_expires_in_s: int | None = None
    old_certificate: OldCertificateOut | None = None
    spki_sha256: str | None = None
    key_name: str | None = None
    challenge: ChallengeOut | None = None
    consent: ConsentOut | None = None
    certificate: CertificateOut | None = None
    receipt: ReceiptOut | None = None
    csr_subject: list[NameOut] | None = None
    ended: str | None = None


def to_b64(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64(value: str, field: str) -> bytes:
    """Return the bytes; raise Refused (MALFORMED) naming the field."""
    try:
        bare = value.rstrip("=").encode("ascii")  # programs pad it, too
        return b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        said = text("The request could not be read. Please reload the page and try again.")
        raise Refused(Refusal(Kind.MALFORMED, said, field=field, code="base64")) from error
