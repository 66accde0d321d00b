"""A catalogue as the SQL that makes it, to be read and compared. A database is made by the migrations, not by this."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from deploy.schema.catalogue import Catalogue, Column, Constraint, Relation
from shared.db.roles import OWNERS

HEAD = """\
-- The schema as the migrations up to {revision} leave it. Written by `python -m deploy.schema`: do not edit, add a migration.
-- Comments say why in shared/db/migrations/sql/; what each table is for is in docs/schema.md.
-- The roles are there before (shared/db/roles.py), and all of this is leadline_owner's. Foreign keys never leave a schema.

-- Functions are checked when they run: some name tables that come later.
SET check_function_bodies = off;
"""


def render(catalogue: Catalogue, revision: str) -> str:
    """Statements in an order in which an empty database takes them."""
    parts = [HEAD.format(revision=revision)]
    parts.append("\n".join(f"CREATE SCHEMA {schema};" for schema in catalogue.schemas))
    parts.append("\n".join((*catalogue.types, *catalogue.sequences)))
    parts.append("\n\n".join(catalogue.functions))
    relations = list(_in_order(catalogue))
    later: list[str] = []
    missing = {relation.name for relation in relations}
    for relation in (each for each in relations if each.kind != "v"):
        missing.remove(relation.name)
        waiting = [extra for extra in relation.extras if _names_any(extra, missing)]
        parts.append(_relation(relation, without=waiting))
        later += waiting
    parts.append("\n".join(later))
    parts += [_relation(relation) for relation in relations if relation.kind == "v"]
    parts += ["\n".join(relation.partitions) for relation in relations if relation.partitions]
    parts.append("\n".join(catalogue.grants))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _in_order(catalogue: Catalogue) -> Iterator[Relation]:
    """By schema and name, but what a foreign key points to before the table that has it."""

    def place(relation: Relation) -> tuple[int, str]:
        schema = relation.name.partition(".")[0]
        return (OWNERS.index(schema) if schema in OWNERS else len(OWNERS), relation.name)

    left = sorted(catalogue.relations, key=place)
    made: set[str] = set()
    while left:
        following = next(
            relation
            for relation in left
            if {key.references for key in relation.constraints if key.references} <= {*made, relation.name}
        )
        left.remove(following)
        made.add(following.name)
        yield following


def _names_any(extra: str, names: Collection[str]) -> bool:
    """Whether it is a policy that asks one of these tables: policies of two may ask each other."""
    return extra.startswith("CREATE POLICY ") and any(re.search(rf"\b{re.escape(name)}\b", extra) for name in names)


def _relation(relation: Relation, *, without: Collection[str] = ()) -> str:
    """without : of its extras, those that are made later"""
    if relation.kind == "v":
        return "\n".join((f"CREATE VIEW {relation.name} AS\n{relation.view.rstrip()}", *relation.extras))
    width = max(len(column.name) for column in relation.columns)
    lines = [_column(column, width) for column in relation.columns]
    lines += [f"CONSTRAINT {key.name} {key.definition}" for key in relation.constraints if not _is_unproven(key)]
    closing = f" PARTITION BY {relation.partitioned_by}" if relation.partitioned_by else ""
    closing += f" WITH ({relation.options})" if relation.options else ""
    body = ",\n".join(f"    {line}" for line in lines)
    statements = [f"CREATE TABLE {relation.name} (\n{body}\n){closing};"]
    statements += [
        f"ALTER TABLE {relation.name} ADD CONSTRAINT {key.name} {key.definition};"
        for key in relation.constraints
        if _is_unproven(key)
    ]
    statements += [
        f"ALTER TABLE {relation.name} ALTER {column.name} SET STORAGE {column.storage};"
        for column in relation.columns
        if column.storage
    ]
    if relation.row_security:
        statements.append(f"ALTER TABLE {relation.name} ENABLE ROW LEVEL SECURITY;")
    if relation.row_security == "FORCE":
        statements.append(f"ALTER TABLE {relation.name} FORCE ROW LEVEL SECURITY;")
    return "\n".join((*statements, *(extra for extra in relation.extras if extra not in without)))


def _is_unproven(key: Constraint) -> bool:
    """Held for what is written from now on: a table that is made with it would have it for all."""
    return key.definition.endswith(" NOT VALID")


def _column(column: Column, width: int) -> str:
    return " ".join(
        part
        for part in (column.name.ljust(width), column.type, "" if column.nullable else "NOT NULL", column.default)
        if part
    )
