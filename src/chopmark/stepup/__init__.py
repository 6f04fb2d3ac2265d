"""Proving more than the login did: one-time codes and further factors."""
