"""Clients of other CAs (cfssl, CMP, EST): each request is on record before it is sent, and each answer is judged."""
