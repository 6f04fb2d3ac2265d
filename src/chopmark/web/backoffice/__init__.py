"""For the programs of relying firms."""
