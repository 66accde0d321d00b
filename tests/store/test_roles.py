"""Ownership is a rule of the database: what each role may do, read from the catalog and tried."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import API, LOGINS, OWNER, OWNERS, PHASE_SERVICES, SERVICES, role_of
from shared.events.topics import (
    FACTORS_COMPUTED,
    PHASE_REQUESTED,
    PRICES_INGESTED,
    PRICES_RESTATED,
    RISK_COMPUTED,
    SNAPSHOTS_BUILT,
    TOPICS,
)
from shared.work import Phase
from tests.support.databases import act_as
from tests.support.ledger import SESSIONS, add

WRITES = {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
COMPLETION_COLUMNS = {
    "completed_revision", "quality", "coverage", "reasons", "blocked_reason", "completed_at", "provisional",
}  # fmt: skip
# What was said is never unsaid, not even by its owner.
APPENDED = {"price_decisions", "audit_log"}
# A secret's digest is its owner's alone, and a row outlives its token.
PRIVATE = {
    "tokens", "idempotency", "limits", "limit_states", "webhooks", "subscriptions", "notifications",
    "users", "memberships", "invitations", "audit_log",
}  # fmt: skip
# What only the coordinator's loops write.
LOOPS = {"versions"}
# Notes that only the trigger writes; who has worked them in deletes them.
NOTED = {"unit_changes", "shortfall_changes"}
# Notes that triggers write and one function drops.
NOTED_FOR_LISTS = "portfolio_changes"
# Functions that do what their caller may not.
MAY_CALL = {
    "coordinator": {
        "require",
        "withdraw",
        "withdraw_after",
        "withdraw_session",
        "drop_history",
        "thin_results",
        "forget_portfolio_changes",
    },
    "ingest": {"require", "withhold", "release_withheld"},
    "risk": {"require"},
    "api": {"require", "withdraw", "withdraw_session"},
}
OUTBOX_INSERT = {"event_id", "topic", "key", "type", "payload", "headers"}
OUTBOX_UPDATE = {"sent_at", "failed_at", "error"}


def allowed(service: str, schema: str, table: str) -> set[str]:
    """What docs/architecture.md lets a service do to a whole table, beyond reading it."""
    owns = schema == service or (service == API and schema == "coordinator")
    if service == API and table in LOOPS:
        return set()
    if table == "tokens":
        return {"INSERT", "UPDATE"} if owns else set()
    if table in APPENDED:
        return {"INSERT"} if owns else set()
    if owns:
        return {"INSERT", "UPDATE", "DELETE"}
    if schema == "bus":
        # Of the outbox the rest is columns' rights.
        if table == "outbox":
            return set() if service == API else {"DELETE"}
        return {"coordinator": {"INSERT", "UPDATE", "DELETE"}, API: {"UPDATE"}}.get(service, {"INSERT"})
    if schema == "ledger":
        if table == NOTED_FOR_LISTS:
            return set()
        if service == API:
            return {"failures": {"DELETE"}, **{name: {"DELETE"} for name in NOTED}}.get(
                table, {"INSERT", "UPDATE", "DELETE"}
            )
        if service == "coordinator":
            return {"DELETE"} if table in NOTED else {"INSERT", "UPDATE", "DELETE"}
        return {"schedule": {"UPDATE"}, "failures": {"INSERT", "DELETE"}}.get(table, set())
    return set()


async def _relations(db: AsyncConnection) -> list[tuple[str, str, int, bool]]:
    """Every table and view of ours: schema, name, oid, whether it is a partition."""
    found = await db.execute(
        text("""SELECT n.nspname, c.relname, c.oid::bigint, c.relispartition
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1, 2"""),
        {"schemas": list(OWNERS)},
    )
    return [(schema, name, oid, partition) for schema, name, oid, partition in found]


async def test_every_privilege_of_every_role_on_every_table_is_the_designs(db: AsyncConnection) -> None:
    relations = await _relations(db)
    assert len([r for r in relations if not r[3]]) > 20
    held = await db.execute(
        text("""SELECT s.service, t.oid, p.privilege
                FROM unnest(CAST(:services AS text[]), CAST(:roles AS text[])) AS s (service, role)
                CROSS JOIN unnest(CAST(:oids AS bigint[])) AS t (oid)
                CROSS JOIN unnest(CAST(:privileges AS text[])) AS p (privilege)
                WHERE has_table_privilege(s.role, t.oid::oid, p.privilege)"""),
        {
            "services": list(LOGINS),
            "roles": [role_of(service) for service in LOGINS],
            "oids": [oid for _, _, oid, _ in relations],
            "privileges": [*WRITES, "SELECT"],
        },
    )
    has: dict[tuple[str, int], set[str]] = {}
    for service, oid, privilege in held:
        has.setdefault((service, oid), set()).add(privilege)
    for service, (schema, name, oid, _) in itertools.product(LOGINS, relations):
        reads = {"SELECT"} if name not in PRIVATE or service in ("coordinator", API) else set()
        assert has.get((service, oid), set()) == allowed(service, schema, name) | reads, (service, schema, name)


async def test_a_phase_may_write_the_completion_columns_of_units_and_no_other(db: AsyncConnection) -> None:
    columns = await db.execute(
        text("""SELECT s.service, a.attname,
                       has_column_privilege(s.role, 'ledger.units'::regclass, a.attname, 'UPDATE') AS updates,
                       has_column_privilege(s.role, 'ledger.units'::regclass, a.attname, 'INSERT') AS inserts
                FROM unnest(CAST(:services AS text[]), CAST(:roles AS text[])) AS s (service, role)
                CROSS JOIN pg_attribute a
                WHERE a.attrelid = 'ledger.units'::regclass AND a.attnum > 0 AND NOT a.attisdropped"""),
        {"services": list(PHASE_SERVICES), "roles": [role_of(service) for service in PHASE_SERVICES]},
    )
    writes: dict[str, set[str]] = {service: set() for service in PHASE_SERVICES}
    for service, column, updates, inserts in columns:
        assert not inserts, (service, column)
        if updates:
            writes[service].add(column)
    assert writes == dict.fromkeys(PHASE_SERVICES, COMPLETION_COLUMNS)


async def test_who_wrote_an_event_and_when_is_not_the_writers_to_say(db: AsyncConnection) -> None:
    columns = await db.execute(
        text("""SELECT s.service, p.privilege, a.attname
                FROM unnest(CAST(:services AS text[]), CAST(:roles AS text[])) AS s (service, role)
                CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE']) AS p (privilege) CROSS JOIN pg_attribute a
                WHERE a.attrelid = 'bus.outbox'::regclass AND a.attnum > 0 AND NOT a.attisdropped
                  AND has_column_privilege(s.role, a.attrelid, a.attname, p.privilege)"""),
        {"services": list(LOGINS), "roles": [role_of(service) for service in LOGINS]},
    )
    held: dict[tuple[str, str], set[str]] = {}
    for service, privilege, column in columns:
        held.setdefault((service, privilege), set()).add(column)
    for service in LOGINS:
        assert held[service, "INSERT"] == OUTBOX_INSERT, service
        assert held.get((service, "UPDATE"), set()) == (set() if service == API else OUTBOX_UPDATE), service


async def test_everything_belongs_to_a_role_that_nobody_can_be(db: AsyncConnection) -> None:
    """No superuser's object is left: what runs as its owner has no more than the schemas."""
    flags = (
        await db.execute(
            text("""SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
                    FROM pg_roles WHERE rolname = :owner"""),
            {"owner": OWNER},
        )
    ).one()
    assert not any(flags)
    strangers = await db.execute(
        text("""SELECT name, owner::regrole::text FROM (
                    SELECT oid::regnamespace::text AS name, nspowner AS owner, nspname FROM pg_namespace
                    UNION ALL SELECT c.oid::regclass::text, relowner, nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                    UNION ALL SELECT p.oid::regprocedure::text, proowner, nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
                    UNION ALL SELECT t.oid::regtype::text, typowner, nspname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
                    UNION ALL SELECT 'alembic_version', relowner, 'ledger' FROM pg_class WHERE oid = 'public.alembic_version'::regclass
                ) found WHERE nspname = ANY (:schemas) AND owner::regrole::text <> :owner"""),
        {"schemas": list(OWNERS), "owner": OWNER},
    )
    assert strangers.all() == []
    members = await db.scalars(
        text("""SELECT m.member::regrole::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
                WHERE r.rolname = :owner AND (m.inherit_option OR m.set_option)"""),
        {"owner": OWNER},
    )
    assert set(members) <= {"postgres", "leadline_migrator"}


