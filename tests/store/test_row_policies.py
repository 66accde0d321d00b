"""The second wall, table by table: what the API's role sees without a tenant, with a wrong one, with one, and with all; and that no
other role is confined."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, LOGINS, OWNER, OWNERS, role_of
from tests.support.databases import act_as

# Rows that only the installation's operator reads.
WHOLE = {"bus.dead_letters", "bus.outbox"}
# Without a portfolio or tenant in them: by what they belong to.
BESIDE = {"coordinator.import_lots": "import_id", "coordinator.notifications": "webhook_id"}
# Whom they belong to is in `memberships`; what they are, every member is told.
OPEN = {"coordinator.tenants", "coordinator.users"}
VALUES = {
    "phase": "'risk'", "role": "'reader'", "state": "'kept'", "op": "'>'", "kind": "'buy'", "source": "'admin'", "what": "'all'",
    "digest": "decode(md5(random()::text) || md5(random()::text), 'hex')", "event": "'test'", "quantity": "1", "equity_balance": "1",
    "investment_class": "'PUBLIC'", "units": "1", "quality": "'complete'", "value": "1", "coverage": "1", "required_revision": "1",
    "revision": "1", "amount": "1", "payload": "'{}'",
}  # fmt: skip
SPECIAL = {
    ("ledger.unit_runs", "state"): "'complete'",
    ("coordinator.imports", "kind"): "'positions'",
}


async def tables(db: AsyncConnection) -> dict[str, str]:
    """Every table that has row policies for tenants, and the column that says whose a row is."""
    rows = await db.execute(
        text("""
            SELECT n.nspname || '.' || c.relname AS name, array_agg(a.attname::text) AS columns
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY 1 ORDER BY 1
        """),
        {"schemas": list(OWNERS)},
    )
    found = {}
    for name, columns in rows:
        if name in OPEN:
            continue
        if name == "coordinator.portfolios":
            found[name] = "tenant_id"
        elif name in BESIDE or name in WHOLE:
            found[name] = BESIDE.get(name, "")
        elif "tenant_id" in columns or "portfolio_id" in columns:
            found[name] = "tenant_id" if "tenant_id" in columns else "portfolio_id"
    return found


async def test_every_table_with_a_tenant_or_a_portfolio_has_its_policies(db: AsyncConnection) -> None:
    """So that a table that is added later cannot be forgotten. Whoever is none of the API's is confined by none of them."""
    found = await tables(db)
    assert len(found) > 30
    policies = await db.execute(
        text("""
            SELECT schemaname || '.' || tablename AS name, CAST(roles AS text[]) AS roles, permissive, cmd, qual, with_check
            FROM pg_policies
        """)
    )
    of: dict[str, list[Any]] = {}
    for policy in policies:
        of.setdefault(policy.name, []).append(policy)
    for name in found:
        mine = [each for each in of.get(name, []) if role_of(API) in each.roles]
        assert mine, name
        if name not in WHOLE:
            assert [(each.permissive, each.cmd) for each in mine] == [("PERMISSIVE", "ALL")], name
            assert mine[0].qual == mine[0].with_check != "true", name
        for role in (OWNER, *(role_of(login) for login in LOGINS if login != API)):
            open_to = [
                each
                for each in of[name]
                if role in each.roles and each.qual == "true" and each.cmd in ("ALL", "SELECT")
            ]
            assert open_to, (name, role)
    enabled = await db.scalars(
        text(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relrowsecurity AND NOT relforcerowsecurity AND relkind IN ('r', 'p')"
        )
    )
    assert set(enabled) >= set(found)
    forced = await db.scalar(text("SELECT count(*) FROM pg_class WHERE relforcerowsecurity"))
    assert forced == 0, "nobody who owns a table is confined by surprise"


async def _columns(db: AsyncConnection, name: str) -> list[tuple[str, str]]:
    rows = await db.execute(
        text("""
            SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
              AND attidentity = '' AND attgenerated = ''
        """),
        {"name": name},
    )
    return [(column, kind) for column, kind in rows]


