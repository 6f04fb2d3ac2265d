"""A profile says what a certificate contains, and a dangerous one does not load."""

from datetime import UTC, datetime

import pytest

from chopmark.pki.profile import Lifetime, Line, ProfileError, load
from tests.vectors.pki.house import profile

GOOD = """
name = "investor"
version = 3
validity = "P1Y"
backdate_s = 300
key_usage = ["digitalSignature"]
eku = ["1.3.6.1.5.5.7.3.2"]
policy_oid = "1.3.6.1.4.1.99999.1"
cps_uri = "http://ca.example/cps"
subject = ["C=TW", "O={firm}", "CN={customer}"]
lint = "exemplar"
scope = "customer"
shards = 4
keys = ["P256"]
"""

BAD = {
    "a CA certificate": ("version = 3", 'version = 3\nbasic_constraints = "CA:TRUE"', "unknown key basic_constraints"),
    "certificate signing": ('["digitalSignature"]', '["digitalSignature", "keyCertSign"]', "keyCertSign"),
    "CRL signing": ('["digitalSignature"]', '["cRLSign"]', "cRLSign"),
    "serverAuth": ("5.5.7.3.2", "5.5.7.3.1", "1.3.6.1.5.5.7.3.1"),
    "codeSigning": ("5.5.7.3.2", "5.5.7.3.3", "1.3.6.1.5.5.7.3.3"),
    "timeStamping": ("5.5.7.3.2", "5.5.7.3.8", "1.3.6.1.5.5.7.3.8"),
    "OCSPSigning": ("5.5.7.3.2", "5.5.7.3.9", "1.3.6.1.5.5.7.3.9"),
    "any usage": ("1.3.6.1.5.5.7.3.2", "2.5.29.37.0", "2.5.29.37.0"),
    "no usage": ('["1.3.6.1.5.5.7.3.2"]', "[]", "eku"),
    "a name from the request": ("{customer}", "{csr}", "csr"),
    "an attribute of an object": ("{customer}", "{customer.x}", "brace"),
    "an unknown attribute": ('"C=TW"', '"DC=TW"', "unknown attribute"),
    "a country of three letters": ('"C=TW"', '"C=TWN"', "country"),
    "a control character": ('"C=TW"', '"OU=a\\u202eb"', "printed"),
    "no name at all": ('"CN={customer}"', '"OU={customer}"', "CN or a serialNumber"),
    "eternal life": ('"P1Y"', '"P30Y"', "five years"),
    "no validity": ('"P1Y"', '"forever"', "validity"),
    "a whole day of backdating": ("= 300", "= 86400", "backdate_s"),
    "a truth instead of a number": ("shards = 4", "shards = true", "shards"),
    "a weak key": ('["P256"]', '["RSA1024"]', "RSA1024"),
    "a key twice": ('["P256"]', '["P256", "P256"]', "twice"),
    "a missing member": ("shards = 4", "", "missing key shards"),
    "hours that are none": ("version = 3", 'version = 3\nnot_after_avoid = "08:00"', "not_after_avoid"),
    "hours that end before they begin": (
        "version = 3",
        'version = 3\nnot_after_avoid = "14:30-08:00+08:00"',
        "not_after_avoid",
    ),
    "an overlap of some days": ("version = 3", "version = 3\noverlap = 7", "overlap"),
    "no TOML": ("version = 3", "version = ", "not TOML"),
    "a malformed OID": ("1.3.6.1.4.1.99999.1", "1.3.06", "policy_oid"),
}


def test_the_old_certificate_stays_beside_the_new_one_unless_the_profile_says_otherwise():
    assert load(GOOD).overlap
    assert not load(GOOD.replace("version = 3", "version = 3\noverlap = false")).overlap


def test_the_shipped_profiles_load_and_the_default_names_no_national_id():
    assert profile("investor").needs == {"firm", "unit", "customer"}
    assert profile("investor-market").needs == {"firm", "ra", "national_id"}
    assert profile("investor").validity == Lifetime(1, 0)


def test_the_example_of_this_test_loads():
    assert load(GOOD).shards == 4


@pytest.mark.parametrize("name", BAD)
def test_a_profile_that_must_not_be_used_does_not_load(name):
    old, new, reason = BAD[name]
    assert old in GOOD
    with pytest.raises(ProfileError) as caught:
        load(GOOD.replace(old, new))
    assert any(reason in said for said in caught.value.reasons)


def test_every_fault_is_named_at_once():
    with pytest.raises(ProfileError) as caught:
        load('version = 0\nlint = "never"')
    assert len(caught.value.reasons) == 2 + 11


@pytest.mark.parametrize(
    ("lifetime", "start", "end"),
    [
        (Lifetime(1, 0), "2026-03-01T00:00:00", "2027-02-28T23:59:59"),
        (Lifetime(1, 0), "2028-02-29T12:00:00", "2029-02-28T11:59:59"),
        (Lifetime(1, 0), "2027-03-01T00:00:00", "2028-02-29T23:59:59"),
        (Lifetime(0, 365), "2026-03-01T00:00:00", "2027-02-28T23:59:59"),
    ],
)
def test_a_validity_counts_both_its_ends(lifetime, start, end):
    at = [datetime.fromisoformat(value).replace(tzinfo=UTC) for value in (start, end)]
    assert lifetime.after(at[0]) == at[1]


def test_a_subject_line_is_filled_in_one_normal_form_or_refused():
    assert Line("CN", "{holder}").fill({"holder": "e\u0301"}) == "\u00e9"
    for value in ("", "x" * 65, "a\u202eb", "a\x00", " a"):
        with pytest.raises(ValueError, match=r"subject|CN"):
            Line("CN", "{holder}").fill({"holder": value})


TRADING = 'version = 3\nnot_after_avoid = "08:00-14:30+08:00"'


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-31T04:00:00", "2027-03-31T06:30:00"),  # noon in Taipei: moved to half past two
        ("2026-03-31T00:00:00", "2027-03-30T23:59:59"),  # one second before eight: stays
        ("2026-03-31T00:00:01", "2027-03-31T06:30:00"),  # eight sharp: moved
        ("2026-03-31T06:30:00", "2027-03-31T06:30:00"),  # the last second: moved by one
        ("2026-03-31T06:30:01", "2027-03-31T06:30:00"),  # half past two: stays
        ("2026-03-31T18:00:00", "2027-03-31T17:59:59"),  # two in the night of the next day in Taipei: stays
    ],
)
def test_a_certificate_does_not_end_while_the_market_is_open(start: str, end: str) -> None:
    """Hours of Taipei, UTC+8 without summer time."""
    lifetime = load(GOOD.replace("version = 3", TRADING)).validity
    moments = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (start, end))
    assert lifetime.after(next(moments)) == next(moments)


def test_without_hours_to_avoid_the_end_is_not_moved() -> None:
    assert load(GOOD).validity == Lifetime(1, 0)
    assert load(GOOD.replace("version = 3", 'version = 3\nnot_after_avoid = ""')).validity == Lifetime(1, 0)
