"""Plain ASGI in front of the framework: whose request it is, how much may be done at once, health."""