def _value(name: str, column: str, kind: str) -> str:
    if (name, column) in SPECIAL:
        return SPECIAL[name, column]
    if column in VALUES and not kind.endswith("[]"):
        return VALUES[column]
    if kind.endswith("[]"):
        return f"CAST('{{}}' AS {kind})"
    for start, value in (
        ("uuid", "gen_random_uuid()"), ("date", "DATE '2020-12-30'"), ("timestamp", "now()"), ("json", "'{}'"),
        ("bytea", "'x'"), ("boolean", "false"), ("text", f"'{uuid4()}'"),
    ):  # fmt: skip
        if kind.startswith(start):
            return value
    return "0"


@pytest.fixture
async def filled(db: AsyncConnection) -> dict[str, UUID]:
    """Two tenants with a row in each table; the ids of the first one and the second."""
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    ids = {name: uuid4() for name in ("a", "b")}
    found = await tables(db)
    for tenant in ids.values():
        await db.execute(
            text("INSERT INTO coordinator.tenants (id, name) VALUES (:id, :name)"), {"id": tenant, "name": str(tenant)}
        )
        # One id for all that it is looked up by: tenant, portfolio, import and webhook are tables of their own.
        await db.execute(
            text(
                "INSERT INTO coordinator.portfolios (id, tenant_id, name, account_type, equity_balance) "
                "VALUES (:id, :id, 'x', 'taxable', 1)"
            ),
            {"id": tenant},
        )
        for name, whose in found.items():
            if name == "coordinator.portfolios":
                continue
            await _fill(db, name, whose, tenant)
    await db.execute(text("SET LOCAL session_replication_role = origin"))
    return ids


async def _fill(db: AsyncConnection, name: str, whose: str, owner: UUID) -> None:
    """A row of the owner. What it refers to need not be there, nor any trigger be content."""
    values = {column: _value(name, column, kind) for column, kind in await _columns(db, name)}
    if whose:
        values[whose] = f"'{owner}'"
    if name in {"coordinator.imports", "coordinator.webhooks"}:
        values["id"] = f"'{owner}'"
    listed = ", ".join(f'"{column}"' for column in values)
    await db.execute(text(f"INSERT INTO {name} ({listed}) VALUES ({', '.join(values.values())})"))


async def _seen(db: AsyncConnection, name: str, setting: str | None) -> int:
    savepoint = await db.begin_nested()
    try:
        if setting is not None:
            await db.execute(text("SELECT set_config('leadline.tenant', :value, true)"), {"value": setting})
        await act_as(db, API)
        return int(await db.scalar(text(f"SELECT count(*) FROM {name}")) or 0)
    finally:
        await savepoint.rollback()


async def test_without_a_tenant_or_with_a_wrong_one_there_is_no_row_of_any_table(
    db: AsyncConnection, filled: dict[str, UUID]
) -> None:
    for name in await tables(db):
        for setting in (
            None,
            "",
            "house",
            "**",
            "%",
            str(uuid4()),
            str(filled["a"])[:-1],
            str(filled["a"]).upper() + " ",
        ):
            assert await _seen(db, name, setting) == 0, (name, setting)
        everything = await _seen(db, name, "*")
        assert everything >= 2, name
        for tenant in filled.values():
            expected = 0 if name in WHOLE else 1
            assert await _seen(db, name, str(tenant)) == expected, name
        assert await db.scalar(text(f"SELECT count(*) FROM {name}")) == everything


async def _touched(db: AsyncConnection, role: str, statement: str, tenant: UUID | None) -> int | str:
    savepoint = await db.begin_nested()
    try:
        if tenant is not None:
            await db.execute(text("SELECT set_config('leadline.tenant', :value, true)"), {"value": str(tenant)})
        await db.execute(text("SELECT set_config('leadline.ordered', 'yes', true)"))
        await act_as(db, role)
        return int((await db.execute(text(statement))).rowcount)
    except DBAPIError as error:
        return str(getattr(error.orig, "sqlstate", ""))
    finally:
        await savepoint.rollback()


