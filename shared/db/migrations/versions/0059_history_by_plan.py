"""What is replaced is kept by statements that are planned once."""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0059_history_by_plan.sql"


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(SQL.read_text()))
