"""What happened, so that nobody can quietly change it: leaves, the tree over them, heads and the offline verifier."""
