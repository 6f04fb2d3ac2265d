"""A key file opens with both shares; either alone, both exchanged, or with its first line edited it stays shut."""

import hashlib
import hmac
import subprocess

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from chopmark.core.types import Secret
from chopmark.keys.file import FileSigner, KeyFileError
from chopmark.keys.keyring import Keyring, NoShares
from chopmark.keys.ports import KeyAlgorithm
from chopmark.keys.shares import Lock, Shares, UnfitShares, create, new_share
from tests.contract.world import Clock
from tests.machine import program

ONE, TWO = Secret("first share of the test"), Secret("second share of the test")
LOCK = Lock.fresh(bytes(range(32)), memory_kib=64, passes=1)


def ring(shares: Shares | None) -> Keyring:
    return Keyring(Secret(""), None, Clock(), shares)


@pytest.fixture(scope="module")
def stored() -> bytes:
    return create(KeyAlgorithm.P256, LOCK, LOCK.passphrase(Shares(ONE, TWO)))


def test_both_shares_open_the_file(stored):
    assert ring(Shares(ONE, TWO)).open(stored, b"").algorithm is KeyAlgorithm.P256


def test_a_line_break_at_the_end_of_a_share_s_file_is_no_part_of_the_share(stored):
    opened = ring(Shares(Secret("first share of the test\n"), TWO)).open(stored, b"")
    assert opened.algorithm is KeyAlgorithm.P256


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (ONE, Secret("another second share...")),
        (Secret("another first share...."), TWO),
        (TWO, ONE),
        (ONE, Secret("first share of the test.")),
    ],
)
def test_either_share_alone_opens_nothing(stored, one, two):
    with pytest.raises(KeyFileError):
        ring(Shares(one, two)).open(stored, b"")


@pytest.mark.parametrize("share", [ONE, TWO, Secret("")])
def test_no_share_is_the_pass_phrase_of_the_file(stored, share):
    with pytest.raises(KeyFileError):
        FileSigner.open(stored, share)


def test_without_the_shares_the_sentence_says_what_is_missing(stored):
    with pytest.raises(NoShares, match="ca_share_one and ca_share_two"):
        ring(None).open(stored, b"")


def argon2id(share: Secret, salt: bytes) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=64).derive(share.reveal().encode())


def test_openssl_opens_the_file_with_the_pass_phrase_of_the_decision(stored, tmp_path):
    """docs/decisions/0011: HKDF-SHA-256 (RFC 5869) over both Argon2id values, written here a second time."""
    halves = argon2id(ONE, LOCK.salt_one) + argon2id(TWO, LOCK.salt_two)
    extracted = hmac.digest(bytes(32), halves, hashlib.sha256)
    phrase = hmac.digest(extracted, stored.split(b"\n")[0] + b"\x01", hashlib.sha256).hex()
    (tmp_path / "key.pem").write_bytes(stored)
    command = [program("openssl"), "pkey", "-in", tmp_path / "key.pem", "-passin", f"pass:{phrase}", "-noout", "-check"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_edited_first_line_opens_nothing(stored):
    for edited in (stored.replace(b"t=1", b"t=2"), stored.replace(b"m=64", b"m=65")):
        with pytest.raises(KeyFileError):
            ring(Shares(ONE, TWO)).open(edited, b"")


@pytest.mark.parametrize("line", [b"two-shares-2 m=64 t=1", b"two-shares-1 m=9999999 t=1", b"two-shares-1 m=64 t=33"])
def test_a_first_line_that_is_unknown_or_costs_too_much_is_refused_before_anything_is_computed(line):
    salts = b" " + b"0" * 32 + b" " + b"1" * 32 + b"\n"
    with pytest.raises(KeyFileError, match="first line"):
        ring(Shares(ONE, TWO)).open(b"Chopmark-Key-Lock: " + line + salts, b"")


def test_a_file_without_the_line_opens_with_its_pass_phrase_as_ever():
    assert Lock.of(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n") is None


def test_a_share_is_long_and_the_two_differ():
    with pytest.raises(UnfitShares, match=r"first .* 20 characters"):
        Shares(Secret("x" * 19), TWO)
    with pytest.raises(UnfitShares, match=r"second .* 20 characters"):
        Shares(ONE, Secret("  " + "x" * 19 + "\n"))
    with pytest.raises(UnfitShares, match="differ"):
        Shares(ONE, Secret(ONE.reveal() + "\n"))


def test_a_made_share_has_all_its_random_bits_and_can_be_copied_by_hand():
    share = new_share(bytes(range(32))).reveal()
    assert bytes.fromhex(share.replace("-", "")) == bytes(range(32))
    assert {len(group) for group in share.split("-")} == {4}
    with pytest.raises(ValueError, match="32"):
        new_share(b"short")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_salts_of_another_length_are_a_fault_of_the_program(size):
    with pytest.raises(ValueError, match="32 bytes"):
        Lock.fresh(bytes(size))


def test_a_lock_costs_what_the_decision_says():
    """RFC 9106 s.4, the second recommended option: 64 MiB, three passes."""
    lock = Lock.fresh(bytes(32))
    assert (lock.memory_kib, lock.passes) == (64 * 1024, 3)
