"""Migrations as a job: `python -m shared.db.migrate`. Creates roles, then upgrades to head. Idempotent.

Environment: LEADLINE_ADMIN_DATABASE_URL (a role that may create roles and schemas) and LEADLINE_<SERVICE>_PASSWORD for
each of the five service roles; a role without a password in the environment keeps the one it has. Each may stand in a file that
the variable with `_FILE` behind it names.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db import locks
from shared.db.engine import create_engine
from shared.db.roles import SERVICES, role_of
from shared.errors import ConfigurationError
from shared.settings import read_secret

MIGRATIONS = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def head() -> str:
    """The newest revision this code knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


async def _create_roles(conn: AsyncConnection, passwords: Mapping[str, str]) -> None:
    for service in SERVICES:
        role = role_of(service)
        exists = await conn.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
        if not exists:
            await conn.execute(text(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"))
        if service in passwords:
            # Role passwords cannot be bound parameters; the literal is quoted and the statement is never logged.
            await conn.exec_driver_sql(f"ALTER ROLE {role} PASSWORD {_literal(passwords[service])}")


async def upgrade(url: str, passwords: Mapping[str, str] | None = None) -> str:
    """Create the service roles, migrate to head, return the revision reached. `url` is an administrator's."""
    engine = create_engine(url, application="leadline-migrate", pool_size=4)
    try:
        async with engine.begin() as conn:
            # Two migrate jobs at once (a rolling deploy) must not race; the lock is the whole database's.
            await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.MIGRATION})
            await _create_roles(conn, passwords or {})
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
    found = {service: read_secret(f"LEADLINE_{service.upper()}_PASSWORD") for service in SERVICES}
    passwords = {service: password for service, password in found.items() if password is not None}
    sys.stdout.write(f"migrated to {asyncio.run(upgrade(url, passwords))}\n")


if __name__ == "__main__":
    main()
