"""`leadline token`: who may call the server, and in which role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from leadline import arguments
from leadline.commands.tenancy import Role, Tenant, tenant_of, user_of
from leadline.http import Client
from leadline.names import IdOrName, one_named
from leadline.run import Json, console_for, print_document, reports, tell
from leadline.tables.grid import table
from leadline.tables.text import echo, text


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Access tokens: who may call the server, and in which role.", no_args_is_help=True)

    @app.command("create")
    @reports
    def create(
        role: Annotated[
            Role, typer.Option(help="reader: reads; editor: also changes portfolios; operator: everything")
        ],
        name: Annotated[str, typer.Option(help="What the token is for")],
        expires: Annotated[
            str | None,
            typer.Option(metavar="YYYY-MM-DD", help="The last day on which it works, UTC", callback=arguments.day),
        ] = None,
        user: Annotated[
            str | None, typer.Option(metavar="ID|NAME", help="Whose it is; without it a service account of its own")
        ] = None,
        tenant: Tenant = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a token and print it, this once: the server keeps only a digest."""
        with client() as api:
            where = tenant_of(api, tenant)
            body = {"name": name, "role": role.value, "expires": expires}
            if user is not None:
                body["user_id"] = user_of(api, user, where)["id"]
            answer = api.post("/admin/tokens", json=body, params=where)
        tell(answer, answer["token"], as_json=as_json)

    @app.command("list")
    @reports
    def list_tokens(tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Tokens, newest first, also those that are expired or revoked."""
        with client() as api:
            answer = api.get("/admin/tokens", **tenant_of(api, tenant))
        if as_json:
            print_document(answer)
        elif not answer["items"]:
            echo("No token has been created.")
        else:
            _render(answer["items"])

    @app.command("revoke")
    @reports
    def revoke(
        token: IdOrName,
        tenant: Tenant = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Revoke a token: within five seconds it works nowhere."""
        with client() as api:
            where = tenant_of(api, tenant)
            in_force = [item for item in api.get("/admin/tokens", **where)["items"] if item["state"] != "revoked"]
            missing = f"There is no token {token!r} in force"
            found = one_named(in_force, token, missing=missing, listing="leadline token list")
            api.delete(f"/admin/tokens/{found['id']}", params=where)
        tell({"id": found["id"], "revoked": True}, f"{found['name']} is revoked", as_json=as_json)

    return app


def _render(items: list[dict[str, Any]]) -> None:
    rows = table(f"Tokens ({len(items)})", "name", "role", "state", "created", "expires", "last used", "id", left=7)
    for item in items:
        rows.add_row(
            text(item["name"]),
            item["role"],
            item["state"],
            text(item["created_at"]),
            text(item["expires_at"]),
            text(item["last_used_at"]),
            item["id"],
        )
    console_for().print(rows)
