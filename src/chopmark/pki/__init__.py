"""Pure public-key infrastructure: functions from bytes to values, without I/O, clock or randomness."""
