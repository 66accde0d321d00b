"""Roles, and who owns what: made before any migration runs, whoever runs it.

Every object belongs to a role that nobody can connect as and that is no superuser, so that a function that runs as its owner
gives away the schemas and nothing beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import LOGINS, OWNER, OWNERS, role_of
from shared.errors import ConfigurationError

_PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION"
# Statements that give to the owner what somebody else owns. Sequences of identity columns, indexes and the row types of tables
# follow their table.
_FOREIGN = """
    SELECT format('ALTER SCHEMA %I OWNER TO {owner}', n.nspname) FROM pg_namespace n
    WHERE n.nspname = ANY (:schemas) AND n.nspowner <> :owner
    UNION ALL
    SELECT format('ALTER %s %s OWNER TO {owner}',
                  CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
                  c.oid::regclass)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname = ANY (:schemas) OR c.oid = to_regclass('public.alembic_version'))
      AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relowner <> :owner
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                  AND d.deptype IN ('a', 'i') AND c.relkind = 'S')
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO {owner}', p.oid::regprocedure)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY (:schemas) AND p.proowner <> :owner
    UNION ALL
    SELECT format('ALTER TYPE %s OWNER TO {owner}', t.oid::regtype)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = ANY (:schemas) AND t.typowner <> :owner AND t.typtype IN ('e', 'd')
"""


async def create_roles(conn: AsyncConnection, passwords: Mapping[str, str]) -> None:
    """Create the roles that are missing; set the passwords that are given, by service (`api` is one too)."""
    for role, login in ((OWNER, "NOLOGIN"), *((role_of(name), "LOGIN") for name in LOGINS)):
        if not await role_exists(conn, role):
            await conn.execute(text(f"CREATE ROLE {role} {login} {_PLAIN}"))
    for name in LOGINS:
        if name in passwords:
            await set_password(conn, role_of(name), passwords[name])


async def role_exists(conn: AsyncConnection, role: str) -> bool:
    return bool(await conn.scalar(text("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :role)"), {"role": role}))


async def set_password(conn: AsyncConnection, role: str, password: str) -> None:
    """Set a role's password: it cannot be a bound parameter; the literal is quoted, and the statement is never logged."""
    literal = "'" + password.replace("'", "''") + "'"
    await conn.exec_driver_sql(f"ALTER ROLE {role} PASSWORD {literal}")


async def give_to_owner(conn: AsyncConnection) -> int:
    """Give every object of ours to the owner, and the owner the right to make more; returns how many changed hands.

    Raises `ConfigurationError` where the caller may not give away what is another's.
    """
    if not await conn.scalar(text(f"SELECT pg_has_role(CURRENT_USER, '{OWNER}', 'SET')")):
        await conn.execute(text(f"GRANT {OWNER} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE"))
    owner = await conn.scalar(text("SELECT oid FROM pg_roles WHERE rolname = :owner"), {"owner": OWNER})
    found = await conn.scalars(text(_FOREIGN.format(owner=OWNER)), {"schemas": list(OWNERS), "owner": owner})
    statements = found.all()
    if statements and not await _may_give(conn):
        raise ConfigurationError(
            f"{len(statements)} objects belong to another role than {OWNER}, and the migrating role may not give them away. "
            "Run 'python -m shared.db.bootstrap' once as a superuser (docs/operations.md, 'Roles')."
        )
    for statement in statements:
        await conn.exec_driver_sql(statement)
    database = await conn.scalar(text("SELECT quote_ident(current_database())"))
    for right, statement in (
        (f"has_database_privilege('{OWNER}', current_database(), 'CREATE')", f"GRANT CREATE ON DATABASE {database} TO"),
        (f"has_schema_privilege('{OWNER}', 'public', 'CREATE')", "GRANT USAGE, CREATE ON SCHEMA public TO"),
    ):
        if not await conn.scalar(text(f"SELECT {right}")):
            await conn.execute(text(f"{statement} {OWNER}"))
    # A grant by somebody without the right to is a warning and no error: looked at, because migrations would fail halfway.
    if not await conn.scalar(text(f"SELECT has_database_privilege('{OWNER}', current_database(), 'CREATE')")):
        raise ConfigurationError(
            f"{OWNER} may not create schemas in the database {database}, because the migrating role does not own it. "
            f"Run 'python -m shared.db.bootstrap' once as a superuser (docs/operations.md, 'Roles')."
        )
    return len(statements)


async def become_owner(conn: AsyncConnection) -> bool:
    """Do what the owner may until the transaction ends, where who connects is no superuser and can; whether that is so.

    The migrating role has no rights of its own to what it migrates.
    """
    found = await conn.scalar(
        text("""
            SELECT NOT me.rolsuper AND owner.oid IS NOT NULL FROM pg_roles me
            LEFT JOIN pg_roles owner ON owner.rolname = :owner AND pg_has_role(me.oid, owner.oid, 'SET')
            WHERE me.rolname = CURRENT_USER
        """),
        {"owner": OWNER},
    )
    if found:
        await conn.execute(text(f"SET LOCAL ROLE {OWNER}"))
    return bool(found)


async def _may_give(conn: AsyncConnection) -> bool:
    return bool(
        await conn.scalar(
            text("""
                SELECT rolsuper OR NOT EXISTS (
                    SELECT 1 FROM pg_namespace n WHERE n.nspname = ANY (:schemas) AND NOT pg_has_role(n.nspowner, 'USAGE'))
                FROM pg_roles WHERE rolname = CURRENT_USER
            """),
            {"schemas": list(OWNERS)},
        )
    )
