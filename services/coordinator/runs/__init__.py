"""Runs: triggers that somebody or something pulled, and what became of them."""
