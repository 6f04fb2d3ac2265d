"""Proofs by a key: a CMS signature over a statement that has no other meaning (architecture rule 11).

A statement is DER SEQUENCE {label, portal, order, nonce, SHA-256 of the new SPKI, SHA-256 of the certificate, purpose,
time}; its content type is our own, so that no other program can mistake it for a signature over something else.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat import asn1

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Text, text
from chopmark.pki import cms, signing
from chopmark.pki.der import NotDer, require_der
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import require_whole_utc

LABEL = "chopmark-proof-1"
PROOF_CONTENT_TYPE = "1.3.6.1.4.1.99999.17.1"
"""The eContentType of a statement, in the example arc: an installation replaces it by an OID of its firm's own arc."""
MAX_PROOF_BYTES = 16 * 1024
MAX_TEXT_CHARACTERS = 200
NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Statement:
    """What a key signs; nonce and digests have 32 bytes, `time` is aware UTC in whole seconds."""

    label: str
    portal: str
    order: str
    nonce: bytes
    new_spki_sha256: bytes
    certificate_sha256: bytes
    purpose: str
    time: datetime

    def encode(self) -> bytes:
        """Return the statement, DER; ValueError for lengths or times out of range."""
        words = (self.label, self.portal, self.order, self.purpose)
        if not all(1 <= len(word) <= MAX_TEXT_CHARACTERS for word in words):
            raise ValueError("a word of a statement has 1 to 200 characters")
        if not all(len(octets) == 32 for octets in (self.nonce, self.new_spki_sha256, self.certificate_sha256)):
            raise ValueError("nonce and digests have 32 octets")
        require_whole_utc(self.time)
        return asn1.encode_der(
            _Statement(
                label=self.label,
                portal=self.portal,
                order=self.order,
                nonce=self.nonce,
                new_spki_sha256=self.new_spki_sha256,
                certificate_sha256=self.certificate_sha256,
                purpose=self.purpose,
                time=asn1.GeneralizedTime(self.time),
            )
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What the server asked to be signed; `now` is the moment of verification, aware UTC."""

    portal: str
    order: str
    nonce: bytes
    new_spki_sha256: bytes
    certificate_sha256: bytes
    purpose: str
    now: datetime
    max_skew: timedelta = timedelta(minutes=10)


@asn1.sequence
class _Statement:
    label: str
    portal: str
    order: str
    nonce: bytes
    new_spki_sha256: bytes
    certificate_sha256: bytes
    purpose: str
    time: asn1.GeneralizedTime


def decode(der: bytes) -> Statement:
    """Return the statement; ValueError when the bytes are not exactly one, in DER."""
    require_der(der)
    read = asn1.decode_der(_Statement, der)
    statement = Statement(
        label=read.label,
        portal=read.portal,
        order=read.order,
        nonce=read.nonce,
        new_spki_sha256=read.new_spki_sha256,
        certificate_sha256=read.certificate_sha256,
        purpose=read.purpose,
        time=read.time.as_datetime(),
    )
    if statement.encode() != der:
        raise NotDer("the statement is not in its one encoding")
    return statement


def build(statement: Statement, private_key: IssuerKey, certificate_der: bytes) -> bytes:
    """Return the CMS SignedData over the statement, DER, with the certificate's issuer and serial and no certificate.

    The hash is SHA-256 for every kind of key, so a P-384 key must be in this process's memory: a Signer would use
    SHA-384. ValueError when the certificate is not of this key.
    """
    if signing.spki_of(x509.load_der_x509_certificate(certificate_der)) != signing.spki(private_key.public_key()):
        raise ValueError("the certificate is of another key")
    return cms.sign(statement.encode(), PROOF_CONTENT_TYPE, private_key, certificate_der)


def verify(cms_der: bytes, certificate_der: bytes, expected: Expected) -> Statement | Refusal:
    """Return the statement when the certificate's key has signed exactly what was asked; never raises.

    1 the size, 2 DER, 3 the CMS and its one signature by the certificate's key, 4 the statement, 5 each of its
    members. What the caller MUST do: look at the certificate's status and validity, and use the nonce up.
    The Refusal is BAD_PROOF; `code` is one of too_large, malformed, one of `cms.Fault`, statement, label, portal,
    order, nonce, new_key, certificate, purpose, time.
    """
    content = signed_content(
        cms_der, lambda: cms.verified_content(cms_der, PROOF_CONTENT_TYPE, certificate_der), _NOT_HELD
    )
    if isinstance(content, Refusal):
        return content
    try:
        statement = decode(content)
    except ValueError:
        return refused("statement", _NOT_HELD)
    code = _difference(statement, certificate_der, expected)
    return statement if code is None else refused(code, _SENTENCES.get(code, _NOT_HELD))


def signed_content(cms_der: bytes, read: Callable[[], bytes], not_held: Text) -> bytes | Refusal:
    """Return what `read` finds signed in these octets, or why they are no proof; `not_held` is the customer's sentence.

    `read` raises CmsError or ValueError. The Refusal's code is one of too_large, malformed, one of `cms.Fault`.
    """
    if len(cms_der) > MAX_PROOF_BYTES:
        return refused("too_large", text("The signature is too large. Please sign again."))
    try:
        require_der(cms_der)
        return read()
    except cms.CmsError as error:
        return refused(error.fault, not_held)
    except ValueError:
        return refused("malformed", not_held)


def _difference(statement: Statement, certificate_der: bytes, expected: Expected) -> str | None:
    digest = hashlib.sha256(certificate_der).digest()
    members = (
        ("label", statement.label == LABEL),
        ("portal", statement.portal == expected.portal),
        ("order", statement.order == expected.order),
        ("nonce", hmac.compare_digest(statement.nonce, expected.nonce)),
        ("new_key", statement.new_spki_sha256 == expected.new_spki_sha256),
        ("certificate", statement.certificate_sha256 == expected.certificate_sha256 == digest),
        ("purpose", statement.purpose == expected.purpose),
        ("time", abs(statement.time - expected.now) <= expected.max_skew),
    )
    return next((code for code, holds in members if not holds), None)


_NOT_HELD = text("The signature by your certificate does not hold. Please choose the certificate again and sign again.")
_SENTENCES = {
    "nonce": text("The signature belongs to an earlier attempt. Please sign again."),
    "time": text("The clock of your computer is more than ten minutes wrong. Please set it and sign again."),
    "certificate": text("The signature names another certificate. Please choose the certificate again."),
}


def refused(code: str, sentence: Text) -> Refusal:
    """Return the refusal of a proof."""
    return Refusal(Kind.BAD_PROOF, sentence, field="proof", code=code)
