"""What a database has, read from its catalogues: tables with all that belongs to them, functions, types and rights.

Owners are left out: they are whoever migrated. So is everything a statement of schema.sql makes by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.roles import OWNERS

SCHEMAS = (*OWNERS, "public")


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool
    default: str
    """`DEFAULT …` or `GENERATED …`, empty for neither."""
    storage: str
    """`EXTERNAL` and the like where it is not the type's own, else empty."""


@dataclass(frozen=True)
class Constraint:
    kind: str
    """As pg_constraint has it: c, f, p, u or x."""
    name: str
    definition: str
    columns: tuple[str, ...]
    references: str
    """The table a foreign key points to, else empty."""


@dataclass(frozen=True)
class Relation:
    """A table, a partitioned one or a view."""

    name: str
    """With its schema."""
    kind: str
    """As pg_class has it: r, p or v."""
    partitioned_by: str
    options: str
    row_security: str
    """`ENABLE`, `FORCE` or empty."""
    view: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]
    extras: tuple[str, ...]
    """Statements: indexes, triggers, policies."""
    partitions: tuple[str, ...]
    """Statements that make them."""


@dataclass(frozen=True)
class Catalogue:
    schemas: tuple[str, ...]
    types: tuple[str, ...]
    """Statements."""
    sequences: tuple[str, ...]
    """Statements, but for those of identity columns."""
    functions: tuple[str, ...]
    """Statements."""
    relations: tuple[Relation, ...]
    grants: tuple[str, ...]
    """Statements."""

    def relation(self, name: str) -> Relation:
        return next(relation for relation in self.relations if relation.name == name)


async def read(conn: AsyncConnection) -> Catalogue:
    """The catalogue of the database that `conn` is connected to."""
    schemas = await _column(
        conn, "SELECT nspname FROM pg_namespace WHERE nspname = ANY (:schemas) AND nspname <> 'public' ORDER BY 1"
    )
    return Catalogue(
        tuple(schemas),
        tuple(await _column(conn, _TYPES)),
        tuple(await _column(conn, _SEQUENCES)),
        tuple([statement.rstrip() + ";" for statement in await _column(conn, _FUNCTIONS)]),
        tuple(await _relations(conn)),
        tuple(await _column(conn, _GRANTS)),
    )


async def _relations(conn: AsyncConnection) -> list[Relation]:
    columns = await _read_grouped(conn, _COLUMNS)
    constraints = await _read_grouped(conn, _CONSTRAINTS)
    extras = [await _read_grouped(conn, query) for query in (_INDEXES, _TRIGGERS, _POLICIES)]
    partitions = await _read_grouped(conn, _PARTITIONS)
    return [
        Relation(
            name,
            kind,
            partitioned_by,
            options,
            row_security,
            view,
            tuple(Column(*row) for row in columns.get(name, ())),
            tuple(Constraint(*row) for row in constraints.get(name, ())),
            tuple(row[0] for group in extras for row in group.get(name, ())),
            tuple(row[0] for row in partitions.get(name, ())),
        )
        for name, kind, partitioned_by, options, row_security, view in await _rows(conn, _RELATIONS)
    ]


