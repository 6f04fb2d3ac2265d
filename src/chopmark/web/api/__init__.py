"""The JSON API: what the order pages and other programs call; and where gateways report a message's delivery."""
