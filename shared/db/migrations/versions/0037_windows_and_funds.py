"""Windows of scenario files, and what funds hold."""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

revision = "0037"
down_revision = "0034"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0037_windows_and_funds.sql"


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(SQL.read_text()))
