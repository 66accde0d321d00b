"""Figures the coordinator computes from stored results. Pure."""
