"""Who migrates is no superuser, and what a superuser left behind gets its owner."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared.db.bootstrap import bootstrap
from shared.db.engine import create_engine
from shared.db.migrate import head, upgrade
from shared.db.roles import MIGRATOR, OWNER, OWNERS
from shared.errors import ConfigurationError
from tests.support import databases
from tests.support.databases import PASSWORDS, Database, Server, upgrade_to

PASSWORD = "test-migrator"


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[Database]:
    created = await databases.create_empty(server)
    yield created
    await databases.drop(created)


def as_migrator(database: Database) -> str:
    url = make_url(database.admin_url).set(username=MIGRATOR, password=PASSWORD)
    return url.render_as_string(hide_password=False)


async def owners(database: Database) -> set[str]:
    """Whom schemas, relations, functions and enumerations of ours belong to."""
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    try:
        async with engine.connect() as conn:
            found = await conn.scalars(
                text("""SELECT DISTINCT owner::regrole::text FROM (
                            SELECT nspowner AS owner FROM pg_namespace WHERE nspname = ANY (:schemas)
                            UNION ALL SELECT relowner FROM pg_class WHERE relnamespace::regnamespace::text = ANY (:schemas)
                            UNION ALL SELECT relowner FROM pg_class WHERE oid = 'public.alembic_version'::regclass
                            UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace::regnamespace::text = ANY (:schemas)
                            UNION ALL SELECT typowner FROM pg_type WHERE typnamespace::regnamespace::text = ANY (:schemas)
                        ) found"""),
                {"schemas": list(OWNERS)},
            )
            return set(found)
    finally:
        await engine.dispose()


async def test_who_migrates_is_no_superuser(empty: Database) -> None:
    """From nothing to the newest revision, passwords of roles included."""
    for _ in range(2):
        await bootstrap(empty.admin_url, PASSWORD)
    engine = create_engine(as_migrator(empty), application="test", pool_size=4)
    async with engine.connect() as conn:
        flags = await conn.execute(
            text("""SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles
                    WHERE rolname = CURRENT_USER""")
        )
        assert tuple(flags.one()) == (False, True, False, False, False)
    await engine.dispose()
    for _ in range(2):
        assert await upgrade(as_migrator(empty), PASSWORDS) == head()
    assert await owners(empty) == {OWNER}


async def test_what_a_superuser_left_gets_its_owner(empty: Database) -> None:
    await bootstrap(empty.admin_url, PASSWORD)
    engine = create_engine(empty.admin_url, application="test", pool_size=4)
    async with engine.begin() as conn:
        await upgrade_to(conn, "0022")
    await engine.dispose()
    assert OWNER not in await owners(empty)
    with pytest.raises(ConfigurationError, match=r"shared\.db\.bootstrap"):
        await upgrade(as_migrator(empty))
    await bootstrap(empty.admin_url, PASSWORD)
    assert await owners(empty) == {OWNER}
    assert await upgrade(as_migrator(empty)) == head()
    assert await owners(empty) == {OWNER}


async def test_a_database_that_is_anothers_is_said_before_anything_is_done(empty: Database) -> None:
    await bootstrap(empty.admin_url, PASSWORD)
    name = empty.name
    await databases.execute(
        empty.admin_url,
        f"ALTER DATABASE {name} OWNER TO CURRENT_USER",
        f"REVOKE CREATE ON DATABASE {name} FROM {OWNER}",
    )
    with pytest.raises(ConfigurationError, match="does not own it"):
        await upgrade(as_migrator(empty))
