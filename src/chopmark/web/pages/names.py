"""The words that pages use for states, channels and other values, as message ids."""

from collections.abc import Mapping

from chopmark.core.types import CertificateState, Channel, KeyHome, Operation, Reason, Text, text
from chopmark.ra.reminders.ports import ReminderState

STATE: Mapping[CertificateState, Text] = {
    CertificateState.RESERVED: text("Being made"),
    CertificateState.ORPHANED: text("Never used"),
    CertificateState.ISSUED: text("Waiting for installation"),
    CertificateState.ACTIVE: text("Valid"),
    CertificateState.SUPERSEDED: text("Replaced by a newer one"),
    CertificateState.HELD: text("On hold"),
    CertificateState.REVOKED: text("Revoked"),
    CertificateState.EXPIRED: text("Expired"),
}

OPERATION: Mapping[Operation, Text] = {
    Operation.ENROL: text("Apply for a certificate"),
    Operation.REKEY: text("Renew the certificate"),
    Operation.REPLACE: text("Apply for a certificate"),
    Operation.REVOKE: text("Revoke the certificate"),
}

REASON: Mapping[Reason, Text] = {
    Reason.FIRST: text("This is my first certificate"),
    Reason.EXPIRED: text("My certificate has expired"),
    Reason.LOST: text("I cannot find the certificate, or I forgot its pass-phrase"),
    Reason.COMPROMISED: text("Somebody else may have my certificate"),
    Reason.NEW_DEVICE: text("I have a new computer or browser"),
    Reason.REPLACE: text("I want a new certificate for another reason"),
    Reason.NO_LONGER_NEEDED: text("I no longer need it"),
}

CHANNEL: Mapping[Channel, Text] = {Channel.MOBILE: text("Mobile phone"), Channel.EMAIL: text("E-mail")}

BY_CHANNEL: Mapping[Channel, Text] = {Channel.MOBILE: text("by text message"), Channel.EMAIL: text("by e-mail")}

REMINDER: Mapping[ReminderState, Text] = {
    ReminderState.PLANNED: text("Planned"),
    ReminderState.SENT: text("Sent"),
    ReminderState.UNKNOWN: text("Perhaps sent"),
    ReminderState.FAILED: text("Could not be sent"),
    ReminderState.UNREACHABLE: text("Nobody reached"),
    ReminderState.STOPPED: text("Not needed any more"),
    ReminderState.SKIPPED: text("Left out"),
}

KEY_HOME: Mapping[KeyHome, Text] = {
    KeyHome.BROWSER: text("In this browser"),
    KeyHome.FILE: text("In a certificate file (.p12)"),
    KeyHome.HELPER: text("In the certificate program on your computer"),
}


def in_fours(value: str) -> str:
    """Return hexadecimal digits in groups of four, to be read aloud: `01AF 33C0`."""
    return " ".join(value[at : at + 4] for at in range(0, len(value), 4))


def has_rare_character(name: str) -> bool:
    """Whether a name has a character that the fonts of many computers lack.

    Such characters are those that a firm defined for itself (private use area), and ideographs outside Unicode's first
    plane.
    """
    return any(0xE000 <= ord(each) <= 0xF8FF or ord(each) >= 0x20000 for each in name)
