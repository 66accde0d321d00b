"""Random lives of the whole machinery, kept against what must always be true."""
