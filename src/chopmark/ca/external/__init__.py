"""Clients of external CAs (cfssl, CMP, EST): each request is stored before it is sent, and each answer is checked."""
