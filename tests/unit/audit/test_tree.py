"""The tree against RFC 9162 transcribed word by word, and against Certificate Transparency's vectors."""

from hashlib import sha256

import pytest

from chopmark.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    hash_leaf,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The reference tree of certificate-transparency (merkle_tree_test.cc and transparency-dev/merkle).
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
HASHES = [hash_leaf(entry) for entry in ENTRIES]


# RFC 9162 s.2.1.1, 2.1.3.1 and 2.1.4.1, transcribed; D is a list of entries, not of hashes.
def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d):
    if not d:
        return sha256(b"").digest()
    if len(d) == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m, d):
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m, d, b):
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def entries(count):
    return [f"entry {number}".encode() for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_the_reference_tree_has_the_published_roots(size):
    assert root_of(HASHES[:size]).hex() == ROOTS[size]
    assert mth(ENTRIES[:size]).hex() == ROOTS[size]


def test_the_empty_tree_has_the_hash_of_nothing():
    assert Frontier().root() == EMPTY_ROOT == bytes.fromhex(ROOTS[0])


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_proofs_are_ours(index, size):
    assert [node.hex() for node in inclusion_proof(HASHES[:size], index)] == INCLUSION[index, size]


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_the_published_consistency_proofs_are_ours(first, second):
    assert [node.hex() for node in consistency_proof(HASHES[:second], first)] == CONSISTENCY[first, second]


@pytest.mark.parametrize("size", range(34))
def test_root_and_proofs_are_those_of_the_rfc_for_every_small_tree(size):
    d = entries(size)
    hashes = [hash_leaf(entry) for entry in d]
    root = mth(d)
    assert root_of(hashes) == root
    for index in range(size):
        proof = inclusion_proof(hashes, index)
        assert list(proof) == path(index, d)
        assert verify_inclusion(hashes[index], index, size, proof, root)
    for first in range(1, size + 1):
        proof = consistency_proof(hashes, first)
        assert list(proof) == subproof(first, d, True)
        assert verify_consistency(first, size, mth(d[:first]), root, proof)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 13])
def test_an_inclusion_proof_holds_for_nothing_else(size):
    d = entries(size)
    hashes = [hash_leaf(entry) for entry in d]
    root = mth(d)
    for index in range(size):
        proof = inclusion_proof(hashes, index)
        assert not verify_inclusion(hash_leaf(b"other"), index, size, proof, root)
        assert not verify_inclusion(hashes[index], index, size, proof[:-1], root)
        assert not verify_inclusion(hashes[index], index, size, (*proof, root), root)
        assert not verify_inclusion(hashes[index], size, size, proof, root)
        assert not verify_inclusion(hashes[index], -1, size, proof, root)
        assert not verify_inclusion(hashes[index], index, size, proof, bytes(32))
        for other in set(range(size)) - {index}:
            assert not verify_inclusion(hashes[index], other, size, proof, root)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 7), (4, 8), (6, 8), (5, 13)])
def test_a_consistency_proof_holds_for_nothing_else(first, second):
    d = entries(second)
    hashes = [hash_leaf(entry) for entry in d]
    proof = consistency_proof(hashes, first)
    old, new = mth(d[:first]), mth(d)
    assert not verify_consistency(first, second, bytes(32), new, proof)
    assert not verify_consistency(first, second, old, bytes(32), proof)
    assert not verify_consistency(first, second, old, new, proof[:-1])
    assert not verify_consistency(first, second, old, new, (*proof, new))
    assert not verify_consistency(0, second, EMPTY_ROOT, new, ())
    assert not verify_consistency(second, first, new, old, proof)
    assert not verify_consistency(second, second, new, new, proof)
    forged = mth([b"forged", *d[1:]])
    assert not verify_consistency(first, second, old, forged, proof)


def test_there_is_no_proof_for_what_is_not_in_the_tree():
    for index in (-1, 8):
        with pytest.raises(ValueError, match="no such leaf"):
            inclusion_proof(HASHES, index)
    for first in (0, 9):
        with pytest.raises(ValueError, match="starts at a size"):
            consistency_proof(HASHES, first)


@pytest.mark.parametrize("size", range(20))
def test_a_stored_frontier_goes_on_where_it_stopped(size):
    frontier = Frontier()
    for entry in entries(size):
        frontier = frontier.append(hash_leaf(entry))
    again = Frontier.from_bytes(size, frontier.to_bytes())
    assert again == frontier
    assert again.append(hash_leaf(b"next")).root() == mth([*entries(size), b"next"])


@pytest.mark.parametrize(("size", "octets"), [(3, bytes(32)), (1, bytes(33)), (-1, b""), (0, bytes(32))])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size, octets):
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(size, octets)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tree_is_consistent_with_itself_only_without_a_proof_and_under_its_own_root(size):
    root = bytes.fromhex(ROOTS[size])
    other = bytes.fromhex(ROOTS[size + 1])
    assert verify_consistency(size, size, root, root, ())
    assert not verify_consistency(size, size, root, other, ())
    assert not verify_consistency(size, size, root, root, (other,))
