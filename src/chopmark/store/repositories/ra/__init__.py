"""Orders, what customers hold, and the directory of customers."""
