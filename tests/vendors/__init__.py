"""Long runs against vendors that are slow or fail: `python -m tests.vendors`."""
