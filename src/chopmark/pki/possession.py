"""The proof that a login holds the new key of its order, before there is a certificate for it.

A statement is DER SEQUENCE {label, portal, order, login, nonce, SHA-256 of the key's SPKI, time} within a CMS
SignedData of a content type of our own, so that the signature is worth nothing elsewhere (architecture rule 11). The
signer is named by a key identifier: the SHA-256 of the SPKI (RFC 7093 s.2, method 4).
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat import asn1

from chopmark.core.refusal import Refusal
from chopmark.core.types import text
from chopmark.pki import cms
from chopmark.pki.der import NotDer, require_der
from chopmark.pki.proof import MAX_TEXT_CHARACTERS, refused, signed_content
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import require_whole_utc

LABEL = "chopmark-possession-1"
CONTENT_TYPE = "1.3.6.1.4.1.99999.17.2"
"""The eContentType, on the example arc of `proof.PROOF_CONTENT_TYPE`."""


@dataclass(frozen=True, slots=True)
class Possession:
    """What the key says; nonce and digest have 32 bytes, `time` is aware UTC in whole seconds."""

    portal: str
    order: str
    login: str
    nonce: bytes
    spki_sha256: bytes
    time: datetime

    def encode(self) -> bytes:
        """Return the statement, DER; ValueError for lengths or times out of range."""
        words = (self.portal, self.order, self.login)
        if not all(1 <= len(word) <= MAX_TEXT_CHARACTERS for word in words):
            raise ValueError("a word of a statement has 1 to 200 characters")
        if len(self.nonce) != 32 or len(self.spki_sha256) != 32:
            raise ValueError("nonce and digest have 32 octets")
        require_whole_utc(self.time)
        return asn1.encode_der(
            _Statement(
                label=LABEL,
                portal=self.portal,
                order=self.order,
                login=self.login,
                nonce=self.nonce,
                spki_sha256=self.spki_sha256,
                time=asn1.GeneralizedTime(self.time),
            )
        )


@asn1.sequence
class _Statement:
    label: str
    portal: str
    order: str
    login: str
    nonce: bytes
    spki_sha256: bytes
    time: asn1.GeneralizedTime


def decode(der: bytes) -> Possession:
    """Return the statement; ValueError when the bytes are not exactly one, in DER, with our label."""
    require_der(der)
    read = asn1.decode_der(_Statement, der)
    if read.label != LABEL:
        raise ValueError("another label")
    stated = Possession(read.portal, read.order, read.login, read.nonce, read.spki_sha256, read.time.as_datetime())
    if stated.encode() != der:
        raise NotDer("the statement is not in its one encoding")
    return stated


def build(statement: Possession, private_key: IssuerKey) -> bytes:
    """Return the CMS SignedData over the statement, DER."""
    return cms.sign_by_key(statement.encode(), CONTENT_TYPE, private_key)


def verify(cms_der: bytes, spki_der: bytes, expected: Possession, max_skew: timedelta) -> Refusal | None:
    """Return None when the key has signed exactly what was asked; never raises.

    `expected.time` is the present moment; the statement's may differ from it by `max_skew`. What the caller MUST do:
    use the nonce up. The Refusal is BAD_PROOF; `code` is one of too_large, malformed, one of `cms.Fault`, statement,
    portal, order, login, nonce, key, time.
    """
    content = signed_content(cms_der, lambda: cms.content_by_key(cms_der, CONTENT_TYPE, spki_der), _NOT_HELD)
    if isinstance(content, Refusal):
        return content
    try:
        stated = decode(content)
    except ValueError:
        return refused("statement", _NOT_HELD)
    members = (
        ("portal", stated.portal == expected.portal),
        ("order", stated.order == expected.order),
        ("login", hmac.compare_digest(stated.login.encode(), expected.login.encode())),
        ("nonce", hmac.compare_digest(stated.nonce, expected.nonce)),
        ("key", stated.spki_sha256 == expected.spki_sha256 == hashlib.sha256(spki_der).digest()),
        ("time", abs(stated.time - expected.time) <= max_skew),
    )
    code = next((name for name, holds in members if not holds), None)
    return None if code is None else refused(code, _SENTENCES.get(code, _NOT_HELD))


_NOT_HELD = text("The signature by the key of this order does not hold. Please try again, or begin again.")
_SENTENCES = {
    "time": text("The clock of your computer is more than ten minutes wrong. Please set it and sign again."),
    "nonce": text("The signature belongs to an earlier attempt. Please sign again."),
}
