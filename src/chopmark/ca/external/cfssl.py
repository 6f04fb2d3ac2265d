"""A client of cfssl's REST interface: `authsign` with a shared key, and `revoke`.

cfssl does not store requests: when its answer was lost, it cannot be asked again what became of the request. It copies
into the certificate whatever the CSR names and the request does not. So only a CSR that names nothing of its own is
sent (decision 14).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chopmark.ca.external.ports import Answer, Denied, Ending, ExternalRequest, NotReached, Received, Silent
from chopmark.ca.external.wire import Said, Wire
from chopmark.core.types import Secret

_API = "/api/v1/cfssl/"
_JSON = {"content-type": "application/json"}
_BAD_REQUEST, _NOT_FOUND = 400, 11200
_FINAL = frozenset({1, 5, 9})
"""Categories of cfssl's errors (code // 1000) for which another attempt is useless: certificate, policy, request."""
_REASONS = {
    "unspecified": "unspecified",
    "key_compromise": "keycompromise",
    "affiliation_changed": "affiliationchanged",
    "superseded": "superseded",
    "cessation_of_operation": "cessationofoperation",
}
Json: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AuthKey:
    """The `standard` authentication key of a signing profile: HMAC-SHA-256, the key in hexadecimal."""

    secret: Secret = field(repr=False)

    def token(self, request: bytes) -> str:
        """Return the token of a request, base64."""
        key = bytes.fromhex(self.secret.reveal())
        return base64.b64encode(hmac.new(key, request, hashlib.sha256).digest()).decode()


class CfsslClient:
    """Implements `Client` for a `cfssl serve` whose profiles have an authentication key."""

    confirms = False
    sends_csr = True
    csr_names = False

    def __init__(self, wire: Wire, key: AuthKey) -> None:
        self._wire = wire
        self._key = key

    async def request(self, asked: ExternalRequest) -> Answer:
        """Ask for a certificate with our subject and profile; the CSR has the key and the proof of possession."""
        pem = x509.load_der_x509_csr(asked.csr_der).public_bytes(serialization.Encoding.PEM).decode()
        issuance = json.dumps(
            {"certificate_request": pem, "subject": _subject(asked.subject), "profile": asked.profile}
        )
        signed = {
            "token": self._key.token(issuance.encode()),
            "request": base64.b64encode(issuance.encode()).decode(),
        }
        said = await self._wire.post(f"{_API}authsign", json.dumps(signed).encode(), _JSON)
        return _answer(said) if isinstance(said, Said) else said

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        """Never called: cfssl answers at once."""
        del asked, ticket
        return Silent("no_polling")

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        """Do nothing: a certificate of cfssl is valid without a confirmation."""
        del asked, received
        return Ending.DONE

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        """Do nothing: cfssl cannot be told. The caller has the certificate revoked."""

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Have a certificate revoked; LATER when cfssl did not answer or refused."""
        # A cfssl that was built with a newer Go stores its certificates without a key identifier: try without it, too.
        record = x509.load_der_x509_certificate(certificate_der)
        for identifier in dict.fromkeys((_authority(record), "")):
            body = {
                "serial": str(record.serial_number),
                "authority_key_id": identifier,
                "reason": _REASONS.get(reason, "unspecified"),
            }
            said = await self._wire.post(f"{_API}revoke", json.dumps(body).encode(), _JSON)
            table = _table(said) if isinstance(said, Said) else None
            if table is None:
                return Ending.LATER
            if table.get("success") is True:
                return Ending.DONE
            if _error(table) != _NOT_FOUND:
                return Ending.LATER
        return Ending.LATER


def _subject(pairs: tuple[tuple[str, str], ...]) -> Json:
    """Return the subject in cfssl's form, with one attribute in each of its `names`, so that none is lost."""
    subject: dict[str, object] = {"names": [{short: value} for short, value in pairs if short in {"C", "O", "OU"}]}
    for short, value in pairs:
        if short == "CN":
            subject["CN"] = value
        if short == "serialNumber":
            subject["serialnumber"] = value
    return subject


def _authority(record: x509.Certificate) -> str:
    try:
        identifier = record.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    return "" if identifier is None else identifier.hex()


def _table(said: Said) -> Json | None:
    try:
        found = json.loads(said.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _error(table: Json) -> int:
    errors = table.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    return code if isinstance(code, int) else 0


def _answer(said: Said) -> Answer:
    """Read the answer to authsign; only `success` with a certificate in it means that one was issued."""
    if said.status in {429, 503}:
        return NotReached("busy", said.retry_after_s)
    table = _table(said)
    if table is None:
        return Silent("garbage")
    if table.get("success") is not True:
        number = _error(table)
        if number == _BAD_REQUEST:
            return NotReached("credentials", 60)
        return Denied(f"cfssl_{number}") if number // 1000 in _FINAL else Silent(f"cfssl_{number}")
    result = table.get("result")
    pem = result.get("certificate") if isinstance(result, dict) else None
    try:
        found = x509.load_pem_x509_certificates(str(pem).encode())
    except ValueError:
        return Silent("garbage")
    ders = [one.public_bytes(serialization.Encoding.DER) for one in found]
    return Received(ders[0], tuple(ders[1:]))
