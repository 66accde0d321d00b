"""The schema as it is written down is the one that the migrations lead to."""

from __future__ import annotations

import re

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.schema import catalogue, documents, statements
from deploy.schema.tables import SCHEMAS, TABLES
from shared.db.engine import create_engine
from shared.db.migrate import head
from shared.db.roles import OWNERS
from tests.support import databases
from tests.support.databases import Database, Server


async def test_the_committed_documents_are_what_the_migrations_lead_to(db: AsyncConnection) -> None:
    assert await documents.drift(db) == []


CHANGES = {
    "ALTER TABLE ledger.units ADD COLUMN extra integer": "    extra              integer",
    "ALTER TABLE coordinator.flows ALTER COLUMN note SET NOT NULL": "    note         text NOT NULL",
    "ALTER TABLE coordinator.flows ADD CONSTRAINT never CHECK (note <> 'never')": "    CONSTRAINT never CHECK",
    "ALTER TABLE risk.results ALTER COLUMN betas SET STORAGE MAIN": "ALTER TABLE risk.results ALTER betas SET STORAGE MAIN;",
    "ALTER TABLE risk.scenario_choice ENABLE ROW LEVEL SECURITY": "ALTER TABLE risk.scenario_choice ENABLE ROW LEVEL SECURITY;",
    "CREATE INDEX one_more ON ingest.gaps (last)": "CREATE INDEX one_more ON ingest.gaps",
    "CREATE OR REPLACE FUNCTION ledger.order_lock() RETURNS void LANGUAGE sql AS 'SELECT 1'": "AS $function$SELECT 1$function$",
    "GRANT EXECUTE ON FUNCTION ledger.require TO PUBLIC": "",
    "GRANT UPDATE (required_revision) ON ledger.units TO leadline_risk": "UPDATE (required_revision) ON TABLE ledger.units TO",
    "GRANT INSERT ON ingest.prices_2035 TO leadline_risk": "ON TABLE ingest.prices_2035 TO",
    "CREATE POLICY one_more ON ledger.units TO leadline_risk USING (false)": "CREATE POLICY one_more ON ledger.units",
    "CREATE TABLE risk.one_more PARTITION OF ingest.prices FOR VALUES FROM ('1980-01-01') TO ('1990-01-01')": "risk.one_more PARTITION OF",
    "ALTER TYPE ledger.phase ADD VALUE 'more'": "'risk', 'more')",
    "CREATE SEQUENCE ledger.more AS integer START WITH 7": "CREATE SEQUENCE ledger.more AS integer START WITH 7;",
}
GONE = {
    "DROP POLICY own_phase_risk ON ledger.schedule": "CREATE POLICY own_phase_risk ON ledger.schedule",
    "DROP TRIGGER keep_price ON ingest.prices": "CREATE TRIGGER keep_price",
    "DROP VIEW snapshots.positions": "CREATE VIEW snapshots.positions",
}


async def test_what_a_migration_changes_is_seen(db: AsyncConnection) -> None:
    """Each of these alone leaves a line of its own, or takes one away."""
    before = statements.render(await catalogue.read(db), head())
    for change in (*CHANGES, *GONE):
        await db.execute(text(change))
    after = statements.render(await catalogue.read(db), head())
    assert [line for line in CHANGES.values() if line and (line in before or line not in after)] == []
    assert [line for line in GONE.values() if line not in before or line in after] == []
    closed = [text_.count("REVOKE EXECUTE ON FUNCTION ledger.require") for text_ in (before, after)]
    assert closed == [1, 0], "what everybody may execute"


async def test_the_written_schema_makes_the_same_database(server: Server, db: AsyncConnection) -> None:
    """So it leaves out nothing that it depends on. One partition of a table is like another: the first will do."""
    lines = documents.SCHEMA.read_text(encoding="utf-8").splitlines()
    fewer = [line for line in lines if " PARTITION OF " not in line or "_1990 " in line]
    assert len(lines) - len(fewer) > 100
    name = databases.fresh_name()
    await databases.execute(server.admin_url, f"CREATE DATABASE {name}")
    made = Database(name, server)
    try:
        await databases.execute(made.admin_url, "\n".join(fewer))
        engine = create_engine(made.admin_url, application="test", pool_size=1)
        async with engine.begin() as conn:
            again = statements.render(await catalogue.read(conn), head()).splitlines()
        await engine.dispose()
    finally:
        await databases.drop(made)
    # PostgreSQL flattens nested ANDs when it reads an expression that it has written.
    assert [re.sub("[()]", "", line) for line in again] == [re.sub("[()]", "", line) for line in fewer]


async def test_every_table_is_explained(db: AsyncConnection) -> None:
    found = await catalogue.read(db)
    assert sorted(SCHEMAS) == sorted(OWNERS)
    assert sorted(TABLES) == sorted(
        relation.name for relation in found.relations if not relation.name.startswith("public.")
    )
