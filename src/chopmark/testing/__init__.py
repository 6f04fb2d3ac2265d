"""Shipped for tests and trials: stubs of external services, and test kits for a firm's own plug-ins."""
