"""The five services' schemas, the ledger and the bus.

The tables are SQL files, one an owner: most of what makes them right (partial indexes, policies, partitions, triggers) has no
other faithful spelling. See docs/decisions.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

from shared.db.roles import OWNERS, grants

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql"
FIRST_YEAR, LAST_YEAR = 1990, 2035
PARTITIONED = ("ingest.prices", "factors.exposures", "factors.metrics")


def upgrade() -> None:
    for schema in OWNERS:
        op.execute(f"CREATE SCHEMA {schema}")
    for schema in ("bus", "ledger", "coordinator", "ingest", "factors", "snapshots", "risk"):
        # A file is many statements, which the driver takes only in its simple protocol.
        driver = op.get_bind().connection.driver_connection
        assert driver is not None
        await_only(driver.execute((SQL / f"0001_{schema}.sql").read_text()))
    for table in PARTITIONED:
        # By year: a night touches one partition, an onboarding a few, and old years can be detached whole.
        for year in range(FIRST_YEAR, LAST_YEAR + 1):
            op.execute(
                f"CREATE TABLE {table}_{year} PARTITION OF {table} FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
            )
        op.execute(
            f"CREATE TABLE {table}_later PARTITION OF {table} FOR VALUES FROM ('{LAST_YEAR + 1}-01-01') TO (MAXVALUE)"
        )
    for statement in grants():
        op.execute(statement)
