"""RSA moduli that share a prime are found among many, as pairwise gcd finds them."""

import itertools
import math
from random import Random
from time import process_time

import pytest

from chopmark.pki.shared import sharing

PRIMES = [n for n in range(3, 20_000) if all(n % d for d in range(2, math.isqrt(n) + 1))]


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_every_pair_says(seed: int) -> None:
    random = Random(seed)
    moduli = [math.prod(random.sample(PRIMES, 2)) for _ in range(random.randrange(300))]
    pairs = itertools.combinations(set(moduli), 2)
    expected = {number for pair in pairs if math.gcd(*pair) != 1 for number in pair}
    assert sharing(moduli) == expected


def test_the_same_key_twice_shares_nothing_with_itself() -> None:
    assert sharing([]) == sharing([15]) == sharing([15, 15]) == frozenset()
    assert sharing([15, 15, 21]) == {15, 21}


def test_f38_a_key_among_three_hundred_costs_less_than_a_tenth_of_a_second_to_compare() -> None:
    random = Random(5)
    moduli = [random.getrandbits(2048) | 1 << 2047 | 1 for _ in range(300)]
    before = process_time()
    sharing(moduli)
    assert process_time() - before < 0.1 * len(moduli)
