"""Pure public-key infrastructure: bytes in, values out; no I/O, no clock, no randomness of our own."""
