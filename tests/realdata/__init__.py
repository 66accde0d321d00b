"""Checks on years of real prices that may not be shipped; each is skipped, with the reason, where the folder is absent."""
