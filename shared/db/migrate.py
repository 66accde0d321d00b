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
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db import locks, ownership
from shared.db.engine import create_engine
from shared.db.roles import LOGINS, OWNER
from shared.errors import ConfigurationError
from shared.settings import read_secret

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def head() -> str:
    """The newest revision this code knows: revisions are numbers of one width, in one line, and their files begin with them.

    Not asked of Alembic: every service would load it, and compile every file, to answer `/readyz`.
    """
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _config() -> Config:
    # Slow imports, paid only where there is something to migrate.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _revision(conn: AsyncConnection) -> str | None:
    """The schema's; None before the first migration."""
    if not await conn.scalar(text("SELECT to_regclass('public.alembic_version') IS NOT NULL")):
        return None
    found: object = await conn.scalar(text("SELECT version_num FROM public.alembic_version"))
    return None if found is None else str(found)


async def upgrade(url: str, passwords: Mapping[str, str] | None = None) -> str:
    """Create the roles, migrate to head as the owner, return the revision reached. `url` is an administrator's.

    passwords : by service, `api` among them; a role without one keeps what it has

    Raises `ConfigurationError` where a newer version has migrated the database already: nothing is changed then.
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
            found = await _revision(conn)
            if found is not None and found > head():
                raise ConfigurationError(_too_new(found))
            if found != head():
                await conn.run_sync(_upgrade)
    finally:
        await engine.dispose()
    return head()


def _too_new(found: str) -> str:
    return (
        f"the database has schema {found}, and this version of Leadline knows {head()}: a newer version has migrated it. "
        "Start that version, or one after it (pip install --upgrade leadline; a newer image). To stay with this one, restore a "
        "backup from before the migration into an empty database, or an empty state directory: leadline restore PATH"
    )


async def at_head(engine: AsyncEngine) -> bool:
    """Whether this code can work on the database's schema: its own, or a newer one, for migrations only add (decision 0051).

    Old processes go on while new ones take their place, and a release can be taken back without touching the database.
    """
    async with engine.connect() as conn:
        found = await _revision(conn)
    return found is not None and found >= head()


def main() -> None:
    url = read_secret("LEADLINE_ADMIN_DATABASE_URL")
    if not url:
        raise ConfigurationError("LEADLINE_ADMIN_DATABASE_URL is not set: give the URL of a role that may create roles")
    found = {service: read_secret(f"LEADLINE_{service.upper()}_PASSWORD") for service in LOGINS}
    passwords = {service: password for service, password in found.items() if password is not None}
    sys.stdout.write(f"migrated to {asyncio.run(upgrade(url, passwords))}\n")


if __name__ == "__main__":
    main()
