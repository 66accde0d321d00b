"""The secured servers."""

from tests.support.secured_fixtures import authority, restricted_kafka, secured_kafka, secured_postgres

__all__ = ["authority", "restricted_kafka", "secured_kafka", "secured_postgres"]
