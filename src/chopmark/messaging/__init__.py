"""Delivery: ports, texts and gateways for codes and notices."""
