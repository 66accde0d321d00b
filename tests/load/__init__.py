"""A server under more load than it takes: `make load`."""
