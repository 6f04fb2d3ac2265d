"""The application: settings, and the object graph that a process is built of."""
