"""Transactions on SQLite and PostgreSQL: what an engine promises, scripts, and the two engines."""
