"""Subject templates over made-up subjects: what is written by a template is read by it, and nobody else."""

import contextlib

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from chopmark.ra.certificate_import.subjects import Named, Names, parse_template, read_subject

PEOPLE = ("A120034503", "F220034519", "A131145615", "24680132", "A800123450", "AC01234567")
PLAIN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\,{*=…"), max_size=12)
UNIT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


def quoted(value: str) -> str:
    """A value as a template writes it."""
    return "".join(f"\\{sign}" if sign in "\\,{*…" else sign for sign in value)


def subject(cn: str, units: list[str]) -> x509.Name:
    pairs = [(NameOID.COMMON_NAME, cn), *((NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units)]
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])


@given(st.sampled_from(PEOPLE), PLAIN, PLAIN, st.lists(UNIT, max_size=4))
def test_who_is_written_by_a_template_is_read_by_it(person: str, before: str, after: str, units: list[str]) -> None:
    template = parse_template(f"CN={quoted(before)}{{person_id}}{quoted(after)}")
    found = read_subject(subject(f"{before}{person}{after}", units), [template])
    assert found == {Named(Names.PERSON_ID, person)}


@given(st.sampled_from(PEOPLE), UNIT, st.lists(UNIT, max_size=4))
def test_a_unit_that_the_subject_does_not_have_keeps_everybody_out(person: str, unit: str, units: list[str]) -> None:
    wanted = unit.strip()
    there = [one for one in units if one != wanted]
    if not wanted:
        return
    template = parse_template(f"CN=TW{{person_id}}*, OU={quoted(wanted)}")
    assert read_subject(subject(f"TW{person}1", there), [template]) == frozenset()
    assert read_subject(subject(f"TW{person}1", [*there, wanted]), [template]) == {Named(Names.PERSON_ID, person)}


@given(st.text(max_size=60), st.lists(UNIT, max_size=3))
def test_any_subject_is_read_without_an_exception_and_names_at_most_well_formed_numbers(
    cn: str, units: list[str]
) -> None:
    templates = [parse_template("CN=TW{person_id}*"), parse_template("CN={customer}, OU=RA-*")]
    try:
        name = subject(cn, units)
    except ValueError:
        return
    for one in read_subject(name, templates):
        assert one.value.isascii()
        assert one.value == one.value.upper()


@given(st.text(max_size=40))
def test_any_text_is_a_template_or_a_sentence(written: str) -> None:
    with contextlib.suppress(ValueError):
        template = parse_template(written)
        assert template.names in set(Names)
