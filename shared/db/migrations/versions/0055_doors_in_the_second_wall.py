"""What the API's role may call, and what rows name, is confined to a tenant like the rows themselves."""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent.parent / "sql" / "0055_doors_in_the_second_wall.sql"


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute(SQL.read_text()))
