"""Messages: the outbox, what they are made of, and the demo's inbox."""
