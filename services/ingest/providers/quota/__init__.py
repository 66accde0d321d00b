"""Limits of a vendor, shared by all replicas."""
