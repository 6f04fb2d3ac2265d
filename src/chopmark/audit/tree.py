"""The Merkle tree of RFC 9162 s.2.1 over leaf hashes: roots, proofs and their verification.

All functions take and return SHA-256 hashes of 32 octets; `hash_leaf` makes one from an entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""The root of the empty tree (RFC 9162 s.2.1.1)."""


def hash_leaf(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees that make up a tree, largest first: enough to append leaves or get the root."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError("a frontier has one hash for each one-bit of its size")

    def append(self, leaf_hash: bytes) -> "Frontier":
        """Return the frontier of the tree with one more leaf."""
        peaks, node, size = self.peaks, leaf_hash, self.size
        while size & 1:
            node = hash_node(peaks[-1], node)
            peaks, size = peaks[:-1], size >> 1
        return Frontier(self.size + 1, (*peaks, node))

    def root(self) -> bytes:
        """Return the Merkle tree hash."""
        if not self.peaks:
            return EMPTY_ROOT
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = hash_node(peak, node)
        return node

    def to_bytes(self) -> bytes:
        """Return the peaks one after the other: 32 octets each, largest subtree first."""
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, octets: bytes) -> "Frontier":
        """Return the frontier that `to_bytes` wrote; raises ValueError when the size does not fit."""
        if len(octets) % 32:
            raise ValueError("a frontier is a row of 32-octet hashes")
        return cls(size, tuple(octets[at : at + 32] for at in range(0, len(octets), 32)))


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash of all leaf hashes in order."""
    frontier = Frontier()
    for leaf_hash in hashes:
        frontier = frontier.append(leaf_hash)
    return frontier.root()


def inclusion_proof(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the path from a leaf to the root, nearest sibling first (RFC 9162 s.2.1.3.1).

    Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise ValueError("no such leaf")
    proof: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return tuple(proof)


def consistency_proof(hashes: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first `first` leaves is a prefix (RFC 9162 s.2.1.4.1).

    Raises ValueError unless 0 < first <= number of leaves.
    """
    if not 0 < first <= len(hashes):
        raise ValueError("a consistency proof starts at a size from 1 to the tree's own")
    if first == len(hashes):
        return ()
    node, level = first - 1, list(hashes)
    while node & 1:  # go up to the largest perfect subtree that ends where the old tree ends
        node, level = node >> 1, _parents(level)
    proof = [level[node]] if node else []  # if that subtree is the whole old tree, the verifier knows its root
    while len(level) > 1:
        if node ^ 1 < len(level):
            proof.append(level[node ^ 1])
        node, level = node >> 1, _parents(level)
    return tuple(proof)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the proof leads from the leaf to the root (RFC 9162 s.2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = hash_node(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hash_node(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the tree of size `second` extends the one of size `first` (RFC 9162 s.2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = hash_node(sibling, old), hash_node(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = hash_node(new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """Return the next level up; an odd last node is taken over unchanged."""
    pairs = [hash_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) & 1 else pairs
