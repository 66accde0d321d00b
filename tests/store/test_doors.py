"""The doors in the second wall, from the catalogue: what the API's role may read or write is either tried without a tenant, with a
wrong one and with another's, or named here with the reason why it is nobody's. What is added without either fails. Of functions that run
as their owner tests/store/test_definer_rights.py does the same."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, role_of
from tests.support.tenant_rows import (
    CHANGED_FOR_ALL,
    WHOLE,
    columns_to_fill,
    count_touched,
    fill_for_two,
    referring,
    settings_of,
    tables,
    value_for,
)

REFUSED = "42501"
MARKET = "a fact of the market: computed once for all, written by phases alone"
DECIDED = "a fact of the market that the installation's operator states; tried below: changed for all at once or not"
SHARED = {
    "public.alembic_version": "the revision of the schema",
    "coordinator.lookups": "questions about a symbol's price on a day, of nobody, for an hour; whoever asks again asks the same",
    "coordinator.versions": "of the programs; written by the loops alone",
    "ingest.chain": "which price sources there are", "ingest.providers": "how price sources are",
    "ingest.quota_uses": "how busy price sources are", "ingest.lookups": "answers to coordinator.lookups",
    "ingest.profile_schedule": "when a symbol is looked up next",
    "risk.scenario_choice": "the scenarios of the installation", "risk.scenario_sets": "the scenarios of the installation",
    "risk.stress_shocks": "the scenarios' shocks, by content",
} | dict.fromkeys(
    (
        "factors.exposures", "factors.metrics", "factors.proxies", "ingest.actions", "ingest.actions_history", "ingest.aliases",
        "ingest.candidates", "ingest.gaps", "ingest.prices", "ingest.prices_history", "ingest.prices_version", "ingest.quarantine",
        "ingest.statements", "ingest.symbol_profiles", "ingest.symbols", "ingest.yield_years", "ingest.yields",
        "ingest.yields_history",
    ), MARKET,
)  # fmt: skip
STATED = dict.fromkeys(
    (
        "coordinator.benchmarks", "coordinator.closures", "coordinator.fund_holdings", "coordinator.price_decisions",
        "coordinator.symbol_choices",
    ), DECIDED,
)  # fmt: skip
# Ids in rows of a tenant's that name nothing of a tenant's.
NO_REFERENCE = {
    ("coordinator.audit_log", "request_id"): "of the request itself",
    ("coordinator.audit_log", "user_id"): "whoever did it may be the installation's operator, who is no member",
    ("coordinator.audit_log", "token_id"): "the same",
    ("coordinator.notifications", "delivery"): "of the message itself",
    ("ledger.schedule", "asked"): "of an event",
}


@pytest.fixture
async def filled(db: AsyncConnection) -> dict[str, UUID]:
    return await fill_for_two(db)


async def _rights(db: AsyncConnection) -> dict[str, set[str]]:
    """What the API's role may do to each table and view there is, or to columns of it."""
    rows = await db.execute(
        text("""
            SELECT n.nspname || '.' || c.relname AS name, array_agg(p.privilege) AS held
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p (privilege)
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
              AND n.nspname !~ '^pg_(toast|temp)'
              AND CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE') THEN has_any_column_privilege(:role, c.oid, p.privilege)
                       ELSE has_table_privilege(:role, c.oid, p.privilege) END
            GROUP BY 1
        """),
        {"role": role_of(API)},
    )
    return {name: set(held) for name, held in rows}


async def test_every_table_is_a_tenants_or_is_named_with_its_reason(db: AsyncConnection) -> None:
    rights, own = await _rights(db), await tables(db)
    parents = {
        row.child: row.parent
        for row in await db.execute(
            text("""
                SELECT i.inhrelid::regclass::text AS child, n.nspname || '.' || c.relname AS parent FROM pg_inherits i
                JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'
            """)
        )
    }
    views = await db.scalars(
        text(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'v' AND 'security_invoker=true' = ANY (reloptions)"
        )
    )
    named = {*own, *SHARED, *STATED, *views}
    # A partition that is asked by its own name has its own policies, or none.
    assert [name for name in rights if parents.get(name, name) not in named] == []
    assert [name for name, parent in parents.items() if name in rights and parent in own] == []
    for name in SHARED:
        assert name in rights, f"{name} is not there any more"
        if name != "coordinator.lookups":
            assert rights[name] == {"SELECT"}, name


