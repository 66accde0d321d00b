"""Prices from a file, Parquet or CSV."""
