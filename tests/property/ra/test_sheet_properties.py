"""Whatever stands in a sheet, it becomes a row or faults; and the short way for e-mail is the long one."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from chopmark.core.refusal import Refusal
from chopmark.ra.customer_import.sheet import Column, Header, Row, check_cells, check_line, email_address, parse_header
from chopmark.tw.email import parse_email

TODAY = date(2026, 7, 15)
LOCAL = st.from_regex(r"[A-Za-z0-9._+\-]{1,70}", fullmatch=True)
DOMAIN = st.one_of(
    st.from_regex(r"[a-z0-9.\-]{1,70}", fullmatch=True),
    st.sampled_from(["example.org", "localhost", "a.test", "mail.invalid", "xn--fiq228c.tw", "x.onion", "1.2.3.4"]),
)


@given(st.builds("{}@{}".format, LOCAL, DOMAIN))
def test_an_address_means_what_tw_says_it_means(written):
    short, long = email_address(written), parse_email(written)
    if isinstance(long, Refusal):
        assert isinstance(short, Refusal)
        assert short.code == long.code
    else:
        assert short == long


@given(st.fixed_dictionaries({column: st.text(max_size=30) for column in Column}))
def test_any_cells_become_a_row_or_faults_of_known_columns(cells):
    found = check_cells(cells, 5, TODAY)
    if not isinstance(found, Row):
        assert found
        assert all(fault.line == 5 and fault.column in set(Column) for fault in found)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_line_and_any_header_are_judged(written):
    header = Header(tuple(Column))
    found = check_line(written, 2, header, TODAY)
    assert found is None or isinstance(found, Row) or found
    assert parse_header(written)