async def test_sequences_functions_schemas_and_roles_give_nothing_more(db: AsyncConnection) -> None:
    for service in LOGINS:
        role = role_of(service)
        flags = (
            await db.execute(
                text("""SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication,
                               (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid)
                        FROM pg_roles r WHERE rolname = :role"""),
                {"role": role},
            )
        ).one()
        assert tuple(flags) == (False, False, False, False, False, 0)
        creates = await db.execute(
            text("SELECT s FROM unnest(CAST(:schemas AS text[])) s WHERE has_schema_privilege(:role, s, 'CREATE')"),
            {"schemas": [*OWNERS, "public"], "role": role},
        )
        assert creates.all() == []
        functions = await db.execute(
            text("""SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'ledger'::regnamespace AND p.prosecdef
                    AND p.prorettype <> 'trigger'::regtype AND has_function_privilege(:role, p.oid, 'EXECUTE')"""),
            {"role": role},
        )
        assert set(functions.scalars()) == MAY_CALL.get(service, set())
        sequences = await db.execute(
            # The planner may ask for the privilege before it has joined: an index has none and raises.
            text("""SELECT n.nspname, CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(:role, c.oid, 'UPDATE') END
                    FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = ANY (:schemas)
                      AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(:role, c.oid, 'USAGE') END"""),
            {"role": role, "schemas": list(OWNERS)},
        )
        usable = sequences.all()
        assert {schema for schema, _ in usable} <= {"coordinator" if service == API else service, "bus", "ledger"}
        assert not any(sets for _, sets in usable), "nobody turns the revisions back"


