"""Writes tests/vectors/proof/statements.json: statements to be signed, and the DER that they must have.

The DER comes from asn1crypto and not from Chopmark, so that the vectors are a second opinion. No key is involved.

    .venv/bin/python tools/proof_vectors.py
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto.core import GeneralizedTime, OctetString, Sequence, UTF8String

FILE = Path(__file__).parents[1] / "tests" / "vectors" / "proof" / "statements.json"
LABEL = "chopmark-proof-1"


class Statement(Sequence):  # type: ignore[misc]
    """docs/api.md, "What a proof signs"."""

    _fields = [  # noqa: RUF012 - asn1crypto completes the list in place
        ("label", UTF8String),
        ("portal", UTF8String),
        ("order", UTF8String),
        ("nonce", OctetString),
        ("new_spki_sha256", OctetString),
        ("certificate_sha256", OctetString),
        ("purpose", UTF8String),
        ("time", GeneralizedTime),
    ]


CASES = (
    ("a renewal, signed by the old key", "rekey", "4f0c1b2a39485766", 0x00, "2026-07-15T01:02:03Z"),
    ("an installation, signed by the new key", "install", "4f0c1b2a39485766", 0x80, "2026-07-15T01:04:05Z"),
    ("a moment at the end of a leap day", "rekey", "a" * 16, 0xE0, "2028-02-29T23:59:59Z"),
)


def vector(name: str, purpose: str, portal: str, first: int, time: str) -> dict[str, str]:
    """Return one vector: the members of a statement in hexadecimal or text, its DER and the SHA-256 of that."""
    members: dict[str, Any] = {
        "label": LABEL,
        "portal": portal,
        "order": "K7Q2ZB4M5N6P7R2S3T4V5W6XYZ",
        "nonce": bytes((first + at) % 256 for at in range(32)),
        "new_spki_sha256": hashlib.sha256(b"the new public key").digest(),
        "certificate_sha256": hashlib.sha256(b"the certificate whose key signs").digest(),
        "purpose": purpose,
    }
    der = Statement({**members, "time": datetime.fromisoformat(time).astimezone(UTC)}).dump()
    shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in members.items()}
    return {"name": name, **shown, "time": time, "der": der.hex(), "sha256": hashlib.sha256(der).hexdigest()}


def main() -> None:
    """Write the file."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps([vector(*case) for case in CASES], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
