"""The facts that a record may have beside its event: an allow-list of names, and values that cannot break a line.

A record never has a code, a password, a birth date, a contact, a person's name or a key: the list has no such fact.
"""

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

Fact = str | int | bool | None
"""One value: text of at most 200 characters, an integer within +-(2^53 - 1), a boolean or None."""

LONGEST = 200
"""The most characters of a text value after escaping; a longer one is cut and ends in an ellipsis."""
_GREATEST = 2**53 - 1  # RFC 8259 s.6: every JSON reader keeps integers up to this exactly
_LINE_BREAKERS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "account": "The trading account that the certificate is for.",
        "allowed": "What of a customer sheet was let through by name: id, birth-date, blanked, many.",
        "anchor_sha256": "SHA-256 of the time-stamp token over a head, hexadecimal; `count` is the head's size.",
        "approved_by": "The staff id of the second person.",
        "attempt": "The how-manieth attempt, from 1.",
        "attempts_left": "How many attempts remain.",
        "by": "The staff id of the person who acted.",
        "challenge": "The id of the challenge.",
        "channel": "Where the message went: mobile or email.",
        "checks": "What the order asks for beside or for one code: birth_date, both_codes (each contact), delay, slip.",
        "claim": "The keyed hash of a name that somebody signed in with and that nobody has.",
        "client": "The id of the API client.",
        "code": "The stable word of a refusal.",
        "contact_version": "The version of the contact that was used.",
        "contacts": "Why no contact carries a code, by channel: none, stopped, changed, not_sent, not_alone.",
        "count": "How many things the event is about.",
        "crl_number": "The number of the revocation list (RFC 5280 s.5.2.3).",
        "customer": "The firm's own number of the customer.",
        "destination": "The keyed hash of where the message went.",
        "door": "The interface: portal, api, est, helper, console, batch.",
        "evidence": "What stood for the customer when a key was bound: login, old_key, tls or credential.",
        "entry": "How somebody came who typed a password: stranger, known, launch.",
        "factor": "The factor class that was used.",
        "field": "The request's member that a refusal belongs to, or the attribute of a customer that changed.",
        "gateway": "The name of the gateway.",
        "home": "Where the customer's private key lives.",
        "issuer": "The short name of the issuing CA.",
        "input_sha256": "SHA-256 of the names and contents of the files of an import, hexadecimal.",
        "kept": "How many records the tree had whose database was restored.",
        "key_algorithm": "The algorithm and size of the key.",
        "key_words": "The key words that a slip was printed for: it approves that key and no other.",
        "kind": "The kind of a refusal.",
        "login": "The id of the login: one sign-in or launch, the same over rotations of the session id.",
        "lost": "How many records the tree had that a restore has lost.",
        "message": "The id of the message.",
        "network": "The caller's address, cut to its network.",
        "not_after": "The last moment of the certificate's validity.",
        "installed": "How it is known that the certificate has arrived: opened again, or said by the customer.",
        "old_serial": "The serial, or fingerprint of an imported one, of what is replaced or has signed the proof.",
        "operation": "What the order asks for.",
        "order": "The id of the order.",
        "os_user": "Who was signed in to the operating system when a person acted at the console.",
        "paper": "The firm's own file number of what stands on paper; never a person's number.",
        "paused_until": "The day on which reminders go on after a pause.",
        "policy": "The version of the policy that decided.",
        "policy_sha256": "SHA-256 of all values of the policy, hexadecimal.",
        "profile": "The name and version of the certificate profile.",
        "purpose": "What the message or ticket is for.",
        "reason": "Why: the reason word of an order or a revocation; for a slip, which papers were seen.",
        "receipt": "The gateway's own id of what it took.",
        "retry_after_s": "Seconds until it may be tried again.",
        "role": "The role of the person who acted.",
        "run": "The id of an import; its certificates name it.",
        "scope": "What an API client may ask for.",
        "serial": "The certificate's serial number in hexadecimal.",
        "session": "The keyed hash of the session.",
        "slip": "The id of an approval slip.",
        "spki_sha256": "SHA-256 of the public key, hexadecimal.",
        "state": "The state that the subject is in afterwards.",
        "tbs_sha256": "SHA-256 of the TBSCertificate, hexadecimal.",
        "terms": "The version of the terms that were consented to.",
        "ticket": "The keyed hash of the launch ticket.",
        "version": "The version of the changed thing.",
    }
)
"""Every permitted name, with a sentence that says what it means."""


def clean_facts(facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    """Return the facts as a record stores them: sorted by name, with long text cut and control characters escaped.

    Raises ValueError for a name outside FACTS, a value of another type, or an integer too large for some JSON readers.
    """
    unknown = sorted(set(facts) - FACTS.keys())
    if unknown:
        raise ValueError(f"no such audit fact: {', '.join(map(repr, unknown))}")
    return MappingProxyType({name: _clean(name, value) for name, value in sorted(facts.items())})


def _clean(name: str, value: Fact) -> Fact:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _GREATEST:
            raise ValueError(f"audit fact {name!r} is an integer beyond 2^53 - 1")
        return int(value)
    if isinstance(value, str):
        return _bounded(value)
    raise ValueError(f"audit fact {name!r} is neither text, integer, flag nor nothing")


def _bounded(value: str) -> str:
    if len(value) <= LONGEST and value.isascii() and value.isprintable() and "\\" not in value:
        return value
    escaped: list[str] = []
    length = 0
    for character in value[: LONGEST + 1]:
        piece = _escaped(character)
        if length + len(piece) > LONGEST:
            return _shortened(escaped)
        escaped.append(piece)
        length += len(piece)
    return "".join(escaped)


def _shortened(pieces: list[str]) -> str:
    while sum(map(len, pieces)) > LONGEST - 1:
        pieces.pop()
    return "".join(pieces) + "\u2026"


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) in _LINE_BREAKERS:
        return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"
    return character
