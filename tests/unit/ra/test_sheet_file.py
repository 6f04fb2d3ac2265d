"""A sheet as a stream: repeated numbers are found by eight bytes each and confirmed; the spool is sealed."""

import io
from datetime import date

from chopmark.identity.sealed import Sealer, SealKey
from chopmark.ra.customer_import import decoding as sheet_text
from chopmark.ra.customer_import.reading import Seen, Spool, Waiting, judged_lines, scan
from chopmark.ra.customer_import.sheet import Column, Row, check_cells

TODAY = date(2026, 7, 15)
HEADER = ",".join(Column)


def row(customer: str, account: str) -> Row:
    cells = dict.fromkeys(Column, "") | {
        Column.CUSTOMER: customer,
        Column.PERSON_ID: "00501503",  # domain 3.2
        Column.NAME: "測試公司",
        Column.ACCOUNTS: account,
    }
    found = check_cells(cells, 1, TODAY)
    assert isinstance(found, Row)
    return found


def spool_of(rows: list[Waiting]) -> tuple[Spool, io.BytesIO]:
    file, nonces = io.BytesIO(), iter(range(1, 1000))
    spool = Spool(file, Sealer(SealKey("k1", bytes(32)), bytes(32)), lambda: next(nonces).to_bytes(12, "big"))
    for start in range(0, len(rows), 2):
        spool.add(rows[start : start + 2])
    return spool, file


def repeated(rows: list[Waiting]) -> tuple[list[tuple[int, str | None]], int]:
    spool, _ = spool_of(rows)
    seen = Seen()
    for one in rows:
        seen.note(one)
    faults, total = seen.repeated(spool)
    return [(fault.line, fault.column) for fault in faults], total


def person(number: int) -> str:
    return f"{number:016x}" + "0" * 48


def test_what_comes_again_is_a_fault_of_the_later_line():
    rows = [
        Waiting(2, row("C1", "9A95-0000001"), person(1)),
        Waiting(3, row("C2", "9A95-0000002"), person(2)),
        Waiting(4, row("C1", "9A95-0000003"), person(3)),
        Waiting(5, row("C4", "9A95-0000002"), person(4)),
        Waiting(6, row("C1", "9A95-0000006"), person(5)),
    ]
    assert repeated(rows) == ([(4, "customer"), (5, "accounts"), (6, "customer")], 3)


def test_numbers_whose_short_hashes_collide_are_told_apart_by_a_second_look():
    first, second = person(7), person(7)[:-1] + "1"
    rows = [Waiting(2, row("C1", ""), first), Waiting(3, row("C2", ""), second)]
    assert repeated(rows)[0] == []


def test_the_spool_gives_back_what_it_took_and_shows_nothing():
    rows = [Waiting(line, row(f"C{line}", "9A95-0000001"), person(line)) for line in range(2, 7)]
    spool, file = spool_of(rows)
    assert [one for batch in spool.batches() for one in batch] == rows
    assert spool.lines == 5
    assert b"C2" not in file.getvalue()
    assert b"00501503" not in file.getvalue()


def test_lines_are_counted_as_an_editor_counts_them():
    good = 'C1,00501503,"測試,公司",,,,,'
    text = f"{HEADER}\n{good}\n\nbad\n{'x' * sheet_text.LONGEST_LINE}\n{good.replace('C1', 'C2')}"
    file = io.BytesIO(text.encode())
    assert scan(file).encoding == "utf-8"
    found = list(judged_lines(file, "utf-8", TODAY))
    assert [one.line for one in found] == [2, 4, 5, 6]
    assert isinstance(found[0].found, Row)
    assert found[0].found.name == "測試,公司"
    assert isinstance(found[3].found, Row)
    assert found[-1].position == len(text.encode())


def test_a_character_cut_by_a_block_is_not_a_wrong_one():
    size = sheet_text.BLOCK
    file = io.BytesIO(b"a" * (size - 1) + "王\n".encode() + b"b")
    assert scan(file).fault is None


def test_the_line_that_is_in_no_encoding_is_found_beyond_the_first_block():
    lines = b"abcdefg\n" * (sheet_text.BLOCK // 8 + 3)
    found = scan(io.BytesIO(lines + b"ok \xff\xff\n"))
    assert found.fault is not None
    assert found.fault.line == sheet_text.BLOCK // 8 + 4
