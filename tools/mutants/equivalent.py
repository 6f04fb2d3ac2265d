"""Faults that change nothing that anybody can tell, each with its reason: they do not count."""

EQUIVALENT: dict[tuple[str, str], str] = {}
"""By module and by the fault's name as `survivors` prints it."""