async def _try(db: AsyncConnection, service: str, statement: str, **values: Any) -> int | str:
    """Rows touched, or the SQLSTATE of the refusal."""
    savepoint = await db.begin_nested()
    try:
        await act_as(db, service)
        return int((await db.execute(text(statement), values)).rowcount)
    except DBAPIError as error:
        return str(getattr(error.orig, "sqlstate", ""))
    finally:
        await savepoint.rollback()


# The SQLSTATE of the refusal, or DOES0 where there is none; nothing of it stays.
REFUSAL = """
    CREATE FUNCTION pg_temp.refusal(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('SET LOCAL ROLE %I', role);
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'DOES0';
    EXCEPTION WHEN OTHERS THEN
        RETURN SQLSTATE;
    END $$
"""


async def test_every_forbidden_write_is_refused(db: AsyncConnection) -> None:
    """Each service against each table that is not its own; rights are checked before anything else is."""
    relations = [(schema, name) for schema, name, _, partition in await _relations(db) if not partition]
    tried = []
    for service, (schema, name) in itertools.product(LOGINS, relations):
        statements = {
            "INSERT": f"INSERT INTO {schema}.{name} DEFAULT VALUES",
            "DELETE": f"DELETE FROM {schema}.{name} WHERE false",
            "TRUNCATE": f"TRUNCATE {schema}.{name}",
        }
        # Into the outbox everybody inserts, by column.
        tried += [
            (role_of(service), statement)
            for privilege, statement in statements.items()
            if privilege not in allowed(service, schema, name) and (privilege, name) != ("INSERT", "outbox")
        ]
    assert len(tried) > 200
    await db.execute(text(REFUSAL))
    found = await db.execute(
        text("""SELECT t.role, t.statement, pg_temp.refusal(t.role, t.statement)
                FROM unnest(CAST(:roles AS text[]), CAST(:statements AS text[])) AS t (role, statement)"""),
        {"roles": [role for role, _ in tried], "statements": [statement for _, statement in tried]},
    )
    # 42809: a view cannot be truncated at all, and this one cannot be written at all.
    assert [tuple(row) for row in found if row[2] not in {"42501", "42809", "55000"}] == []


async def test_a_phase_raises_only_what_its_own_phase_completed(db: AsyncConnection) -> None:
    portfolio = uuid4()
    await add(db, [portfolio], SESSIONS[:2])
    for service in PHASE_SERVICES:
        for phase in Phase:
            own = phase.value == service
            where = f"WHERE portfolio_id = :p AND phase = '{phase.value}'"
            touched = await _try(
                db, service, f"UPDATE ledger.units SET completed_revision = required_revision {where}", p=portfolio
            )
            assert touched == (2 if own else 0), (service, phase)
            touched = await _try(db, service, f"UPDATE ledger.schedule SET wanted = wanted + 1 {where}", p=portfolio)
            assert touched == (1 if own else 0), (service, phase)
        for column in ("required_revision = 99", "session = session - 1", "phase = 'ingest'", "portfolio_id = :p"):
            assert await _try(
                db, service, f"UPDATE ledger.units SET {column} WHERE portfolio_id = :p", p=portfolio
            ) == ("42501")
        # Of its own schedule row a phase could change the phase, were there no WITH CHECK.
        other = next(p.value for p in Phase if p.value != service)
        assert (
            await _try(
                db, service, f"UPDATE ledger.schedule SET phase = '{other}' WHERE portfolio_id = :p", p=portfolio
            )
            == "42501"
        )
        assert await _try(db, service, "DELETE FROM ledger.units") == "42501"
    assert await _try(db, "coordinator", "UPDATE ledger.units SET required_revision = 99") == 8
    assert await _try(db, "coordinator", "DELETE FROM ledger.units") == 8


