"""Customers, passwords, sessions and launch tickets."""
