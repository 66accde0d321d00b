"""Limits on figures, and who is told when one is breached or kept again."""
