"""A function that runs as its owner is a door: nobody but those it was made for may call it, and for the API's role it does, and tells,
what is the tenant's alone. Each that the role may call is tried without a tenant, with a wrong one and with another's."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, role_of
from tests.support.databases import Database, act_as
from tests.support.ledger import SESSIONS
from tests.support.tenant_rows import count_touched, fill_for_two, settings_of

RESULT = """INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk)
            VALUES (:p, :s, :r, '1', 'complete', 1, '{}')
            ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, risk = excluded.risk"""
REFUSED = "42501"
# By signature: a call, with {p} a portfolio, user or run of the tenant that is named; and what it is about.
DAYS = "DATE '2020-12-30', DATE '2020-12-29', DATE '2020-12-31', 1"
OF_A_TENANT = {
    "ledger.require(uuid[],date[],date[],ledger.phase[],bigint)": "SELECT * FROM ledger.require(ARRAY[CAST('{p}' AS uuid)], "
    "ARRAY[DATE '2020-12-01'], ARRAY[DATE '2020-12-31'], ARRAY['risk'::ledger.phase], 999)",
    "ledger.withdraw(uuid,date)": "SELECT ledger.withdraw('{p}', DATE '2021-06-01')",
}
OF_ALL = {
    "ledger.withdraw_session(date)": "SELECT ledger.withdraw_session(DATE '2020-12-30')",
    "ingest.close_day(date,date,date,bigint)": f"SELECT ingest.close_day({DAYS})",
    "ingest.open_day(date,date,date,bigint)": f"SELECT ingest.open_day({DAYS})",
}
# These answer instead of changing: how many rows, of something of the tenant's.
TELLING = {
    "coordinator.tell_run(uuid)": "SELECT * FROM coordinator.tell_run('{p}')",
    "coordinator.may_join(uuid)": "SELECT WHERE coordinator.may_join('{p}')",
}


@pytest.fixture
async def filled(db: AsyncConnection) -> dict[str, UUID]:
    return await fill_for_two(db)


async def test_no_function_that_runs_as_its_owner_is_everybodys(db: AsyncConnection) -> None:
    """Whatever the schema, whatever it returns: a null `proacl` is the default, and the default is everybody."""
    definers = await db.execute(
        text("""SELECT p.oid::regprocedure::text AS name,
                       EXISTS (SELECT 1 FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                               WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') AS everybodys
                FROM pg_proc p WHERE p.prosecdef ORDER BY 1""")
    )
    found = {row.name: row.everybodys for row in definers}
    assert "ledger.keep_history()" in found
    assert [name for name, everybodys in found.items() if everybodys] == []


async def test_a_service_cannot_make_its_own_trigger_run_as_the_histories_owner(db: AsyncConnection) -> None:
    """The insert that `keep_history` does would fire a trigger of the caller's with the rights of the function's owner."""
    await act_as(db, "risk")
    for statement in (
        "CREATE TEMP TABLE mine (revision bigint)",
        "CREATE TEMP TABLE mine_history (revision bigint, replaced_at timestamptz)",
        "CREATE TEMP TABLE who (name text, super boolean)",
        """CREATE FUNCTION pg_temp.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO who SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user; RETURN NEW; END $$""",
        "CREATE TRIGGER tell BEFORE INSERT ON mine_history FOR EACH ROW EXECUTE FUNCTION pg_temp.tell()",
    ):
        await db.execute(text(statement))
    with pytest.raises(ProgrammingError, match="permission denied for function"):
        await db.execute(
            text(
                "CREATE TRIGGER k AFTER DELETE ON mine FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('mine_history')"
            )
        )


async def test_the_history_of_a_result_still_fills_when_its_owner_writes_it_again(db: AsyncConnection) -> None:
    portfolio = uuid4()
    await act_as(db, "risk")
    for revision in (3, 5):
        await db.execute(text(RESULT), {"p": portfolio, "s": SESSIONS[0], "r": revision})
    kept = await db.execute(text("SELECT revision FROM risk.results_history WHERE portfolio_id = :p"), {"p": portfolio})
    assert kept.scalars().all() == [3]


async def test_what_each_table_replaces_is_kept_by_a_statement_of_its_own(db: AsyncConnection) -> None:
    """One made of text would be parsed and planned for each row; and the one that is named goes to the trigger's own history."""
    source = str(await db.scalar(text("SELECT prosrc FROM pg_proc WHERE oid = 'ledger.keep_history'::regproc")))
    kept = await db.execute(
        text("""SELECT t.tgrelid::regclass::text,
                       n.nspname || '.' || convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1), 'UTF8')
                FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE t.tgfoid = 'ledger.keep_history'::regproc ORDER BY 1""")
    )
    tables = {row[0]: row[1] for row in kept}
    assert len(tables) == 3
    plain = " ".join(source.split())
    for table, history in tables.items():
        assert f"WHEN '{table}' THEN INSERT INTO {history} SELECT OLD.*, clock_timestamp();" in plain


async def test_every_function_that_runs_as_its_owner_is_tried(db: AsyncConnection) -> None:
    found = await db.scalars(
        text("""
            SELECT p.pronamespace::regnamespace || '.' || p.proname || '('
                   || array_to_string(ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) t), ',') || ')' FROM pg_proc p
            WHERE p.prosecdef AND has_function_privilege(:role, p.oid, 'EXECUTE')
        """),
        {"role": role_of(API)},
    )
    assert set(found) == {*OF_A_TENANT, *OF_ALL, *TELLING}


async def test_functions_change_nothing_for_whom_it_is_not(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    b = filled["b"]
    for call in OF_A_TENANT.values():
        statement = call.format(p=b)
        for setting in settings_of(filled, of="b"):
            assert await count_touched(db, API, statement, setting) == REFUSED, (statement, setting)
        # Nor in one call with what is one's own.
        both = statement.replace(f"ARRAY[CAST('{b}' AS uuid)]", f"ARRAY[CAST('{filled['a']}' AS uuid), '{b}']")
        assert await count_touched(db, API, both, filled["a"]) == REFUSED, both
        for setting in (str(b), "*"):
            assert await count_touched(db, API, statement, setting) == 1, (statement, setting)
        assert await count_touched(db, "coordinator", statement, None) == 1, statement
    for statement in OF_ALL.values():
        for setting in (*settings_of(filled, of="b"), str(b)):
            assert await count_touched(db, API, statement, setting) == REFUSED, (statement, setting)
        assert await count_touched(db, API, statement, "*") == 1, statement
        assert await count_touched(db, "coordinator", statement, None) == 1, statement


async def test_functions_tell_nothing_to_whom_it_is_not(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    a, b = filled["a"], filled["b"]
    for call in TELLING.values():
        statement = call.format(p=b)
        for setting in settings_of(filled, of="b"):
            assert await count_touched(db, API, statement, setting) == 0, (statement, setting)
        for setting in (str(b), "*"):
            assert await count_touched(db, API, statement, setting) == 1, (statement, setting)
    # A run over several tenants is told to those whose portfolios it required anything of.
    await db.execute(text("UPDATE coordinator.runs SET tenant_id = NULL WHERE id = :b"), {"b": b})
    tell = TELLING["coordinator.tell_run(uuid)"].format(p=b)
    assert [await count_touched(db, API, tell, setting) for setting in (str(a), str(b), "*", None)] == [0, 1, 1, 0]
    assert await count_touched(db, "coordinator", tell, None) == 1


async def test_who_connects_as_the_api_is_asked_too(database: Database) -> None:
    """Inside such a function the current user is its owner: it asks who connected, as it does who the connection acts as above."""
    conn = await asyncpg.connect(database.url(API))
    try:
        for statement in (*OF_A_TENANT.values(), *OF_ALL.values()):
            for setting in ("", "*"):
                transaction = conn.transaction()
                await transaction.start()
                await conn.execute("SELECT ledger.order_lock(), set_config('leadline.tenant', $1, true)", setting)
                try:
                    await conn.execute(statement.format(p=uuid4()))
                    assert setting == "*", statement
                except asyncpg.InsufficientPrivilegeError:
                    assert setting == "", statement
                finally:
                    await transaction.rollback()
    finally:
        await conn.close()


async def test_a_refusal_names_the_remedy(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    for call in (*OF_A_TENANT.values(), *OF_ALL.values()):
        savepoint = await db.begin_nested()
        await db.execute(text("SELECT ledger.order_lock()"))
        await act_as(db, API)
        with pytest.raises(DBAPIError, match=r"none of the tenant|the whole installation") as caught:
            await db.execute(text(call.format(p=filled["b"])))
        assert "shared/db/tenancy.py" in str(getattr(getattr(caught.value.orig, "__cause__", None), "hint", "")), call
        await savepoint.rollback()
