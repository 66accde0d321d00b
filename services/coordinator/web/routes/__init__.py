"""Thin handlers: read what the API reads, in one snapshot; write through what the API writes through, then redirect."""
