"""The published vectors of docs/api.md hold: the DER of another encoder is the DER that is signed and verified here."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from chopmark.pki import proof

REPOSITORY = Path(__file__).parents[3]
VECTORS = json.loads((REPOSITORY / "tests/vectors/proof/statements.json").read_text(encoding="utf-8"))


def statement(vector: dict[str, str]) -> proof.Statement:
    return proof.Statement(
        label=vector["label"],
        portal=vector["portal"],
        order=vector["order"],
        nonce=bytes.fromhex(vector["nonce"]),
        new_spki_sha256=bytes.fromhex(vector["new_spki_sha256"]),
        certificate_sha256=bytes.fromhex(vector["certificate_sha256"]),
        purpose=vector["purpose"],
        time=datetime.fromisoformat(vector["time"]),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_statement_has_the_published_der(vector: dict[str, str]) -> None:
    der = bytes.fromhex(vector["der"])
    assert statement(vector).encode() == der
    assert proof.decode(der) == statement(vector)
    assert hashlib.sha256(der).hexdigest() == vector["sha256"]


def test_the_api_page_shows_the_first_vector() -> None:
    page = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    for name in ("portal", "order", "nonce", "new_spki_sha256", "certificate_sha256", "time", "sha256"):
        assert VECTORS[0][name] in page, name
    elements = re.findall(r"^([0-9a-f]{4}) ([0-9a-f]+) +[a-z0-9-]+$", page, re.MULTILINE)
    assert "3081be" + "".join(header + content for header, content in elements) == VECTORS[0]["der"]
