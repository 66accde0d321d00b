"""Two tenants with a row in each table that is a tenant's, and what a role sees and changes of them."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, OWNERS
from tests.support.databases import act_as

# Rows that only the installation's operator reads.
WHOLE = {"bus.dead_letters", "bus.outbox"}
# Without a portfolio or tenant in them: by what they belong to.
BESIDE = {
    "coordinator.import_lots": "import_id", "coordinator.notifications": "webhook_id", "coordinator.tenants": "id",
    "coordinator.users": "id",
}  # fmt: skip
# Of these a tenant sees its own, and only the installation's operator changes any.
CHANGED_FOR_ALL = {"coordinator.tenants", "coordinator.users"}
VALUES = {
    "phase": "'risk'", "role": "'reader'", "state": "'kept'", "op": "'>'", "kind": "'buy'", "source": "'admin'", "what": "'all'",
    "digest": "decode(md5(random()::text) || md5(random()::text), 'hex')", "event": "'test'", "quantity": "1", "equity_balance": "1",
    "investment_class": "'PUBLIC'", "units": "1", "quality": "'complete'", "value": "1", "coverage": "1", "required_revision": "1",
    "revision": "1", "amount": "1", "payload": "'{}'",
}  # fmt: skip
SPECIAL = {
    ("ledger.unit_runs", "state"): "'complete'",
    ("coordinator.imports", "kind"): "'positions'",
    ("coordinator.users", "kind"): "'service'",
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
        if name == "coordinator.portfolios":
            found[name] = "tenant_id"
        elif name in BESIDE or name in WHOLE:
            found[name] = BESIDE.get(name, "")
        elif "tenant_id" in columns or "portfolio_id" in columns:
            found[name] = "tenant_id" if "tenant_id" in columns else "portfolio_id"
    return found


async def referring(db: AsyncConnection, name: str) -> list[str]:
    """The columns of a table that hold an id: its own, and those of what it names."""
    found = await db.scalars(
        text("""
            SELECT attname::text FROM pg_attribute
            WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped AND atttypid = 'uuid'::regtype
        """),
        {"name": name},
    )
    return list(found)


async def columns_to_fill(db: AsyncConnection, name: str) -> list[tuple[str, str]]:
    rows = await db.execute(
        text("""
            SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
              AND attidentity = '' AND attgenerated = ''
        """),
        {"name": name},
    )
    return [(column, kind) for column, kind in rows]


def value_for(name: str, column: str, kind: str) -> str:
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


async def fill_for_two(db: AsyncConnection) -> dict[str, UUID]:
    """Two tenants with a row in each table; the ids of the first one, `a`, and the second. All that a tenant has is called as it is."""
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
            if name in ("coordinator.tenants", "coordinator.portfolios"):
                continue
            await _fill(db, name, whose, tenant)
    await db.execute(text("SET LOCAL session_replication_role = origin"))
    return ids


async def _fill(db: AsyncConnection, name: str, whose: str, owner: UUID) -> None:
    """A row of the owner. What it refers to need not be there, nor any trigger be content."""
    values = {column: value_for(name, column, kind) for column, kind in await columns_to_fill(db, name)}
    if whose:
        values[whose] = f"'{owner}'"
    references = await referring(db, name)
    values |= {column: f"'{owner}'" for column in references if column in values}
    if "id" in references:
        values["id"] = f"'{owner}'"
    listed = ", ".join(f'"{column}"' for column in values)
    await db.execute(text(f"INSERT INTO {name} ({listed}) VALUES ({', '.join(values.values())})"))


def settings_of(ids: dict[str, UUID], *, of: str) -> list[str | None]:
    """What a transaction that is not the tenant's may have been told: nothing, what is no tenant, one that is not, and another's."""
    other = next(tenant for name, tenant in ids.items() if name != of)
    return [None, "", "house", "**", str(uuid4()), str(ids[of])[:-1], str(other)]


async def count_seen(db: AsyncConnection, name: str, setting: str | None) -> int:
    """How many rows the API's role sees while `leadline.tenant` is that, or nothing."""
    savepoint = await db.begin_nested()
    try:
        if setting is not None:
            await db.execute(text("SELECT set_config('leadline.tenant', :value, true)"), {"value": setting})
        await act_as(db, API)
        return int(await db.scalar(text(f"SELECT count(*) FROM {name}")) or 0)
    finally:
        await savepoint.rollback()


async def count_touched(db: AsyncConnection, role: str, statement: str, tenant: UUID | str | None) -> int | str:
    """How many rows, or the code of the refusal; nothing of it stays."""
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
