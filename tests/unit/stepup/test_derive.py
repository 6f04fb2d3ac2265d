"""The derived code: against `openssl dgst -mac HMAC` over a message put together by hand, and its distribution.

Recipe of the two vectors: key 00 01 .. 1f; message = "chopmark-otp-1", then each field as 4-byte big-endian length
and bytes; `openssl dgst -sha256 -mac HMAC -macopt hexkey:...`; the first 32 hexadecimal digits modulo 10^digits.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.types import ChallengeId, Channel, CustomerId, Operation, OrderId
from chopmark.stepup.challenge import Challenge
from chopmark.stepup.derive import OtpKey, OtpKeys, derive_for

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
KEY = OtpKey("k1", bytes(range(32)))
RENEWAL = Challenge(
    id=ChallengeId("A" * 26),
    order=OrderId("O" * 26),
    customer=CustomerId("C-1"),
    channel=Channel.MOBILE,
    contact_version=3,
    nonce=bytes.fromhex("00112233445566778899aabbccddeeff"),
    kid="k1",
    operation=Operation.REKEY,
    spki="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    reference="BDFG",
    digits=6,
    attempts=0,
    max_attempts=5,
    created_at=NOW,
    expires_at=NOW + timedelta(seconds=300),
    resend_at=NOW + timedelta(seconds=60),
)


def test_openssl_computes_the_same_code_for_a_renewal_by_phone() -> None:
    assert derive_for(RENEWAL, KEY, "好景").reveal() == "565555"


def test_openssl_computes_the_same_code_for_a_revocation_by_mail_with_ten_digits() -> None:
    revocation = replace(
        RENEWAL,
        id=ChallengeId("B" * 26),
        nonce=bytes.fromhex("ffeeddccbbaa99887766554433221100"),
        operation=Operation.REVOKE,
        spki="",
        channel=Channel.EMAIL,
        contact_version=12,
        digits=10,
    )
    assert derive_for(revocation, KEY, "demo").reveal() == "5124160356"


@pytest.mark.parametrize(
    "other",
    [
        replace(RENEWAL, id=ChallengeId("A" * 25 + "B")),
        replace(RENEWAL, nonce=bytes(16)),
        replace(RENEWAL, operation=Operation.REVOKE),
        replace(RENEWAL, spki=""),
        replace(RENEWAL, channel=Channel.EMAIL),
        replace(RENEWAL, contact_version=4),
    ],
)
def test_a_code_belongs_to_its_challenge_nonce_operation_key_channel_and_contact(other: Challenge) -> None:
    wide, wide_other = replace(RENEWAL, digits=10), replace(other, digits=10)
    assert derive_for(wide, KEY, "t").reveal() != derive_for(wide_other, KEY, "t").reveal()


def test_a_code_belongs_to_its_tenant_and_its_key() -> None:
    wide = replace(RENEWAL, digits=10)
    codes = {
        derive_for(wide, KEY, "t").reveal(),
        derive_for(wide, KEY, "u").reveal(),
        derive_for(wide, OtpKey("k1", bytes(32)), "t").reveal(),
    }
    assert len(codes) == 3


def test_moving_a_letter_from_one_field_to_the_next_changes_the_code() -> None:
    wide = replace(RENEWAL, digits=10)
    shifted = replace(wide, id=ChallengeId("B" + wide.id))
    assert derive_for(wide, KEY, "tB").reveal() != derive_for(shifted, KEY, "t").reveal()


def test_a_resend_derives_another_code_and_a_retry_the_same() -> None:
    assert derive_for(RENEWAL, KEY, "t").reveal() == derive_for(replace(RENEWAL, attempts=2), KEY, "t").reveal()


def test_fifty_thousand_codes_are_spread_evenly() -> None:
    """Pearson's chi-square; the 99.9 % points for 999 and 9 degrees of freedom are 1142.8 and 27.88."""
    first_three, last_one, total = [0] * 1000, [0] * 10, 50_000
    for number in range(total):
        code = derive_for(replace(RENEWAL, nonce=number.to_bytes(16, "big")), KEY, "t").reveal()
        assert len(code) == 6
        first_three[int(code[:3])] += 1
        last_one[int(code[5])] += 1
    assert sum((n - total / 1000) ** 2 / (total / 1000) for n in first_three) < 1142.8
    assert sum((n - total / 10) ** 2 / (total / 10) for n in last_one) < 27.88


def test_leading_zeros_stay() -> None:
    codes = (derive_for(replace(RENEWAL, nonce=n.to_bytes(16, "big")), KEY, "t").reveal() for n in range(200))
    assert any(code.startswith("0") for code in codes)


def test_the_previous_key_is_found_and_a_destroyed_one_is_not() -> None:
    previous = OtpKey("k0", bytes(32))
    keys = OtpKeys(KEY, previous)
    assert keys.find("k1") is KEY
    assert keys.find("k0") is previous
    assert OtpKeys(KEY).find("k0") is None


def test_a_code_is_not_derived_with_a_key_that_the_challenge_does_not_name() -> None:
    with pytest.raises(ValueError, match="names OTP key k1"):
        derive_for(RENEWAL, OtpKey("k2", bytes(32)), "t")


def test_keys_are_32_bytes_with_different_ids_and_do_not_show_themselves() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        OtpKey("k", bytes(31))
    with pytest.raises(ValueError, match="key id"):
        OtpKey("", bytes(32))
    with pytest.raises(ValueError, match="share the key id"):
        OtpKeys(KEY, OtpKey("k1", bytes(32)))
    assert "\\x" not in repr(OtpKeys(KEY))


def test_nodes_with_the_same_key_show_the_same_check_value_and_others_do_not() -> None:
    values = {key.check_value() for key in (KEY, OtpKey("k1", bytes(32)), OtpKey("k2", bytes(range(32))))}
    assert OtpKey("k1", bytes(range(32))).check_value() == KEY.check_value()
    assert len(values) == 3
