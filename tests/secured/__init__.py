"""Kafka with SASL and TLS, PostgreSQL with TLS and client certificates: `make secured`, a few minutes. Not part of `make test`."""
