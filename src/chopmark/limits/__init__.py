"""Rate limits and counters: each is one conditional statement in the store."""
