"""The application: its settings, and the object graph of a process."""