async def test_facts_of_the_market_are_changed_for_all_at_once(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    rights, tried = await _rights(db), 0
    for name in STATED:
        column, _ = (await columns_to_fill(db, name))[0]
        for privilege, statement in {
            "INSERT": f'INSERT INTO {name} ("{column}") SELECT "{column}" FROM {name} WHERE false',
            "UPDATE": f'UPDATE {name} SET "{column}" = "{column}" WHERE false',
            "DELETE": f"DELETE FROM {name} WHERE false",
        }.items():
            if privilege not in rights[name]:
                continue
            for setting in (*settings_of(filled, of="b"), str(filled["b"])):
                assert await count_touched(db, API, statement, setting) == REFUSED, (statement, setting)
            assert await count_touched(db, API, statement, "*") == 0, statement
            assert await count_touched(db, "coordinator", statement, None) == 0, statement
            tried += 1
    assert tried == 13


async def test_nothing_is_changed_without_reading_it_either(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    """A statement that reads no column is judged by no policy of reading."""
    rights, tried = await _rights(db), 0
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    for name in await tables(db):
        statements = []
        if "DELETE" in rights[name]:
            statements.append(f"DELETE FROM {name}")
        if "UPDATE" in rights[name]:
            column, kind = await _free_column(db, name)
            statements.append(f'UPDATE {name} SET "{column}" = {value_for(name, column, kind)}')
        for statement in statements:
            for setting in settings_of(filled, of="b")[:-1]:
                assert await count_touched(db, API, statement, setting) == 0, (statement, setting)
            expected = 0 if name in CHANGED_FOR_ALL | WHOLE else 1
            assert await count_touched(db, API, statement, str(filled["a"])) == expected, statement
            assert int(await count_touched(db, API, statement, "*")) >= 2, statement
            tried += 1
    assert tried > 45


async def _free_column(db: AsyncConnection, name: str) -> tuple[str, str]:
    """One that may be changed by itself: of no key, rule or check."""
    row = (
        await db.execute(
            text("""
                SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute a
                WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                  AND has_column_privilege(:role, attrelid, attnum, 'UPDATE')
                ORDER BY EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey)
                                                               AND c.contype <> 'n'),
                         attname IN ('portfolio_id', 'tenant_id', 'digest'), attnum DESC LIMIT 1
            """),
            {"name": name, "role": role_of(API)},
        )
    ).one()
    return row[0], row[1]


async def test_no_row_of_a_tenants_names_what_is_anothers(db: AsyncConnection, filled: dict[str, UUID]) -> None:
    """Each column that holds an id is pointed at the other tenant's: of the same table, portfolio, account, run, webhook or limit."""
    rights, tried = await _rights(db), set()
    a, b = filled["a"], filled["b"]
    await db.execute(text("SET LOCAL session_replication_role = replica"))
    for name, whose in (await tables(db)).items():
        if "INSERT" not in rights[name] or name in CHANGED_FOR_ALL | WHOLE:
            continue
        required = {column: value_for(name, column, kind) for column, kind in await columns_to_fill(db, name)}
        named = [
            column
            for column in await referring(db, name)
            if column not in ("id", whose) and (name, column) not in NO_REFERENCE
        ]
        own = required | dict.fromkeys((whose, *named), f"'{a}'")
        own.pop("id", None)
        for column in named:
            pointed = own | {column: f"'{b}'"}
            assert await count_touched(db, API, _insert(name, pointed), str(a)) == REFUSED, (name, column)
            if "UPDATE" in rights[name]:
                given = f"UPDATE {name} SET \"{column}\" = '{b}' WHERE \"{whose}\" = '{a}'"
                assert await count_touched(db, API, given, str(a)) == REFUSED, (name, column)
            tried.add((name, column))
        # And it is that, not something else, for which it was refused.
        assert await count_touched(db, API, _insert(name, own), str(a)) in (1, "23505"), name
    assert tried >= {
        ("coordinator.memberships", "user_id"), ("coordinator.tokens", "user_id"), ("coordinator.invitations", "accepted_by"),
        ("coordinator.run_units", "run_id"), ("coordinator.limits", "portfolio_id"), ("coordinator.limit_states", "limit_id"),
        ("coordinator.subscriptions", "webhook_id"), ("coordinator.trades", "import_id"), ("coordinator.import_lots", "position_id"),
    }  # fmt: skip


def _insert(name: str, values: dict[str, str]) -> str:
    columns = ", ".join(f'"{column}"' for column in values)
    return f"INSERT INTO {name} ({columns}) VALUES ({', '.join(values.values())})"


async def test_accounts_are_made_for_a_tenant_and_vouched_for_by_nobody(
    db: AsyncConnection, filled: dict[str, UUID]
) -> None:
    """Whom an OpenID provider vouches for is bound to an account by an invitation alone. An account that is new may join; one that
    somebody was removed from waits for an invitation."""
    plain = "INSERT INTO coordinator.users (id, kind) VALUES (gen_random_uuid(), 'person')"
    vouched = "INSERT INTO coordinator.users (id, kind, issuer, subject) VALUES (gen_random_uuid(), 'person', 'https://x', 's')"
    tenant = "INSERT INTO coordinator.tenants (name) VALUES ('another')"
    for setting in settings_of(filled, of="b")[:-1]:
        for statement in (plain, vouched, tenant):
            assert await count_touched(db, API, statement, setting) == REFUSED, (statement, setting)
    assert await count_touched(db, API, plain, filled["a"]) == 1
    for statement in (vouched, tenant):
        assert await count_touched(db, API, statement, filled["a"]) == REFUSED
        assert await count_touched(db, API, statement, "*") == 1
    new, left = uuid4(), uuid4()
    await db.execute(
        text("INSERT INTO coordinator.users (id, kind, created_at) VALUES (:new, 'person', DEFAULT), (:left, 'person', :then)"
             .replace(":then", "now() - interval '1 second'")),
        {"new": new, "left": left},
    )  # fmt: skip
    join = "INSERT INTO coordinator.memberships (user_id, tenant_id, name, role) VALUES ('{}', '{}', 'x', 'reader')"
    assert await count_touched(db, API, join.format(new, filled["a"]), filled["a"]) == 1
    assert await count_touched(db, API, join.format(left, filled["a"]), filled["a"]) == REFUSED
    assert await count_touched(db, API, join.format(left, filled["a"]), "*") == 1
