"""Subject templates: whom the subjects of old CAs name."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from chopmark.ra.certificate_import.subjects import Named, Names, parse_template, read_subject

OIDS = {
    "CN": NameOID.COMMON_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "C": NameOID.COUNTRY_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
MASTERLINK = [
    ("CN", "TWA1200345031"),
    ("OU", "RA-mlfutures01"),
    ("OU", "MasterLink"),
    ("O", "Certification Service Provider"),
    ("O", "TaiCA Secure CA"),
    ("C", "TW"),
]
FUBON = [("CN", "A120034503"), ("OU", "ECPL"), ("OU", "RA-FubonECRA"), ("C", "TW")]
ANN = Named(Names.PERSON_ID, "A120034503")


def subject(*pairs: tuple[str, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(OIDS[kind], value) for kind, value in pairs])


def named(template: str, pairs: list[tuple[str, str]]) -> frozenset[Named]:
    return read_subject(subject(*pairs), [parse_template(template)])


@pytest.mark.parametrize(
    ("template", "pairs", "found"),
    [
        ("CN=TW{person_id}*, OU=RA-mlfutures01", MASTERLINK, {ANN}),
        ("CN=TW{person_id}…, OU=RA-*", MASTERLINK, {ANN}),
        ("ou=MasterLink, 2.5.4.3=TW{person_id}1", MASTERLINK, {ANN}),
        ("CN=TW{person_id}, OU=RA-mlfutures01", MASTERLINK, set()),
        ("CN=TW{person_id}*, OU=RA-TheCapital", MASTERLINK, set()),
        ("CN={person_id}, OU=ECPL, OU=RA-FubonECRA", FUBON, {ANN}),
        ("CN={person_id}, OU=ECPL, OU=RA-Else", FUBON, set()),
        ("CN={customer}-{*}", [("CN", "x")], None),
        ("CN=*-{customer}", [("CN", "Somebody-C10001")], {Named(Names.CUSTOMER, "C10001")}),
        ("serialNumber={account}", [("serialNumber", "f014000-0000007")], {Named(Names.ACCOUNT, "F014000-0000007")}),
        ("CN=TW{person_id}*", [("CN", "TW246801321")], {Named(Names.PERSON_ID, "24680132")}),
        ("CN=TW{person_id}*", [("CN", "TWA1200345041")], set()),
        (r"CN=Chen\, {person_id}", [("CN", "Chen, A120034503")], {ANN}),
        ("CN={person_id}", [("CN", "a120034503")], {ANN}),
        ("CN=TW.{person_id}", [("CN", "TWxA120034503")], set()),
    ],
)
def test_a_template_reads_the_subjects_of_brokers(
    template: str, pairs: list[tuple[str, str]], found: set[Named] | None
) -> None:
    if found is None:
        with pytest.raises(ValueError, match="for the sign itself"):
            parse_template(template)
    else:
        assert named(template, pairs) == found


def test_every_attribute_that_fits_names_somebody() -> None:
    both = [("CN", "TWA1200345031"), ("CN", "TWF2200345191")]
    assert {one.value for one in named("CN=TW{person_id}*", both)} == {"A120034503", "F220034519"}


def test_a_subject_that_could_name_many_names_nobody() -> None:
    many = [("CN", f"C{number}") for number in range(17)]
    assert named("CN={customer}", many) == frozenset()
    assert {one.value for one in named("CN={customer}", many[:16])} == {name for _, name in many[:16]}
    both = [parse_template("CN={customer}"), parse_template("OU={customer}")]
    assert read_subject(subject(*many[:16], ("OU", "C99")), both) == frozenset(), "over all templates"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "CN",
        "CN=",
        "CN=x",
        "XX={person_id}",
        "CN={person_id}{customer}",
        "CN={name}",
        "CN={person_id",
        "{person_id}",
    ],
)
def test_what_is_no_template_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse_template(written)
