"""Find RSA keys with a common prime: both keys can then be factored (Heninger et al., USENIX Security 2012)."""

import math
from collections.abc import Collection

CHUNK = 128


def sharing(moduli: Collection[int]) -> frozenset[int]:
    """Return the moduli that have a factor in common with another one; each distinct modulus counts once.

    Each is compared with the product of those before it, a chunk at a time: one division for 128 keys, some
    microseconds a pair. A tree of products would not be faster here, because Python divides large numbers in quadratic
    time.
    """
    found: set[int] = set()
    chunks: list[tuple[int, list[int]]] = []
    for modulus in dict.fromkeys(moduli):
        for product, members in chunks:
            if math.gcd(product % modulus, modulus) != 1:
                found.update(one for one in members if math.gcd(one, modulus) != 1)
                found.add(modulus)
        if not chunks or len(chunks[-1][1]) == CHUNK:
            chunks.append((1, []))
        product, members = chunks[-1]
        chunks[-1] = product * modulus, [*members, modulus]
    return frozenset(found)
