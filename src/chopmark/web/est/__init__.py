"""EST (RFC 7030): a customer's program sends a key and collects its certificate."""
