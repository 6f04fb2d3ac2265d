"""The ports of the core, implemented with SQL: one folder per authority, beside them what several use."""
