"""The JSON API of the order pages and of other programs, and the addresses for gateways' delivery reports."""
