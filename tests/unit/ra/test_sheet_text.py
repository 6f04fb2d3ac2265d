"""A sheet's octets: every line end, Big5 with user-defined characters, and files that are no text."""

import io

import pytest

from chopmark.ra.customer_import.cells import Dates
from chopmark.ra.customer_import.decoding import BLOCK, LONGEST_LINE, decoded, lines_of, made_octets
from chopmark.ra.customer_import.reading import judged_lines, scan
from chopmark.ra.customer_import.sheet import Column, Row
from tests.unit.ra.test_sheet import ENGLISH, GOOD, TODAY

LINE = ",".join(GOOD[column] for column in Column)


def judged(data: bytes, dates: Dates = Dates.PLAIN):
    file = io.BytesIO(data)
    whole = scan(file)
    assert whole.fault is None, whole.fault
    return whole.encoding, list(judged_lines(file, whole.encoding, TODAY, dates))


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp950"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_end_is_one(end: str, encoding: str, last: bool) -> None:
    text = end.join((ENGLISH, LINE, "", LINE)) + (end if last else "")
    _, found = judged(text.encode(encoding))
    assert [one.line for one in found] == [2, 4]
    assert all(isinstance(one.found, Row) for one in found)
    assert found[-1].position == len(text.encode(encoding))


def test_lines_and_octets_are_the_same_wherever_a_block_ends() -> None:
    for shift in range(-3, 3):
        first = b"a" * 99 + b"\r\n"
        data = first * (BLOCK // len(first))
        data += b"b" * (BLOCK - len(data) + shift - 1) + b"\r\nc\rd\n\ne"
        lines = list(lines_of(io.BytesIO(data)))
        assert b"".join(line or b"" for line, _ in lines) == data
        assert [line for line, _ in lines[-4:]] == [b"c\r", b"d\n", b"\n", b"e"]
        assert sum(octets for _, octets in lines) == len(data)


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_a_line_that_is_too_long_is_one_line_and_the_next_is_whole(end: bytes) -> None:
    for size in (LONGEST_LINE, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
        data = b"first" + end + b"x" * size + end + b"last"
        lines = list(lines_of(io.BytesIO(data)))
        assert [line for line, _ in lines] == [b"first" + end, None, b"last"], size
        assert sum(octets for _, octets in lines) == len(data)


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_excel_s_line_about_its_separator_is_believed(separator: str) -> None:
    good = {**GOOD, Column.ACCOUNTS: '"(期) F014000-0000007;(證) 9A95-0000001"'}
    text = f"sep={separator}\r\n{ENGLISH.replace(',', separator)}\r\n{separator.join(good[one] for one in Column)}\r\n"
    for encoding in ("utf-8", "utf-8-sig"):
        _, (found,) = judged(text.encode(encoding))
        assert isinstance(found.found, Row), found
        assert (found.line, len(found.found.accounts)) == (3, 2)


# Microsoft's table for code page 950: the first and the last of each range of user-defined characters.
MADE = {
    b"\xfa\x40": 0xE000, b"\xfe\xfe": 0xE310, b"\x8e\x40": 0xE311, b"\xa0\xfe": 0xEEB7,
    b"\x81\x40": 0xEEB8, b"\x8d\xfe": 0xF6B0, b"\xc8\xfe": 0xF848,
}  # fmt: skip


@pytest.mark.parametrize("octets", list(MADE))
def test_a_user_defined_character_of_big5_is_the_one_that_windows_makes_of_it(octets: bytes) -> None:
    text = decoded("王".encode("cp950") + octets + "明".encode("cp950"), "cp950")
    assert text == f"王{chr(MADE[octets])}明"
    assert made_octets(chr(MADE[octets])) == octets.hex(" ").upper()


@pytest.mark.parametrize("point", [0xF849, 0xF8FF, 0xF0000, 0x4E00])
def test_what_big5_cannot_hold_has_no_octets(point: int) -> None:
    assert made_octets(chr(point)) == ""


@pytest.mark.parametrize("where", ["{}試客", "張{}客", "張試{}"])
@pytest.mark.parametrize("octets", list(MADE))
def test_a_name_with_such_a_character_is_a_fault_of_its_cell_that_names_octets_and_remedy(
    where: str, octets: bytes
) -> None:
    name = b"".join(octets if part == "\x00" else part.encode("cp950") for part in where.format("\x00"))
    line = LINE.replace("王小明", "@").encode("cp950").replace(b"@", name, 1)
    data = ENGLISH.encode() + b"\r\n" + LINE.encode("cp950") + b"\r\n" + line.replace(b"zoe ", b"zoe@") + b"\r\n"
    encoding, (good, bad) = judged(data)
    assert (encoding, isinstance(good.found, Row), bad.line) == ("cp950", True, 3)
    assert isinstance(bad.found, tuple)
    (fault,) = [one for one in bad.found if one.column == "name"]
    assert fault.code == "name.made"
    assert f"{octets.hex(' ').upper()} in Big5" in str(fault.text)
    assert "全字庫" in str(fault.text)


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        ("王".encode("utf-16"), 1, "UTF-16"),
        (b"PK\x03\x04\x14\x00", 1, "workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 1, "workbook"),
        (b"one\rtwo\rth\xffree\r", 3, "neither"),
        (b"one\r\ntwo\r\nth\xff\xffree\n", 3, "neither"),
        ("王\n".encode() * BLOCK + b"\xff\n", BLOCK + 1, "neither"),
        ("王".encode("cp950") + b"\n\x80\n", 2, "neither"),
    ],
)
def test_what_is_no_csv_says_what_it_is_and_where(data: bytes, line: int, said: str) -> None:
    found = scan(io.BytesIO(data)).fault
    assert found is not None
    assert (found.line, said in str(found.text)) == (line, True)
