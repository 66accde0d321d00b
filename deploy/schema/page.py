"""A catalogue as docs/schema.md: a picture and a table for each schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from deploy.schema.catalogue import Catalogue, Relation
from deploy.schema.tables import SCHEMAS, TABLES
from shared.db.locks import LOCKS
from shared.db.roles import SERVICES, role_of

HEAD = """\
# The schema

The tables as the migrations up to {revision} leave them. Written by `python -m deploy.schema`; a test fails where it is not
current. All columns, indexes, functions and rights: [schema.sql](../shared/db/schema.sql). Why each is as it is: the
comments of `shared/db/migrations/sql/`.

Only the owner of a schema writes its tables, and everybody reads all of them ([decision
0016](decisions/0016-one-database-one-role-per-service.md)). In the pictures a solid line is a foreign key. A dotted one
is a column that names a row without one: foreign keys never leave a schema, and partitions have none. A table
`…_history` has the columns of the table it is named after, and is left out of the pictures.
"""
ADVISORY = """\
## Advisory locks

All of them (`shared/db/locks.py`). Held until the transaction ends.

| lock | keys | taken | what for |
|---|---|---|---|"""
WIDTH = 120
# Columns that name a row of another table, whether or not a foreign key says so.
NAMED_BY = {"portfolio_id": "coordinator.portfolios", "symbol_id": "ingest.symbols"}


def render(catalogue: Catalogue, revision: str) -> str:
    """Markdown, schema by schema."""
    parts = [HEAD.format(revision=revision)]
    for schema, purpose in SCHEMAS.items():
        relations = [relation for relation in catalogue.relations if schema_of(relation) == schema]
        parts += [f"## {schema}\n\n{textwrap.fill(f'{purpose} {_writers(catalogue, relations)}', WIDTH)}\n"]
        parts += ["```mermaid\nerDiagram\n" + "\n".join(_picture(relations)) + "\n```\n"]
        parts += ["| table | a row is | key |\n|---|---|---|\n" + "\n".join(_rows(relations)) + "\n"]
    parts += [f"{ADVISORY}\n" + "\n".join(_locks()) + "\n"]
    return "\n".join(parts)


def schema_of(relation: Relation) -> str:
    return relation.name.partition(".")[0]


def key_of(relation: Relation) -> tuple[str, ...]:
    """Columns of the primary key; none for histories and views."""
    return next((key.columns for key in relation.constraints if key.kind == "p"), ())


def references(relation: Relation) -> Iterator[tuple[str, str, bool]]:
    """Tables that rows of this one name, by which column, and whether a foreign key holds it."""
    held: set[str] = set()
    for key in relation.constraints:
        if key.kind == "f":
            held.update(key.columns)
            yield key.references, ", ".join(key.columns), True
    for column in relation.columns:
        target = NAMED_BY.get(column.name)
        if target and column.name not in held and target != relation.name:
            yield target, column.name, False


def _locks() -> Iterator[str]:
    for lock in LOCKS:
        keys = ", ".join(str(key) for key in lock.keys)
        taken = "who comes second waits" if lock.waits else "who comes second goes away"
        yield f"| {lock.name} | {keys} | {taken} | {lock.purpose} |"


def _writers(catalogue: Catalogue, relations: list[Relation]) -> str:
    """Roles that may change a row of any of the tables."""
    names = {f" ON TABLE {relation.name} TO " for relation in relations}
    roles = {
        role
        for grant in catalogue.grants
        for name in names
        if name in grant and any(right in grant.partition(name)[0] for right in ("INSERT", "UPDATE", "DELETE"))
        for role in grant.partition(name)[2].rstrip(";").split(", ")
    }
    services = [service for service in SERVICES if role_of(service) in roles]
    if len(services) == len(SERVICES):
        return "Written by all services, each its part (`shared/db/roles.py::grants`)."
    return f"Written by {', '.join(services)}."


def _picture(relations: list[Relation]) -> Iterator[str]:
    for relation in relations:
        if relation.name.endswith("_history") or relation.kind == "v":
            continue
        shown = _pictured_columns(relation)
        name = relation.name.partition(".")[2]
        yield f"    {name} {{"
        for column in relation.columns:
            if column.name in shown:
                kind = column.type.split("(")[0].rpartition(".")[2].replace(" ", "_")
                yield f"        {kind} {column.name.strip(chr(34))}{shown[column.name]}"
        yield "    }"
        for target, column_name, held in references(relation):
            line = "||--o{" if held else "||..o{"
            yield f'    {_entity(target, schema_of(relation))} {line} {name} : "{column_name}"'


def _pictured_columns(relation: Relation) -> dict[str, str]:
    """Columns in the picture: those of the key and those that name other rows, with what mermaid calls them."""
    shown = dict.fromkeys(key_of(relation), " PK")
    for _, columns, held in references(relation):
        for column in columns.split(", "):
            shown[column] = (
                f"{shown[column]},FK" if column in shown and held else shown.get(column, " FK" if held else "")
            )
    return shown


def _entity(table: str, schema: str) -> str:
    """A table's name in the picture of a schema; of another one, with it."""
    of, _, name = table.partition(".")
    return name if of == schema else f"{of}_{name}"


def _rows(relations: list[Relation]) -> Iterator[str]:
    for relation in relations:
        key = ", ".join(f"`{column}`" for column in key_of(relation)) or "none"
        yield f"| `{relation.name}` | {TABLES.get(relation.name, '')} | {key} |"
