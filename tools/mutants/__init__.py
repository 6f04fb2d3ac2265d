"""Deliberate faults, one at a time, and whether the tests notice (docs/mutants.md)."""
