"""Sector weights of benchmarks: what the user gives, which of them is compared with, and what a change makes necessary."""
