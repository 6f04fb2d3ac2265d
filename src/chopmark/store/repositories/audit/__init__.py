"""Audit records, signed tree heads, and what the database has of the journal."""
