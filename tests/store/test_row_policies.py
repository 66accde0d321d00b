"""The second wall, table by table: what the API's role sees without a tenant, with a wrong one, with one, and with all; and that no
other role is confined."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, LOGINS, OWNER, role_of
from tests.support.databases import act_as
from tests.support.tenant_rows import CHANGED_FOR_ALL, WHOLE, count_seen, count_touched, fill_for_two, tables


@pytest.fixture
async def filled(db: AsyncConnection) -> dict[str, UUID]:
    return await fill_for_two(db)


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
        if name in CHANGED_FOR_ALL:
            assert sorted(each.cmd for each in mine) == ["DELETE", "INSERT", "SELECT", "UPDATE"], name
            assert not [each for each in mine if "true" in (each.qual, each.with_check)], name
        elif name not in WHOLE:
            assert [(each.permissive, each.cmd) for each in mine] == [("PERMISSIVE", "ALL")], name
            # What is written may be asked for more than what is read.
            assert mine[0].qual != "true", name
            assert mine[0].qual[1:-1] in mine[0].with_check, name
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
            assert await count_seen(db, name, setting) == 0, (name, setting)
        everything = await count_seen(db, name, "*")
        assert everything >= 2, name
        for tenant in filled.values():
            expected = 0 if name in WHOLE else 1
            assert await count_seen(db, name, str(tenant)) == expected, name
        assert await db.scalar(text(f"SELECT count(*) FROM {name}")) == everything


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
            assert await count_touched(db, API, f"DELETE FROM {name} WHERE \"{column}\" = '{b}'", a) == 0, name
            own = 0 if name in CHANGED_FOR_ALL else 1
            assert await count_touched(db, API, f"DELETE FROM {name} WHERE \"{column}\" = '{b}'", b) == own, name
            assert await count_touched(db, API, f"DELETE FROM {name} WHERE \"{column}\" = '{b}'", "*") == 1, name
            await db.execute(text("SET LOCAL session_replication_role = origin"))
        if "UPDATE" in may:
            assert (
                await count_touched(db, API, f'UPDATE {name} SET "{whose}" = "{whose}" WHERE "{column}" = \'{b}\'', a)
                == 0
            ), name
            # Nor is one's own given away.
            given = await count_touched(db, API, f"UPDATE {name} SET \"{whose}\" = '{b}' WHERE \"{column}\" = '{a}'", a)
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
