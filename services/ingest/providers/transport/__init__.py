"""HTTP to a vendor: address check, bounds, retries, reading of payloads."""
