"""The vocabulary as types, the one vocabulary of refusals, and the ports for time and randomness."""
