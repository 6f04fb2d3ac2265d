"""The terms that the customer agrees to before an order is submitted: sentences and their hash. Pure.

The hash covers message ids and values and not a translation, so the same terms have the same hash in every language.
"""

import hashlib
import json
from dataclasses import dataclass

from chopmark.core.types import KeyHome, Operation, Reason, Text, text
from chopmark.pki.key_words import key_name, key_words
from chopmark.ra.model import Order

TERMS_VERSION = 4


@dataclass(frozen=True, slots=True)
class Consent:
    """The terms of one order: sentences to show, and the hex SHA-256 that the confirmation names."""

    version: int
    sentences: tuple[Text, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Old:
    """What becomes of the old certificate.

    `overlap` says whether our CA lets it stay valid until the new one is proved. `former` is the name of the CA that
    issued it, None for one of ours; `by_client` says whether a client asks that CA to revoke it, or people do.
    """

    overlap: bool = True
    former: str | None = None
    by_client: bool = False


OURS = Old()
"""An old certificate of ours, at a CA that lets it stay valid."""


def consent_for(order: Order, issuer: str, old: Old = OURS) -> Consent:
    """Return the terms of an order that has its key or, for a revocation, names the certificate to be revoked."""
    sentences = _revocation(order) if order.operation is Operation.REVOKE else _application(order, issuer, old)
    spoken = [[sentence.msgid, *(f"{name}={value}" for name, value in sentence.values)] for sentence in sentences]
    bound = json.dumps([TERMS_VERSION, order.id, order.spki_sha256, order.old_serial, spoken], ensure_ascii=False)
    return Consent(TERMS_VERSION, sentences, hashlib.sha256(bound.encode()).hexdigest())


def _revocation(order: Order) -> tuple[Text, ...]:
    return (
        text("I want the certificate %(serial)s to be revoked.", serial=order.old_serial or ""),
        text("After this I cannot trade with it; it cannot be undone. I can apply for a new one."),
    )


def _application(order: Order, issuer: str, old: Old) -> tuple[Text, ...]:
    name = key_name(order.spki_sha256 or "")
    home = {
        KeyHome.BROWSER: text(
            "My key %(key)s was made in this browser and stays in it; no copy of it can be made.", key=name
        ),
        KeyHome.FILE: text(
            "My key %(key)s was made on this computer; I keep its file and its pass-phrase to myself.", key=name
        ),
        KeyHome.HELPER: text(
            "My key %(key)s was made by the program on my computer and stays there; the program shows the same words.",
            key=key_words(order.spki_sha256 or ""),
        ),
    }[order.key_home]
    sentences = [
        text("%(issuer)s issues my certificate; it is valid for one year.", issuer=issuer),
        text("I use it to sign my orders of account %(account)s.", account=order.account),
        home,
        text(
            "Unless the competent authority has approved %(issuer)s, my signatures with this certificate are "
            "electronic signatures that the law does not presume to be my own hand's.",
            issuer=issuer,
        ),
    ]
    return (*sentences, *_ending(order, old))


def _ending(order: Order, old: Old) -> tuple[Text, ...]:
    """Return what becomes of the old certificate and who revokes it: our CA at once, or another when it is asked."""
    lost = order.reason in {Reason.LOST, Reason.COMPROMISED}
    if order.operation not in {Operation.REKEY, Operation.REPLACE}:
        return ()
    if old.former is not None:
        return (_ending_there(old.former, lost=lost, by_client=old.by_client),)
    if lost:
        return (text("My old certificate is blocked and will be revoked."),)
    if not old.overlap:
        return (
            text("My old certificate ends when the new one is issued; until I have installed that, I cannot trade."),
        )
    return (text("My old certificate stays valid until the new one works; then it is revoked."),)


def _ending_there(former: str, *, lost: bool, by_client: bool) -> Text:
    if lost and by_client:
        return text(
            "My old certificate is blocked here, and its issuer, %(former)s, is asked to revoke it as soon as the new "
            "one works.",
            former=former,
        )
    if lost:
        return text(
            "My old certificate is blocked here. When the new one works, the firm has it revoked by its issuer, "
            "%(former)s; until then it may still be accepted elsewhere.",
            former=former,
        )
    if by_client:
        return text(
            "My old certificate stays valid until the new one works; then its issuer, %(former)s, is asked to revoke "
            "it.",
            former=former,
        )
    return text(
        "My old certificate stays valid until the new one works, and counts no more here from then on. The firm then "
        "has it revoked by its issuer, %(former)s; until that is done, it stays valid there, until its last day at "
        "most.",
        former=former,
    )
