"""What is shipped for tests and trials: stubs of other houses' services, and kits that a firm's own parts must pass."""