async def test_nothing_of_another_tenant_is_changed_deleted_or_written(
    db: AsyncConnection, filled: dict[str, UUID]
) -> None:
    a, b = filled["a"], filled["b"]
    refused = 0
    for name, whose in (await tables(db)).items():
        if not whose:
            continue
        rights = await db.execute(
            text("SELECT p, has_table_privilege(:role, :name, p) FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) p"),
            {"role": role_of(API), "name": name},
        )
        may = {privilege for privilege, held in rights if held}
        column = "id" if name == "coordinator.portfolios" else whose
        if "DELETE" in may and name not in {"coordinator.portfolios", "coordinator.imports", "coordinator.positions"}:
            await db.execute(text("SET LOCAL session_replication_role = replica"))
            assert await _touched(db, API, f"DELETE FROM {name} WHERE \"{column}\" = '{b}'", a) == 0, name
            assert await _touched(db, API, f"DELETE FROM {name} WHERE \"{column}\" = '{b}'", b) == 1, name
            await db.execute(text("SET LOCAL session_replication_role = origin"))
        if "UPDATE" in may:
            assert (
                await _touched(db, API, f'UPDATE {name} SET "{whose}" = "{whose}" WHERE "{column}" = \'{b}\'', a) == 0
            ), name
            # Nor is one's own given away.
            given = await _touched(db, API, f"UPDATE {name} SET \"{whose}\" = '{b}' WHERE \"{column}\" = '{a}'", a)
            assert given in ("42501", "23505", 0), (name, given)
            refused += given == "42501"
    assert refused > 10


@pytest.mark.parametrize("service", [name for name in LOGINS if name != API])
async def test_other_roles_see_every_row(db: AsyncConnection, filled: dict[str, UUID], service: str) -> None:
    assert filled
    for name in await tables(db):
        if not await db.scalar(
            text("SELECT has_table_privilege(:role, :name, 'SELECT')"), {"role": role_of(service), "name": name}
        ):
            continue
        everything = await db.scalar(text(f"SELECT count(*) FROM {name}"))
        savepoint = await db.begin_nested()
        await act_as(db, service)
        assert await db.scalar(text(f"SELECT count(*) FROM {name}")) == everything, name
        await savepoint.rollback()


async def test_what_runs_as_the_owner_still_touches_rows(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    """`require` raises, `keep_history` keeps, `withdraw` removes, and a backup, which reads as the owner, reads all."""
    of = filled["b"]
    call = """SELECT * FROM ledger.require(ARRAY[CAST(:p AS uuid)], ARRAY[DATE '2020-12-30'], ARRAY[DATE '2020-12-30'],
                                           ARRAY['risk'::ledger.phase], 99)"""
    savepoint = await db.begin_nested()
    await db.execute(text("SELECT set_config('leadline.ordered', 'yes', true)"))
    await act_as(db, "ingest")
    assert len((await db.execute(text(call), {"p": of})).all()) == 1
    await savepoint.rollback()
    for schema, table in (("risk", "results"), ("snapshots", "snapshots"), ("snapshots", "holdings")):
        savepoint = await db.begin_nested()
        before = await db.scalar(text(f"SELECT count(*) FROM {schema}.{table}_history"))
        await act_as(db, schema)
        await db.execute(
            text(f"UPDATE {schema}.{table} SET revision = revision + 1 WHERE portfolio_id = :p"), {"p": of}
        )
        await act_as(db, None)
        assert await db.scalar(text(f"SELECT count(*) FROM {schema}.{table}_history")) == before + 1, table
        await savepoint.rollback()
    savepoint = await db.begin_nested()
    await db.execute(text("SELECT ledger.order_lock()"))
    await act_as(db, "coordinator")
    await db.execute(text("SELECT ledger.withdraw(:p, DATE '2021-01-04')"), {"p": of})
    await act_as(db, None)
    for table in ("ledger.units", "snapshots.snapshots", "snapshots.holdings", "risk.results"):
        assert await db.scalar(text(f"SELECT count(*) FROM {table} WHERE portfolio_id = :p"), {"p": of}) == 0, table
    await savepoint.rollback()
    savepoint = await db.begin_nested()
    await db.execute(text(f"SET LOCAL ROLE {OWNER}"))
    # As pg_dump does: an error where a policy would hide a row.
    await db.execute(text("SET LOCAL row_security = off"))
    for name in await tables(db):
        assert await db.scalar(text(f"SELECT count(*) FROM {name}")) >= 2, name
    await savepoint.rollback()
