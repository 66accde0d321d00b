"""Processes that are killed, servers that go away, and what must be true afterwards."""
