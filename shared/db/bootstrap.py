"""Once, as a superuser: `python -m shared.db.bootstrap` makes the role that runs migrations, which is none. Idempotent.

Environment: LEADLINE_SUPERUSER_DATABASE_URL and LEADLINE_MIGRATOR_PASSWORD. Afterwards no job of Leadline needs a superuser:
LEADLINE_ADMIN_DATABASE_URL of the migrate job is the migrator's. What an older version left with the superuser gets its owner.
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import text

from shared.db import locks, ownership
from shared.db.engine import create_engine
from shared.db.roles import LOGINS, MIGRATOR, OWNER, role_of
from shared.errors import ConfigurationError
from shared.settings import read_secret


async def bootstrap(url: str, password: str) -> None:
    """Make the migrator, give it the database and the roles to look after, and every object its owner. `url` is a superuser's."""
    engine = create_engine(url, application="leadline-bootstrap", pool_size=4)
    try:
        async with engine.begin() as conn:
            await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.MIGRATION})
            if not await ownership.role_exists(conn, MIGRATOR):
                await conn.execute(text(f"CREATE ROLE {MIGRATOR} LOGIN"))
            await conn.execute(
                text(f"ALTER ROLE {MIGRATOR} NOSUPERUSER CREATEROLE NOCREATEDB NOBYPASSRLS NOREPLICATION")
            )
            await ownership.set_password(conn, MIGRATOR, password)
            await ownership.create_roles(conn, {})
            for role in (OWNER, *map(role_of, LOGINS)):
                await conn.execute(text(f"GRANT {role} TO {MIGRATOR} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"))
            await conn.execute(text(f"GRANT {OWNER} TO {MIGRATOR} WITH SET TRUE"))
            database = await conn.scalar(text("SELECT quote_ident(current_database())"))
            await conn.execute(text(f"ALTER DATABASE {database} OWNER TO {MIGRATOR}"))
            await ownership.give_to_owner(conn)
    finally:
        await engine.dispose()


def main() -> None:
    url, password = read_secret("LEADLINE_SUPERUSER_DATABASE_URL"), read_secret("LEADLINE_MIGRATOR_PASSWORD")
    if not url or not password:
        raise ConfigurationError("set LEADLINE_SUPERUSER_DATABASE_URL and LEADLINE_MIGRATOR_PASSWORD")
    asyncio.run(bootstrap(url, password))
    sys.stdout.write(f"{MIGRATOR} can migrate\n")


if __name__ == "__main__":
    main()
