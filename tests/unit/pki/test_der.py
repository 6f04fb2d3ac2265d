"""DER is one encoding of a value; everything else is refused."""

import pytest

from chopmark.pki.der import NotDer, constructed, require_der, signed

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


def test_what_is_known_to_be_der_is_not_looked_into_and_all_around_it_is():
    known = constructed(bytes.fromhex("30 07 3005 020101 0500"))
    assert known == {bytes.fromhex("30073005020101 0500"), bytes.fromhex("3005020101 0500")}
    require_der(bytes.fromhex("30 0a 3005 020101 0500 0201 02"), known)
    unfound = {bytes.fromhex("3003 010101")}
    require_der(bytes.fromhex("3005 3003 010101"), unfound)
    for bad in ("3005 3003 010102", "3005 3003 01010100", "308105 3003 010101", "3008 3003 010101 0201", "3003 010101"):
        with pytest.raises(NotDer):
            require_der(bytes.fromhex(bad), unfound - {bytes.fromhex(bad)})


@pytest.mark.parametrize("other", ["", "0500 0500", "0501", "05"])
def test_a_body_or_an_algorithm_that_is_not_one_element_is_not_signed(other):
    for body, algorithm in (("3000", other), (other, "3000")):
        with pytest.raises(NotDer):
            signed(bytes.fromhex(body), bytes.fromhex(algorithm), b"s")
    assert signed(b"\x30\x00", b"\x05\x00", b"s") == bytes.fromhex("3008 3000 0500 0302 0073")
