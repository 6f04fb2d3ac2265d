"""Chopmark: a self-hosted certificate counter for the customers of a financial institution."""

__version__ = "0.1.0"
