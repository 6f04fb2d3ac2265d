"""The files of an import of certificates: what is read of them, and what is said of broken ones."""

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from chopmark.core.refusal import Refused
from chopmark.ra.certificate_import.reading import LARGEST, Entry, entries_of, open_input, sheets_of
from chopmark.ra.certificate_import.report import Unreadable
from chopmark.ra.certificate_import.serials import Serials, serials_in
from chopmark.ra.certificate_import.tables import Cell

KEY = ec.generate_private_key(ec.SECP256R1())


@cache
def certificate(number: int = 1) -> x509.Certificate:
    name, since = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"No. {number}")]),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), number, since, since + timedelta(days=365))
    return builder.sign(KEY, hashes.SHA256())


def der(number: int = 1) -> bytes:
    return certificate(number).public_bytes(Encoding.DER)


def pem(*numbers: int) -> bytes:
    return b"".join(certificate(number).public_bytes(Encoding.PEM) for number in numbers)


def read(folder: Path, **files: bytes) -> list[bytes | str]:
    """What is found in these files: certificates, DER, and the code of what cannot be read."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    found = entries_of(open_input([folder], lambda _done, _total: None))
    return [one.der if isinstance(one, Entry) else one.code for one in found]


def bag(encoding: Encoding) -> bytes:
    return pkcs7.serialize_certificates([certificate(1), certificate(2)], encoding)


CELL = base64.b64encode(der())
RAGGED = pem(1).replace(b"\n", b"\r\n")
P12 = pkcs12.serialize_key_and_certificates(b"own", KEY, certificate(), None, BestAvailableEncryption(b"secret-Pass-1"))
BARE_KEY = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
LOCKED_KEY = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret-Pass-1"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(pem(1, 2), [der(1), der(2)], id="many in one file"),
        pytest.param(b"\xef\xbb\xbf" + RAGGED, [der()], id="with a mark of UTF-8 and line ends of Windows"),
        pytest.param(b"Bag Attributes\n  name: A\nsubject=/CN=x\n" + pem(1) + b"\n\nmore\n", [der()], id="text around"),
        pytest.param(pem(1).rstrip(b"\n"), [der()], id="without a last line end"),
        pytest.param(der(), [der()], id="DER"),
        pytest.param(bag(Encoding.PEM), sorted([der(1), der(2)]), id="PKCS #7 in PEM"),
        pytest.param(bag(Encoding.DER), sorted([der(1), der(2)]), id="PKCS #7 in DER"),
        pytest.param(CELL, [der()], id="Base64 and nothing else"),
        pytest.param(b"certificate\n" + CELL + b"\n", [der()], id="a table"),
        pytest.param("客戶編號;憑證\nC1;".encode() + CELL, [der()], id="titles in Chinese, with semicolons"),
        pytest.param("客戶編號\t憑證\nC1\t".encode("cp950") + CELL, [der()], id="Big5, with tabs"),
        pytest.param("ｃｅｒｔｉｆｉｃａｔｅ,x\n".encode() + CELL + b",1\n", [der()], id="titles in full width"),
        pytest.param(b'x,pem\n1,"' + RAGGED + b'"\n\n2,"' + pem(2) + b'"\n', [der(1), der(2)], id="PEM in cells"),
        pytest.param(b"", ["empty"], id="nothing"),
        pytest.param(b" \r\n\r\n", ["empty"], id="blank lines"),
        pytest.param(pem(1) + pem(2)[:-40], [der(1), "unfinished"], id="cut off"),
        pytest.param(pem(1)[:-40] + b"\n" + pem(2), ["unfinished", der(2)], id="an end that is missing between two"),
        pytest.param(pem(1).replace(b"MII", b"M!I"), ["base64"], id="damaged Base64"),
        pytest.param(b"0\x82\x01", [b"0\x82\x01"], id="DER that is cut off is for the judge to refuse"),
        pytest.param(b"PK\x03\x04 sheet", ["other_file"], id="a workbook"),
        pytest.param("certificate\n".encode("utf-16"), ["other_file"], id="UTF-16"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(99), ["other_file"], id="a picture"),
        pytest.param(b"name,phone\n1,2\n", ["other_file"], id="a table of other things"),
        pytest.param(P12, ["private_key"], id="a .p12"),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + pem(1),
            ["private_key", der()],
            id="a private key",
        ),
        pytest.param(BARE_KEY, ["private_key"], id="a private key in DER"),
        pytest.param(LOCKED_KEY, ["private_key"], id="an encrypted private key in DER"),
        pytest.param(base64.encodebytes(BARE_KEY), ["private_key"], id="a private key in Base64"),
        pytest.param(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", [], id="a revocation list"),
        pytest.param(b"certificate,serial\n,01\n" + CELL + b",02\n", ["no_certificate", der()], id="an empty cell"),
        pytest.param(b'certificate\n"' + CELL[:40], ["table"], id="a quotation mark without its other half"),
        pytest.param(b"certificate\n" + base64.b64encode(bytes(LARGEST + 3)), ["too_large"], id="a huge cell"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(LARGEST * 4)) + b"-----END CERTIFICATE-----\n",
            ["too_large"],
            id="a huge block",
        ),
        pytest.param(b"0\x82\xff\xff" + bytes(LARGEST), ["too_large"], id="a huge DER"),
        pytest.param(b"A" * 300_000, ["other_file"], id="a line without an end"),
    ],
)
def test_each_kind_of_file_is_read_or_its_fault_is_named(
    tmp_path: Path, content: bytes, found: list[bytes | str]
) -> None:
    assert read(tmp_path, old_dat=content) == found


def test_of_a_folder_all_files_are_read_in_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.pem").write_bytes(pem(2))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "three.pem").write_bytes(pem(3))
    assert read(tmp_path, one_pem=pem(1), _DS=b"x") == [der(2), der(1)]


def test_the_input_is_known_again_by_names_and_contents_and_by_nothing_else(tmp_path: Path) -> None:
    def known(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        made = open_input([path], lambda _done, _total: None).sha256
        path.unlink()
        return made

    assert known("a.pem", pem(1)) == known("a.pem", pem(1))
    assert len({known("a.pem", pem(1)), known("b.pem", pem(1)), known("a.pem", pem(2))}) == 3


def test_a_file_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        open_input([tmp_path / "nothing"], lambda _done, _total: None)
    with pytest.raises(Refused):
        open_input([tmp_path], lambda _done, _total: None)


def test_a_table_without_certificates_says_whose_serial_numbers_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeff憑證序號,客戶編號,備註\r\n01AB,C1,x\r\n,,\r\n02CD,C2,\r\n".encode())
    whole = open_input([tmp_path], lambda _done, _total: None)
    assert list(entries_of(whole)) == []
    assert list(sheets_of(whole)) == [
        {Cell.SERIAL: "01AB", Cell.CUSTOMER: "C1"},
        {Cell.SERIAL: "02CD", Cell.CUSTOMER: "C2"},
    ]


@pytest.mark.parametrize("title", ["客戶編號", "身分證字號", "帳號", "customer", "person_id", "account"])
def test_a_serial_number_and_any_word_for_whose_it_is_make_a_table(tmp_path: Path, title: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"序號,{title}\r\n01,X\r\n".encode())
    whole = open_input([tmp_path], lambda _done, _total: None)
    assert list(entries_of(whole)) == []
    assert [len(cells) for cells in sheets_of(whole)] == [2]


@pytest.mark.parametrize("blank", [0, 2])
def test_a_fault_names_its_line_of_the_file_and_blank_lines_above_the_titles_count(tmp_path: Path, blank: int) -> None:
    (tmp_path / "a.csv").write_bytes(b" \r\n" * blank + b'certificate,x\n,1\n\n!,2\n"' + CELL[:8])
    found = list(entries_of(open_input([tmp_path], lambda _done, _total: None)))
    assert [(one.place, one.code) for one in found if isinstance(one, Unreadable)] == [
        (blank + 2, "no_certificate"), (blank + 4, "base64"), (blank + 5, "table")
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_a_certificate_is_read_under_each_of_its_labels(tmp_path: Path, label: str) -> None:
    assert read(tmp_path, a_pem=pem(1).replace(b"CERTIFICATE", label.encode())) == [der(1)]


@pytest.mark.parametrize("label", ["PKCS7", "PKCS #7 SIGNED DATA", "CMS"])
def test_a_bag_is_read_under_each_of_its_labels(tmp_path: Path, label: str) -> None:
    made = bag(Encoding.PEM).replace(b"PKCS7", label.encode())
    assert read(tmp_path, a_p7b=made) == sorted([der(1), der(2)])
    assert read(tmp_path, a_p7b=base64.encodebytes(bag(Encoding.DER))) == sorted([der(1), der(2)])


def test_a_certificate_as_large_as_the_limit_is_read_whole_and_one_octet_more_is_too_much(tmp_path: Path) -> None:
    head, tail = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    whole = b"\x30" + bytes(number % 251 for number in range(LARGEST - 1))
    assert read(tmp_path, a_pem=head + base64.encodebytes(whole) + tail) == [whole]
    assert read(tmp_path, a_pem=head + base64.encodebytes(whole + b"\0") + tail) == ["too_large"]


def test_all_lines_of_a_serial_number_are_found_and_no_others() -> None:
    lines = [("0A", "C1"), ("0B", "C2"), ("10", "C3"), ("0a", "C4"), ("0A", "C5"), ("0C", "C6"), ("no", "C7")]
    with TemporaryFile() as scratch:
        serials = Serials(scratch)
        serials.read({Cell.SERIAL: serial, Cell.CUSTOMER: customer} for serial, customer in lines)
        found = {serial: [cells[Cell.CUSTOMER] for cells in serials.of(serial)] for serial in ("0A", "0B", "0C", "10")}
        assert found == {"0A": ["C1", "C3", "C4", "C5"], "0B": ["C2"], "0C": ["C6"], "10": ["C3"]}
        assert serials.of("0D") == []


def test_the_text_about_a_fault_never_repeats_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"certificate,person_id\nA120034503-secret,A120034503\n")
    faults = [one for one in entries_of(open_input([tmp_path], lambda _a, _b: None)) if isinstance(one, Unreadable)]
    assert faults
    assert all("A120034503" not in str(one) for one in faults)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("０ａ：０１", ["0A01"]),
        ("\u200e0A01", ["0A01"]),
        ("0A:1b", ["0A1B"]),
        ("0x1F", ["1F"]),
        ("a b c", ["0ABC"]),
        ("10", ["10", "0A"]),
        ("", []),
        ("no.", []),
        ("1" * 41, []),
        ("0", ["00", "00"]),
        ("00ff", ["FF"]),
        ("100", ["0100", "64"]),
    ],
)
def test_a_serial_number_is_hexadecimal_and_if_it_has_digits_only_decimal_too(written: str, meant: list[str]) -> None:
    assert serials_in(written) == meant
