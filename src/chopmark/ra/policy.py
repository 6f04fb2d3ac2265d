"""The firm's policy as data, and the decisions that follow from it. Pure: values in, values out.

`tw-broker` is the flow of the manual with the exchange's rules; `strict` follows NIST SP 800-63B-4 and ASVS level 3.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, FactorClass, Operation, Reason, Text, text
from chopmark.tw.zone import local_date, local_midnight, minus_months


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the firm's rules. Durations are timedeltas, counts are whole numbers."""

    name: str = "tw-broker"
    version: int = 1
    code_digits: int = 6
    code_life: timedelta = timedelta(seconds=300)
    code_attempts: int = 5
    resend_after: timedelta = timedelta(seconds=60)
    sends_per_order: int = 3
    sends_per_hour: int = 5
    sends_per_day: int = 10
    failures_per_day: int = 20
    failures_ever: int = 100
    birth_date_asked: bool = True
    birth_date_mismatches: int = 3
    disputes_per_day: int = 1
    contact_cooldown: timedelta = timedelta(days=7)
    renewal_months: int = 1
    order_life: timedelta = timedelta(hours=24)
    approval_life: timedelta = timedelta(minutes=10)
    nonce_life: timedelta = timedelta(minutes=10)
    credential_life: timedelta = timedelta(minutes=10)
    unproven_after: timedelta = timedelta(hours=72)
    kept_when_said: timedelta = timedelta(days=7)
    """How long the old certificate stays valid if the customer only says that the new one has arrived."""
    revocations_per_day: int = 5
    revocations_per_year: int = 20
    channels: tuple[Channel, ...] = (Channel.MOBILE, Channel.EMAIL)
    countries: tuple[str, ...] = ("886",)
    """Calling codes of the countries to whose mobile numbers codes are sent."""
    codes_per_block: int = 300
    """Codes by SMS an hour that the addresses of one block (/24, /48) may ask for; 0: no limit."""
    codes_abroad: int = 200
    """Codes by SMS a day to each country other than Taiwan."""
    email_alone: bool = True
    replace_by_both: bool = False
    replace_delay: timedelta = timedelta(hours=24)
    stop_life: timedelta = timedelta(hours=72)
    slip_life: timedelta = timedelta(days=7)
    profile: str = "investor"
    profile_scope: str = "customer"
    permits: tuple[str, ...] = field(default=())

    @property
    def id(self) -> str:
        """Name and version in one word, as they are written into orders and audit records."""
        return f"{self.name}@{self.version}"


TW_BROKER = Policy()
STRICT = Policy(name="strict", birth_date_asked=False, email_alone=False, replace_by_both=True)
PRESETS = {policy.name: policy for policy in (TW_BROKER, STRICT)}


def permitted_by_broker_not_strict() -> tuple[str, ...]:
    """Return sentences on what `tw-broker` permits and `strict` does not; `chopmark check` prints them."""
    return (
        "A code by e-mail alone may approve a certificate (NIST SP 800-63B-4 s.3.1.3.1 says it shall not).",
        "The birth date is asked as a second check; it counts as no factor (ASVS 6.4.2 advises against it).",
        "One code approves a new certificate without the old key; the other contact is told and can stop it.",
    )


@dataclass(frozen=True, slots=True)
class ContactFacts:
    """What policy needs to know of a contact, without its number or address."""

    channel: Channel
    version: int
    verified_at: datetime
    cool_until: datetime
    disputed: bool
    barred: bool = False
    """Whether it is a number of a country to which no codes are sent."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What policy needs to know of the customer's present certificate; validity as in the certificate (UTC)."""

    serial: str
    not_before: datetime
    not_after: datetime
    usable: bool
    held: bool = False


def may_use_channel(
    policy: Policy, contact: ContactFacts | None, channel: Channel, login: Collection[FactorClass], now: datetime
) -> Text | None:
    """Say why this channel may not carry a code, or None when it may (TW-01, OTP-14).

    A code has to use another factor than the login. If the login's factors are unknown, no channel may carry one.
    """
    if channel not in policy.channels:
        return text("The firm does not send codes this way.")
    if contact is None:
        return text("Nothing is registered here. Please call us to have it added.")
    if not login:
        return text("We do not know how you signed in, so no code can be sent. Please sign in again.")
    if channel.factor in login:
        return text("You signed in with this already; the code has to come another way.")
    if contact.disputed:
        return text("You told us that this is not yours. Please call us to have it corrected.")
    if contact.barred:
        return text("No codes are sent to mobile numbers of this country. Please use your e-mail, or call us.")
    if now < contact.cool_until:
        until = local_date(contact.cool_until)
        return text(
            "This was changed only recently. For your safety it can be used from %(date)s on.", date=until.isoformat()
        )
    if channel is Channel.EMAIL and not policy.email_alone:
        return text("The firm does not send codes by e-mail alone.")
    return None


def renewal_opens(policy: Policy, not_after: datetime) -> datetime:
    """Return when the renewal window opens: local midnight, `renewal_months` before the last day of validity.

    One month before 31 March is the last day of February (domain 6, step 3-1).
    """
    return local_midnight(minus_months(local_date(not_after), policy.renewal_months))


