"""The handler of every phase, what wakes it, and what of a run failed."""
