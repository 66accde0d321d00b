"""HTTP: thin handlers over the service functions. Every body is in SHAPES or documented beside its handler."""