async def _rows(conn: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    # Names without a schema would depend on who asks: only what is not ours is found without one.
    await conn.execute(text("SET LOCAL search_path = pg_catalog"))
    return [tuple(row) for row in await conn.execute(text(query), {"schemas": list(SCHEMAS)})]


async def _column(conn: AsyncConnection, query: str) -> list[str]:
    return [str(value) for value, *_ in await _rows(conn, query)]


async def _read_grouped(conn: AsyncConnection, query: str) -> dict[str, list[Sequence[Any]]]:
    """Rows by the relation's name, which is their first value, in the order they come."""
    found: dict[str, list[Sequence[Any]]] = {}
    for name, *values in await _rows(conn, query):
        found.setdefault(name, []).append([tuple(value) if isinstance(value, list) else value for value in values])
    return found


# Partitions are their parent's; what they have is made with them.
_OURS = "n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition"
_FROM = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"

_RELATIONS = f"""
    SELECT c.oid::regclass::text, c.relkind::text, coalesce(pg_get_partkeydef(c.oid), ''),
           coalesce(array_to_string(c.reloptions, ', '), ''),
           CASE WHEN c.relforcerowsecurity THEN 'FORCE' WHEN c.relrowsecurity THEN 'ENABLE' ELSE '' END,
           CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) ELSE '' END
    {_FROM} WHERE {_OURS} ORDER BY 1
"""

_COLUMNS = f"""
    SELECT c.oid::regclass::text, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
           CASE WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                WHEN a.attidentity = 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY'
                WHEN a.attgenerated <> '' THEN
                    'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || CASE a.attgenerated WHEN 's' THEN ') STORED' ELSE ')' END
                WHEN d.oid IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
           CASE WHEN c.relkind = 'v' OR a.attstorage = t.typstorage THEN ''
                ELSE CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END
    {_FROM} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE {_OURS} ORDER BY 1, a.attnum
"""

# NOT NULL stands with its column.
_CONSTRAINTS = f"""
    SELECT c.oid::regclass::text, k.contype::text, k.conname::text, pg_get_constraintdef(k.oid),
           (SELECT array_agg(a.attname::text ORDER BY u.at) FROM unnest(k.conkey) WITH ORDINALITY AS u (number, at)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number),
           CASE WHEN k.confrelid <> 0 THEN k.confrelid::regclass::text ELSE '' END
    {_FROM} JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')
    WHERE {_OURS} ORDER BY 1, position(k.contype::text IN 'pucfx'), k.conname
"""

_INDEXES = f"""
    SELECT c.oid::regclass::text, pg_get_indexdef(i.indexrelid) || ';'
    {_FROM} JOIN pg_index i ON i.indrelid = c.oid
    WHERE {_OURS} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid)
    ORDER BY 1, i.indexrelid::regclass::text
"""

_TRIGGERS = f"""
    SELECT c.oid::regclass::text, pg_get_triggerdef(t.oid) || ';'
    {_FROM} JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal WHERE {_OURS} ORDER BY 1, t.tgname
"""

_POLICIES = f"""
    SELECT c.oid::regclass::text,
           'CREATE POLICY ' || quote_ident(p.polname) || ' ON ' || c.oid::regclass::text
           || CASE WHEN p.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
           || CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE'
                            WHEN 'd' THEN ' FOR DELETE' ELSE '' END
           || ' TO ' || (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', '
                                           ORDER BY pg_get_userbyid(r)) FROM unnest(p.polroles) AS r)
           || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
           || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') || ';'
    {_FROM} JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OURS} ORDER BY 1, p.polname
"""

_PARTITIONS = """
    SELECT i.inhparent::regclass::text,
           'CREATE TABLE ' || c.oid::regclass::text || ' PARTITION OF ' || i.inhparent::regclass::text || ' '
           || pg_get_expr(c.relpartbound, c.oid) || ';'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE n.nspname = ANY (:schemas) AND c.relispartition AND c.relkind = 'r' ORDER BY 1, c.relname
"""

_TYPES = """
    SELECT 'CREATE TYPE ' || format_type(t.oid, NULL) || ' AS ENUM ('
           || string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) || ');'
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE n.nspname = ANY (:schemas) GROUP BY t.oid ORDER BY 1
"""

_SEQUENCES = """
    SELECT 'CREATE SEQUENCE ' || c.oid::regclass::text || ' AS ' || format_type(s.seqtypid, NULL)
           || CASE WHEN s.seqincrement <> 1 THEN ' INCREMENT BY ' || s.seqincrement ELSE '' END
           || CASE WHEN s.seqstart <> 1 THEN ' START WITH ' || s.seqstart ELSE '' END
           || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END || ';'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
    WHERE n.nspname = ANY (:schemas)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'i')
    ORDER BY 1
"""

_FUNCTIONS = """
    SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY (:schemas) AND p.prokind = 'f' ORDER BY p.oid::regprocedure::text
"""

# Everything but the owner's own rights. PUBLIC has EXECUTE of a new function: where it has not, that is a statement too.
_GRANTS = """
    WITH things AS (
        SELECT 1 AS at, 'SCHEMA ' || quote_ident(nspname) AS name, nspname AS schema, '' AS part, nspowner AS owner,
               coalesce(nspacl, acldefault('n', nspowner)) AS acl
        FROM pg_namespace WHERE nspname <> 'public'
        UNION ALL
        SELECT 2, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass::text, n.nspname, '', c.relowner,
               c.relacl
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition LEFT JOIN pg_class whole ON whole.oid = i.inhparent
        -- A partition's rights are told where they are others than its table's.
        WHERE c.relkind IN ('r', 'p', 'v', 'S') AND c.relacl IS NOT NULL AND c.relacl IS DISTINCT FROM whole.relacl
        UNION ALL
        SELECT 3, 'TABLE ' || c.oid::regclass::text, n.nspname, ' (' || quote_ident(a.attname) || ')', c.relowner, a.attacl
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
        UNION ALL
        SELECT 4, 'FUNCTION ' || p.oid::regprocedure::text, n.nspname, '', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    ), rights AS (
        SELECT t.at, t.name, t.schema, r.grantee, string_agg(r.privilege_type || t.part, ', ' ORDER BY r.privilege_type, t.part) AS rights
        FROM things t CROSS JOIN aclexplode(t.acl) AS r
        WHERE t.schema = ANY (:schemas) AND r.grantee <> t.owner GROUP BY 1, 2, 3, 4
    ), alike AS (
        SELECT at, name, rights, string_agg(CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, ', '
                                            ORDER BY grantee = 0, pg_get_userbyid(grantee)) AS roles
        FROM rights GROUP BY 1, 2, 3
    )
    SELECT statement FROM (
        SELECT at, name, 'GRANT ' || rights || ' ON ' || name || ' TO ' || roles || ';' AS statement FROM alike
        WHERE NOT (at = 4 AND roles = 'PUBLIC')
        UNION ALL
        SELECT 4, name, 'REVOKE EXECUTE ON ' || name || ' FROM PUBLIC;' FROM things t
        WHERE at = 4 AND schema = ANY (:schemas)
          AND NOT EXISTS (SELECT FROM aclexplode(t.acl) AS r WHERE r.grantee = 0)
    ) s ORDER BY at, name, statement DESC
"""
