"""The values that the templates show, one class per template, and how they become HTML. Nothing is decided here."""
