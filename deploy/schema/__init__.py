"""The schema as the migrations leave it, written down: shared/db/schema.sql and docs/schema.md."""
