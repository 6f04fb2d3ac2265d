"""Argon2id against the reference implementation's vectors, the rules for passwords, and the gate before it."""

import asyncio
import unicodedata
from collections.abc import Iterator

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Secret
from chopmark.identity.password import (
    INITIAL_ALPHABET,
    HashUnfit,
    PasswordGate,
    hash_password,
    initial_password,
    needs_rehash,
    nobodys,
    verify,
)

REFERENCE = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
"""From src/test.c of phc-winner-argon2: "password", "somesalt", 2^8 KiB, 2 passes."""
STORED = hash_password(Secret("right horse"), bytes(16))


@pytest.fixture
def gate() -> Iterator[PasswordGate]:
    gate = PasswordGate(STORED, at_once=2, waiting=3, retry_after_s=2)
    yield gate
    gate.close()


def test_a_hash_of_the_reference_implementation_is_verified() -> None:
    assert verify(REFERENCE, Secret("password"))
    assert not verify(REFERENCE, Secret("Password"))
    assert needs_rehash(REFERENCE)


def test_a_stored_hash_carries_its_costs_and_not_the_password() -> None:
    assert STORED.startswith("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$")
    assert "right" not in STORED
    assert not needs_rehash(STORED)


def test_nobody_s_hash_looks_and_costs_as_a_stored_one_and_not_even_what_it_was_drawn_from_opens_it() -> None:
    made = nobodys(b"0123456789abcdef", bytes(16))
    assert [len(part) for part in made.split("$")] == [len(part) for part in STORED.split("$")]
    assert made.split("$")[:-1] == STORED.split("$")[:-1]
    assert not verify(made, Secret("0123456789abcdef"))
    assert not verify(made, Secret(b"0123456789abcdef".hex()))
    assert made != nobodys(b"0123456789abcdeg", bytes(16))


def test_a_password_is_the_same_composed_and_decomposed() -> None:
    composed, decomposed = "café-Å-密碼", unicodedata.normalize("NFD", "café-Å-密碼")
    assert composed != decomposed
    assert verify(hash_password(Secret(composed), bytes(16)), Secret(decomposed))


@pytest.mark.parametrize(
    ("phc", "why"),
    [
        ("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$AAAA", "4 lanes; only hashes with p=1"),
        ("$argon2id$v=19$m=65536,t=3,p=0$c29tZXNhbHQ$AAAA", "0 lanes"),
        ("$argon2id$v=19$m=999999999,t=2,p=1$c29tZXNhbHQ$AAAA", "costs more"),
        ("$argon2id$v=19$m=256,t=9999,p=1$c29tZXNhbHQ$AAAA", "costs more"),
        ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA", "no Argon2id"),
        ("$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$AAAA", "no Argon2id"),
        ("$2b$12$abcdefghijklmnopqrstuv", "no Argon2id"),
        ("", "no Argon2id"),
    ],
)
def test_a_hash_that_is_not_computed_here_is_refused_in_words(phc: str, why: str) -> None:
    with pytest.raises(HashUnfit, match=why):
        verify(phc, Secret("password"))


def test_a_password_longer_than_any_never_matches_and_is_never_stored() -> None:
    assert not verify(STORED, Secret("x" * 1_000_000))
    assert not verify(STORED, Secret("x" * 129))
    assert not verify(STORED, Secret(""))
    for unfit in ("", "x" * 129, "x" * 1_000_000):
        with pytest.raises(ValueError, match="1 to 128 characters"):
            hash_password(Secret(unfit), bytes(16))
    with pytest.raises(ValueError, match="salt"):
        hash_password(Secret("x"), bytes(8))


def test_an_initial_password_has_64_bits_without_look_alikes_and_comes_from_the_random_bytes_alone() -> None:
    assert len(set(INITIAL_ALPHABET)) == 31
    assert not set(INITIAL_ALPHABET) & set("il1o0")
    assert 31**13 > 2**60
    made = {initial_password(n.to_bytes(16, "little")).reveal() for n in range(1000)}
    assert len(made) == 1000
    assert {len(each) for each in made} == {13}
    with pytest.raises(ValueError, match="16 random bytes"):
        initial_password(b"")


def test_the_characters_of_initial_passwords_are_spread_evenly() -> None:
    """Pearson's chi-square over 13 x 8000 characters; the 99.9 % point for 30 degrees of freedom is 59.7."""
    step = 0x9E3779B97F4A7C15F39CC0605CEDC835
    counts = dict.fromkeys(INITIAL_ALPHABET, 0)
    for n in range(8000):
        for character in initial_password(((n * step) % 2**128).to_bytes(16, "big")).reveal():
            counts[character] += 1
    expected = 13 * 8000 / 31
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 59.7


async def test_the_gate_knows_right_from_wrong_and_does_the_same_work_for_nobody(gate: PasswordGate) -> None:
    assert await gate.verify(STORED, Secret("right horse")) is True
    assert await gate.verify(STORED, Secret("wrong horse")) is False
    assert await gate.verify(None, Secret("right horse")) is False


async def test_the_gate_lets_five_in_and_tells_the_others_to_come_back(gate: PasswordGate) -> None:
    answers = await asyncio.gather(*(gate.verify(STORED, Secret("right horse")) for _ in range(9)))
    refused = [each for each in answers if isinstance(each, Refusal)]
    assert answers.count(True) == 5
    assert [(each.kind, each.retry_after_s) for each in refused] == [(Kind.TOO_MANY, 2)] * 4
    assert await gate.verify(STORED, Secret("right horse")) is True


async def test_those_who_leave_the_queue_and_those_who_fail_make_room_again(gate: PasswordGate) -> None:
    waiting = [asyncio.ensure_future(gate.verify(STORED, Secret("right horse"))) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for broken in ("$2b$", ""):
        with pytest.raises(HashUnfit):
            await gate.verify(broken, Secret("right horse"))
    answers = await asyncio.gather(*(gate.verify(STORED, Secret("right horse")) for _ in range(5)))
    assert answers == [True] * 5


async def test_the_gate_also_makes_hashes(gate: PasswordGate) -> None:
    made = await gate.hash(Secret("new horse"), bytes(16))
    assert isinstance(made, str)
    assert verify(made, Secret("new horse"))


def test_a_dummy_of_other_costs_would_give_strangers_away() -> None:
    with pytest.raises(ValueError, match="today's costs"):
        PasswordGate(REFERENCE)
