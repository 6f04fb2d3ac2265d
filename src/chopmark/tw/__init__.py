"""Taiwanese data as pure rules: ids, dates, numbers, addresses and their masks."""
