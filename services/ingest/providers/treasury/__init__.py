"""The US Treasury."""
