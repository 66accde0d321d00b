"""Migrations as a job: `python -m shared.db.migrate`. Creates roles, then upgrades to head. Idempotent.

Environment: LEADLINE_ADMIN_DATABASE_URL (a role that may create roles and owns the database: the migrator of
`shared.db.bootstrap`, or a superuser) and LEADLINE_<NAME>_PASSWORD for each of the five services and for the API; a role
without a password in the environment keeps the one it has. Whoever connects, migrations run as the owner of the objects.
Each may stand in a file that the variable with `_FILE` behind it names.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import locks, ownership
from shared.db.engine import create_engine
from shared.db.roles import LOGINS, OWNER
from shared.errors import ConfigurationError
from shared.settings import read_secret

MIGRATIONS = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@cache
def head() -> str:
    """The newest revision this code knows. Read once: it takes longer than all else of an answer to `/readyz`, on the event loop."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upgrade(url: str, passwords: Mapping[str, str] | None = None) -> str:
    """Create the roles, migrate to head as the owner, return the revision reached. `url` is an administrator's.

    passwords : by service, `api` among them; a role without one keeps what it has
    """
    engine = create_engine(url, application="leadline-migrate", pool_size=4)
    try:
        async with engine.begin() as conn:
            # Two migrate jobs at once (a rolling deploy) must not race; the lock is the whole database's.
            await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.MIGRATION})
            await ownership.create_roles(conn, passwords or {})
            await ownership.give_to_owner(conn)
            # Not with the rights of an administrator, who may be a superuser.
            await conn.execute(text(f"SET LOCAL ROLE {OWNER}"))
            # A migration answers for what it writes; services wait for it (`ledger.refuse_unordered`).
            await conn.execute(text("SELECT set_config('leadline.ordered', 'yes', true)"))
            await conn.run_sync(_upgrade)
    finally:
        await engine.dispose()
    return head()


async def at_head(engine: AsyncEngine) -> bool:
    """Whether this code can work on the database's schema: its own, or a newer one, for migrations only add (decision 0051).

    Old processes go on while new ones take their place, and a release can be taken back without touching the database.
    """
    async with engine.connect() as conn:
        exists = await conn.scalar(text("SELECT to_regclass('public.alembic_version') IS NOT NULL"))
        if not exists:
            return False
        current: object = await conn.scalar(text("SELECT version_num FROM public.alembic_version"))
        # Revisions are numbers of one width, in one line.
        return current is not None and str(current) >= head()


def main() -> None:
    url = read_secret("LEADLINE_ADMIN_DATABASE_URL")
    if not url:
        raise ConfigurationError("LEADLINE_ADMIN_DATABASE_URL is not set: give the URL of a role that may create roles")
    found = {service: read_secret(f"LEADLINE_{service.upper()}_PASSWORD") for service in LOGINS}
    passwords = {service: password for service, password in found.items() if password is not None}
    sys.stdout.write(f"migrated to {asyncio.run(upgrade(url, passwords))}\n")


if __name__ == "__main__":
    main()
