"""HTTP: thin handlers over the service functions. Every body is documented beside its handler."""
