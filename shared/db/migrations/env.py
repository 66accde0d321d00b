"""Alembic's entry point. The connection is handed over by `shared.db.migrate`; there is no offline mode."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=None, version_table_schema="public", transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
