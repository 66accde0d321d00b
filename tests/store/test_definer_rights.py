"""A function that runs as its owner is a door: nobody but those it was made for may call it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.databases import act_as
from tests.support.ledger import SESSIONS

RESULT = """INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk)
            VALUES (:p, :s, :r, '1', 'complete', 1, '{}')
            ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, risk = excluded.risk"""


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
