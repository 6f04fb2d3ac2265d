"""The key ceremony: founding a CA under a root, in steps that can be interrupted, with a transcript of each."""
