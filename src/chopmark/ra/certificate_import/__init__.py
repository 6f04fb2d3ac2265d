"""Importing the certificates that customers have of former issuers: all of a run count, or none."""
