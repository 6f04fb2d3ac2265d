"""The key ceremony: it founds a CA under a root, can be interrupted after each step, and writes a transcript."""
