"""Tiingo."""
