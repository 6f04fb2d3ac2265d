"""The transcript of a ceremony, which the persons present sign: plain text without secrets, checkable with openssl."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from chopmark.ca.ceremony.plan import CeremonyPlan, Entry, RootKey
from chopmark.pki import signing
from chopmark.pki.draft import Urls
from chopmark.pki.x509 import serial_hex, spki_der

_WHERE = {
    RootKey.NEW: "made in this ceremony, in the file root.key.pem",
    RootKey.KEPT: "a file from an earlier ceremony",
    RootKey.ELSEWHERE: "on another machine; it was never here",
}
_TITLES = {"root.pem": "Root", "issuing.pem": "Issuing CA", "responder.pem": "OCSP responder"}


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """A certificate of the ceremony: its file in the folder, and DER."""

    file: str
    der: bytes


def transcript(
    plan: CeremonyPlan, done: Sequence[Entry], shown: Sequence[TranscriptEntry], crl: bytes, now: datetime
) -> str:
    """Return the transcript; `now` is when it is written. Times are UTC."""
    parts = [
        _head(plan, now),
        _steps(done),
        *(_certificate(one) for one in shown),
        _list(crl),
        _verify(),
        _signed(plan),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _pairs(digest: bytes) -> str:
    return digest.hex(":").upper()


def _head(plan: CeremonyPlan, now: datetime) -> Iterator[str]:
    yield "TRANSCRIPT OF A KEY CEREMONY"
    yield ""
    yield f"Written         {_time(now)}"
    yield f"Software        Chopmark {plan.software}"
    yield f"CA              {plan.names.issuing} ({plan.issuer}), {plan.names.organization}"
    yield f"Algorithm       {plan.algorithm}"
    yield f"Root key        {_WHERE[plan.root_key]}"
    yield f"Other keys      {'in a device (PKCS #11)' if plan.home == 'pkcs11' else 'files under both shares'}"
    yield f"First operator  {plan.operators[0]}"
    yield f"Second operator {plan.operators[1]}"
    yield f"Witnesses       {', '.join(plan.witnesses) or 'none'}"


def _steps(done: Sequence[Entry]) -> Iterator[str]:
    yield "STEPS"
    yield ""
    yield from (f"{_time(entry.at)}  {entry.did}" for entry in done)


def _certificate(one: TranscriptEntry) -> Iterator[str]:
    read = x509.load_der_x509_certificate(one.der)
    spki = spki_der(one.der)
    yield f"{_TITLES[one.file].upper()}: {one.file}"
    yield ""
    yield f"Subject              {read.subject.rfc4514_string()}"
    yield f"Serial               {serial_hex(read.serial_number)}"
    yield f"Valid                {_time(read.not_valid_before_utc)} to {_time(read.not_valid_after_utc)}"
    yield f"Key                  {signing.kind_of(signing.public_key(spki))}"
    yield f"Certificate SHA-256  {_pairs(hashlib.sha256(one.der).digest())}"
    yield f"Public key SHA-256   {hashlib.sha256(spki).hexdigest()}"


def _list(crl: bytes) -> Iterator[str]:
    read = x509.load_der_x509_crl(crl)
    yield "ROOT'S REVOCATION LIST: root.crl.pem"
    yield ""
    yield f"Number               {read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number}"
    if read.next_update_utc is not None:
        yield f"Valid                {_time(read.last_update_utc)} to {_time(read.next_update_utc)}"
    yield f"Revoked              {len(read)}"
    yield f"List SHA-256         {_pairs(hashlib.sha256(crl).digest())}"


def _verify() -> Iterator[str]:
    yield "TO VERIFY, in the ceremony's folder"
    yield ""
    for file in _TITLES:
        yield f"$ openssl x509 -in {file} -noout -fingerprint -sha256"
        yield f"$ openssl x509 -in {file} -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256"
    yield "$ openssl crl -in root.crl.pem -noout -fingerprint -sha256"
    yield "$ openssl crl -in root.crl.pem -noout -CAfile root.pem"
    yield "$ openssl verify -x509_strict -CAfile root.pem issuing.pem"
    yield "$ openssl verify -x509_strict -CAfile root.pem -untrusted issuing.pem responder.pem"


def _signed(plan: CeremonyPlan) -> Iterator[str]:
    yield "SIGNATURES"
    for person in (*plan.operators, *plan.witnesses):
        yield ""
        yield f"{person}  ______________________________  date ______________"


def request_profile(urls: Urls) -> str:
    """Return openssl's extension file for the other machine: what the issuing CA's certificate must have in it."""
    return f"""# for: openssl x509 -req -in issuing.csr.pem -extfile issuing.ext -days 3650 -CA root.pem -CAkey ...
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
certificatePolicies = 2.5.29.32.0
crlDistributionPoints = URI:{urls.crl}
authorityInfoAccess = caIssuers;URI:{urls.ca_issuers}
"""
