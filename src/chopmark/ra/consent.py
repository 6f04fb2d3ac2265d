"""The terms that the customer agrees to before an order is submitted: sentences and their hash. Pure.

The hash covers message ids and values and not a translation, so the same terms have the same hash in every language.
"""

import hashlib
import json
from dataclasses import dataclass

from chopmark.core.types import KeyHome, Operation, Reason, Text, text
from chopmark.pki.key_words import key_name, key_words
from chopmark.ra.model import Order

TERMS_VERSION = 3


@dataclass(frozen=True, slots=True)
class Consent:
    """The terms of one order: sentences to show, and the hex SHA-256 that the confirmation names."""

    version: int
    sentences: tuple[Text, ...]
    sha256: str


def consent_for(order: Order, issuer: str, *, overlap: bool = True) -> Consent:
    """Return the terms of an order that has its key or, for a revocation, names the certificate to be revoked.

    `overlap` says whether the CA lets the old certificate stay valid until the new one is proved.
    """
    sentences = _revocation(order) if order.operation is Operation.REVOKE else _application(order, issuer, overlap)
    spoken = [[sentence.msgid, *(f"{name}={value}" for name, value in sentence.values)] for sentence in sentences]
    bound = json.dumps([TERMS_VERSION, order.id, order.spki_sha256, order.old_serial, spoken], ensure_ascii=False)
    return Consent(TERMS_VERSION, sentences, hashlib.sha256(bound.encode()).hexdigest())


def _revocation(order: Order) -> tuple[Text, ...]:
    return (
        text("I want the certificate %(serial)s to be revoked.", serial=order.old_serial or ""),
        text("After this I cannot trade with it; it cannot be undone. I can apply for a new one."),
    )


def _application(order: Order, issuer: str, overlap: bool) -> tuple[Text, ...]:
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
    if order.reason in {Reason.LOST, Reason.COMPROMISED}:
        sentences.append(text("My old certificate is blocked and will be revoked."))
    elif order.operation in {Operation.REKEY, Operation.REPLACE} and not overlap:
        sentences.append(
            text("My old certificate ends when the new one is issued; until I have installed that, I cannot trade.")
        )
    elif order.operation in {Operation.REKEY, Operation.REPLACE}:
        sentences.append(text("My old certificate stays valid until the new one works; then it is revoked."))
    return tuple(sentences)
