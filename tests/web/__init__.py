"""The page in a real browser, on a running Leadline with computed figures."""
