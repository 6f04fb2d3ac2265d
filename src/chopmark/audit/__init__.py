"""The audit: records that nobody can change unnoticed, the Merkle tree over them, signed tree heads, the verifier."""