@pytest.mark.parametrize("service", LOGINS)
async def test_only_who_owns_an_input_may_raise(db: AsyncConnection, service: str) -> None:
    portfolio = uuid4()
    revision = await add(db, [portfolio], SESSIONS[:1])
    call = """SELECT * FROM ledger.require(ARRAY[CAST(:p AS uuid)], ARRAY[CAST(:d AS date)], ARRAY[CAST(:d AS date)],
                                           ARRAY['risk'::ledger.phase], :r)"""
    # Of whatever portfolio, where all tenants are seen (tests/store/test_definer_rights.py).
    await db.execute(text("SELECT set_config('leadline.tenant', '*', true)"))
    result = await _try(db, service, call, p=portfolio, d=SESSIONS[0], r=revision + 1)
    assert result == (1 if "require" in MAY_CALL.get(service, set()) else "42501")
    assert await _try(db, service, "SELECT ledger.order_lock()") == 1, "everybody may take the lock"
    assert await _try(db, service, "SELECT nextval('ledger.change')") == 1
    assert await _try(db, service, "SELECT setval('ledger.change', 1)") == "42501"


async def test_only_the_coordinator_closes_and_opens_days_of_ingest(db: AsyncConnection) -> None:
    """Functions that write another owner's tables with its rights."""
    for service in LOGINS:
        functions = await db.scalars(
            text("""SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'ingest'::regnamespace AND p.prosecdef
                    AND has_function_privilege(:role, p.oid, 'EXECUTE')"""),
            {"role": role_of(service)},
        )
        assert set(functions) == ({"close_day", "open_day"} if service in ("coordinator", API) else set()), service


EVENT = """INSERT INTO bus.outbox (event_id, topic, type, payload) VALUES (gen_random_uuid(), :topic, 't', '{}')"""
SPEAKS = {
    "ingest": {PRICES_INGESTED, PRICES_RESTATED, PHASE_REQUESTED},
    "factors": {FACTORS_COMPUTED, PHASE_REQUESTED},
    "snapshots": {SNAPSHOTS_BUILT, PHASE_REQUESTED},
    "risk": {RISK_COMPUTED, PHASE_REQUESTED},
    "coordinator": set(TOPICS),
    "api": set(TOPICS),
}


async def test_a_phase_announces_what_is_its_own_and_nothing_else(db: AsyncConnection) -> None:
    for service, topic in itertools.product(LOGINS, TOPICS):
        done = await _try(db, service, EVENT, topic=topic)
        assert done == (1 if topic in SPEAKS[service] else "42501"), (service, topic)


async def test_rows_of_the_outbox_are_their_writers_and_the_coordinators_after_half_a_minute(
    db: AsyncConnection,
) -> None:
    """Sending is marking: whoever may not mark a row does not send it, and neither drops nor changes it."""
    for service in LOGINS:
        await act_as(db, service)
        await db.execute(text(EVENT), {"topic": PHASE_REQUESTED})
    await act_as(db, None)
    wrote = await db.scalars(text("SELECT written_by FROM bus.outbox ORDER BY id"))
    assert wrote.all() == [role_of(service) for service in LOGINS]
    mark, drop = "UPDATE bus.outbox SET sent_at = now()", "DELETE FROM bus.outbox"
    for service in PHASE_SERVICES:
        assert (await _try(db, service, mark), await _try(db, service, drop)) == (1, 1), service
    assert (await _try(db, "coordinator", mark), await _try(db, "coordinator", drop)) == (2, 2), "its own and the API's"
    assert (await _try(db, API, mark), await _try(db, API, drop)) == ("42501", "42501")
    await db.execute(text("UPDATE bus.outbox SET created_at = clock_timestamp() - interval '31 seconds'"))
    assert (await _try(db, "coordinator", mark), await _try(db, "coordinator", drop)) == (6, 6)
    assert (await _try(db, "risk", mark), await _try(db, "risk", drop)) == (1, 1)
    for column in ("payload = '{}'", "topic = 't'", "written_by = 'leadline_risk'"):
        assert await _try(db, "coordinator", f"UPDATE bus.outbox SET {column}") == "42501"


async def test_a_phase_records_dead_letters_of_its_own_and_changes_none(db: AsyncConnection) -> None:
    letter = """INSERT INTO bus.dead_letters (consumer, topic, partition, "offset", body_hash, reason, error)
                VALUES (:consumer, 't', 0, 0, 'h', 'r', 'e')"""
    for service in SERVICES:
        assert await _try(db, service, letter, consumer=service) == 1
        other = next(name for name in SERVICES if name != service)
        assert await _try(db, service, letter, consumer=other) == "42501", service
    await db.execute(text(letter), {"consumer": "risk"})
    await db.execute(text("SELECT set_config('leadline.tenant', '*', true)"))
    for service in PHASE_SERVICES:
        assert await _try(db, service, "UPDATE bus.dead_letters SET purged_at = now()") == "42501", service
    for service in ("coordinator", API):
        assert await _try(db, service, "UPDATE bus.dead_letters SET purged_at = now()") == 1, service
