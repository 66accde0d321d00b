"""A database that an old version left, with what it had computed, is brought to today's schema: nothing is lost, nothing differs."""

from __future__ import annotations

import asyncio
import lzma
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.embedded import postgres
from shared.db.engine import create_engine
from shared.db.migrate import head, upgrade
from shared.db.roles import OWNERS
from tests.support import databases
from tests.support.databases import PASSWORDS, Database, Server

DATA = Path(__file__).parents[1] / "data" / "upgrade"
Columns = dict[str, list[str]]


# What a later version keeps elsewhere: by the day it was true of.
MOVED = {"ingest.symbols": {"asset_type", "name", "sector", "industry", "sector_as_of"}}


@pytest.fixture(params=sorted(path.name for path in DATA.glob("*.sql.xz")))
async def old(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The database as the version of that revision left it: schema, rights and rows, by PostgreSQL's own dump."""
    made = Database(databases.fresh_name(), server)
    await databases.execute(server.admin_url, f"CREATE DATABASE {made.name}")
    await asyncio.to_thread(_load, made, DATA / request.param)
    yield made
    await databases.drop(made)


def _load(database: Database, dump: Path) -> None:
    address = make_url(database.admin_url)
    done = subprocess.run(
        [
            *(postgres.binaries() / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.name),
            *("-h", str(address.host), "-p", str(address.port or 5432), "-U", str(address.username)),
        ],
        input=lzma.decompress(dump.read_bytes()),
        env=os.environ | {"PGPASSWORD": str(address.password)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


async def _columns(conn: AsyncConnection) -> Columns:
    """Columns of every table of ours, by table."""
    rows = await conn.execute(
        text("""
            SELECT n.nspname || '.' || c.relname, array_agg(quote_ident(a.attname) ORDER BY a.attnum)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY (:schemas)
            GROUP BY 1 ORDER BY 1
        """),
        {"schemas": list(OWNERS)},
    )
    return {str(table): list(names) for table, names in rows.all()}


async def _digests(conn: AsyncConnection, columns: Columns) -> dict[str, tuple[int, str]]:
    """Rows and a digest of each table, over the columns that are named."""
    found = {}
    for table, names in columns.items():
        row = (
            await conn.execute(
                text(
                    "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
                    f" FROM (SELECT {', '.join(names)} FROM {table}) t"
                )
            )
        ).one()
        found[table] = int(row[0]), str(row[1])
    return found


async def test_nothing_is_lost_and_nothing_differs(old: Database) -> None:
    engine = create_engine(old.admin_url, application="test", pool_size=1)
    async with engine.connect() as conn:
        columns = await _columns(conn)
        kept = {table: [one for one in names if one not in MOVED.get(table, ())] for table, names in columns.items()}
        before = await _digests(conn, kept)
    await engine.dispose()
    assert sum(rows for rows, _ in before.values()) > 300, "there is something to lose"
    assert await upgrade(old.admin_url, PASSWORDS) == head()
    async with engine.connect() as conn:
        now = await _columns(conn)
        gone = {table: set(names) - set(now.get(table, ())) for table, names in columns.items()}
        assert {table: names for table, names in gone.items() if names} == MOVED
        assert await _digests(conn, kept) == before
    await engine.dispose()


async def test_it_is_as_if_it_had_always_been_new(old: Database, database: Database) -> None:
    """The way there leaves no trace: tables, columns, rights and constraints are those of a database made today."""
    await upgrade(old.admin_url, PASSWORDS)
    shapes = []
    for one in (old, database):
        engine = create_engine(one.admin_url, application="test", pool_size=1)
        async with engine.connect() as conn:
            shapes.append({table: sorted(names) for table, names in (await _columns(conn)).items()})
        await engine.dispose()
    assert shapes[0] == shapes[1]
