"""FRED, the database of the Federal Reserve Bank of St. Louis."""
