"""A version of the prices: what was read of them may be kept for as long as it is the same."""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

revision = "0050"
down_revision = "0045"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0050_prices_version.sql"


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(SQL.read_text()))
