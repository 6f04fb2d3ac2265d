"""The demo: its people, and the past that they are given."""
