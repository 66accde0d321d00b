"""Value types that compute, store and providers share. No I/O, no logic beyond a property."""
