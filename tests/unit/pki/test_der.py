"""DER is one encoding of a value; everything else is refused."""

import pytest

from chopmark.pki.der import NotDer, require_der

BAD = {
    "nothing": "",
    "a tag alone": "30",
    "trailing data": "050000",
    "content beyond the end": "300305",
    "indefinite length": "3080 0500 0000",
    "a length of five octets": "30850000000000",
    "a length that is not minimal": "30 8102 0500",
    "a length with a leading zero": "30 820002 0500",
    "a tag of two octets": "1f2000",
    "a constructed OCTET STRING": "24 04 0402 0000",
    "a primitive SEQUENCE": "1002 0500",
    "TRUE as 01": "010101",
    "an INTEGER without content": "0200",
    "an INTEGER with a leading zero": "02020001",
    "an INTEGER with leading ones": "0202ff80",
    "a NULL with content": "050100",
    "a time with fractions": "180f" + b"20260101000000".hex() + "2e",
    "a time without seconds": "170b" + b"2601010000Z".hex(),
    "a SET OF out of order": "31 06 020102 020101",
    "too deep": None,
}


def octets(name: str) -> bytes:
    value = BAD[name]
    if value is None:
        nested = b"\x05\x00"
        for _ in range(40):
            nested = bytes((0x30, len(nested))) + nested
        return nested
    return bytes.fromhex(value)


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_der_is_refused(name):
    with pytest.raises(NotDer):
        require_der(octets(name))


@pytest.mark.parametrize(
    "good",
    ["0500", "0201 00", "0202 0080", "0201 80", "0202 ff7f", "0101ff", "3000", "31 06 020101 020102", "a0020500",
     "180f" + b"20260101000000Z".hex(), "170d" + b"260101000000Z".hex()],
)  # fmt: skip
def test_what_is_der_is_accepted(good):
    require_der(bytes.fromhex(good))
