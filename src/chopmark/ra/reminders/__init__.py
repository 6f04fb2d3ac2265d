"""Reminders: when customers are told that a certificate ends, by which channel, and what stops it."""
