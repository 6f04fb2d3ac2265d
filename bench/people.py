"""Made-up customers by number: everything about customer `i` follows from `i`, so that nobody has to keep a list."""

import hmac
from datetime import date

from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.client.signing import ClientKey

FIRST_MOBILE = 900_000_000
BIRTH = date(1970, 5, 17)
NAME = "測試人"
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 1)
_ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_KEYS = b"chopmark bench, keys of customers who do not exist"


def number(i: int) -> str:
    """Return the customer number: always eight characters."""
    return f"B{i:07d}"


def account(i: int) -> str:
    """Return the customer's account."""
    return f"F014000-{i:07d}"


def person_id(i: int) -> str:
    """Return a national id with a right check digit (letter A counts 1 + 0 * 9)."""
    body = f"1{i:07d}"
    total = 1 + sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True))
    return f"A{body}{-total % 10}"


def mobile(i: int) -> str:
    """Return the mobile number in its stored form."""
    return f"+886{FIRST_MOBILE + i}"


def email(i: int) -> str:
    """Return the mail address."""
    return f"b{i:07d}@example.com"


def index(address: str) -> int:
    """Return whose mail address this is."""
    return int(address[1:8])


def old_key(i: int) -> ec.EllipticCurvePrivateKey:
    """Return the key of the certificate that the customer has: made of the number, so that the load client has it."""
    digest = hmac.digest(_KEYS, i.to_bytes(8, "big"), "sha512")
    return ec.derive_private_key(int.from_bytes(digest, "big") % (_ORDER_P256 - 1) + 1, ec.SECP256R1())


def client_key(i: int) -> ClientKey:
    """Return the same key as the customer's program uses it."""
    return ClientKey(old_key(i))


def row(i: int) -> dict[str, str]:
    """Return the customer's line of the sheet."""
    return {
        "customer": number(i),
        "person_id": person_id(i),
        "name": NAME,
        "birth_date": BIRTH.isoformat(),
        "mobile": "0" + mobile(i).removeprefix("+886"),
        "email": email(i),
        "accounts": f"(期) {account(i)}",
        "verified_on": "2024-03-05",
    }