APPLICATIONS = (Operation.ENROL, Operation.REKEY, Operation.REPLACE)
"""The operations that end in a new certificate."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The recommended action and why; no operation if there is nothing to do now."""

    operation: Operation | None
    reason: Reason | None
    why: Text
    doubt: "Doubt | None" = None
    """Why a renewal that the dates would allow is not recommended; only for a certificate of a former issuer."""

    def meant_by(self, asked: str) -> Operation:
        """Return the application that a page's address asks for: `enrol`, `rekey` or `replace`.

        Any other word means the recommended one. A customer who asks for a first certificate and has one already gets
        a replacement. Whether it is allowed is for `may_start` to say.
        """
        wanted = next((one for one in APPLICATIONS if one.value == asked), self.operation or Operation.REPLACE)
        if wanted is Operation.ENROL and self.operation is not Operation.ENROL:
            return Operation.REPLACE
        return wanted


def advise(policy: Policy, certificate: CertificateFacts | None, now: datetime) -> Advice:
    """Say what the customer should do now (the manual's 3-1 and 3-2); after `not_after` that is a new application."""
    if certificate is None:
        return Advice(
            Operation.ENROL, Reason.FIRST, text("You have no certificate yet. Apply for one to be able to trade.")
        )
    if certificate.held:
        why = text("You told us that your certificate is lost. It is blocked; please apply for a new one.")
        return Advice(Operation.REPLACE, Reason.LOST, why)
    if not certificate.usable:
        return Advice(
            Operation.ENROL, Reason.FIRST, text("Your last certificate was revoked. Apply for a new one to trade.")
        )
    if now > certificate.not_after:
        day = local_date(certificate.not_after).isoformat()
        return Advice(
            Operation.ENROL, Reason.EXPIRED, text("Your certificate ended on %(date)s. Apply for a new one.", date=day)
        )
    opens = renewal_opens(policy, certificate.not_after)
    if now >= opens:
        day = local_date(certificate.not_after).isoformat()
        return Advice(
            Operation.REKEY, None, text("Your certificate ends on %(date)s. Renew it now; it takes a minute.", date=day)
        )
    day = local_date(opens).isoformat()
    return Advice(None, None, text("Your certificate is in order. You can renew it from %(date)s on.", date=day))


class Doubt(StrEnum):
    """Why the customer has to apply although a certificate of a former issuer is valid by its dates.

    Its own CA is asked for its status, not ours.
    """

    REVOKED = "revoked"
    """Its CA has revoked it."""
    HELD = "held"
    """Its CA has put it on hold."""
    UNKNOWN = "unknown"
    """Its CA says nothing that counts now, for example because its list is past its nextUpdate."""
    KEY = "key"
    """Its key is too weak, or of a kind whose signatures are not accepted (`ra.former_keys`)."""
    NO_FILE = "no_file"
    """The import was told that no page can open its key. That is no proof, so who can sign with it still renews."""


def instead_of_renewal(advice: Advice, doubt: Doubt | None) -> Advice:
    """Return the application in place of a renewal that `doubt` speaks against; any other advice stays.

    When the doubt ends, so does the replacement: the advice is the renewal again.
    """
    if doubt is None or advice.operation is not Operation.REKEY:
        return advice
    return Advice(Operation.REPLACE, Reason.REPLACE, DOUBTED[doubt], doubt)


DOUBTED = {
    Doubt.REVOKED: text(
        "The company that issued your present certificate has revoked it, so it cannot be renewed. Please apply for a "
        "new one instead."
    ),
    Doubt.HELD: text(
        "The company that issued your present certificate has put it on hold, so it cannot be renewed now. Please "
        "apply for a new one instead."
    ),
    Doubt.KEY: text(
        "The key of your present certificate is too weak, or of a kind that is not accepted here, so it cannot be "
        "renewed. Please apply for a new one instead; it takes a few minutes."
    ),
    Doubt.NO_FILE: text(
        "The key of your present certificate is kept where this page cannot open it. Please apply for a new one "
        "instead; it takes a few minutes."
    ),
    Doubt.UNKNOWN: text(
        "The company that issued your present certificate does not say at the moment whether it is valid, so it cannot "
        "be renewed now. Please apply for a new one; when that company answers again, you can renew here."
    ),
}


def may_start(operation: Operation, reason: Reason | None, advice: Advice) -> Refusal | None:
    """Return the refusal of an order that is not allowed now, or None (TW-05: never renew with an expired key)."""
    if operation is Operation.REVOKE:
        return None
    if operation is Operation.REKEY:
        if advice.operation is Operation.REKEY or advice.doubt is Doubt.NO_FILE:
            return None
        code = "renewal_window" if advice.doubt is None else f"former_{advice.doubt}"
        return Refusal(Kind.FORBIDDEN, advice.why, field="operation", code=code)
    if operation is Operation.REPLACE:
        if advice.operation is Operation.ENROL:
            return Refusal(Kind.FORBIDDEN, advice.why, field="operation", code="nothing_to_replace")
        if reason not in {Reason.LOST, Reason.COMPROMISED, Reason.NEW_DEVICE, Reason.REPLACE}:
            return Refusal(
                Kind.MALFORMED,
                text("Please say why you need a new certificate: choose one of the reasons."),
                field="reason",
                code="reason",
            )
        return None
    if advice.operation is not Operation.ENROL:
        return Refusal(Kind.FORBIDDEN, advice.why, field="operation", code="already_certified")
    return None
