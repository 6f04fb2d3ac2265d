"""The demo: made-up customers and their history."""
