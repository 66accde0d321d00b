"""Arguments that commands of tokens, users and tenants share: a role, and for which tenant."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from leadline.http import Client
from leadline.names import one_named


class Role(StrEnum):
    reader = "reader"
    editor = "editor"
    operator = "operator"


Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="ID|NAME", help="Of another tenant than the token's; for the installation's operator"
    ),
]
RoleOption = Annotated[
    Role, typer.Option(help="reader: reads; editor: also changes portfolios; operator: everything of the tenant")
]


def tenant_of(api: Client, tenant: str | None) -> dict[str, Any]:
    """Query parameters that name the tenant; none for the token's own."""
    if tenant is None:
        return {}
    items = api.get("/admin/tenants")["items"]
    found = one_named(items, tenant, missing=f"There is no tenant {tenant!r}", listing="leadline tenant list")
    return {"tenant_id": found["id"]}


def user_of(api: Client, user: str, where: dict[str, Any]) -> dict[str, Any]:
    """The user or service account that is meant, by id or name."""
    items = api.get("/admin/users", **where)["items"]
    return dict(one_named(items, user, missing=f"There is no user {user!r}", listing="leadline user list"))
