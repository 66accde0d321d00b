"""Runs: requested recomputations, and their progress."""
