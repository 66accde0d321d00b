"""`leadline token`: who may call the server, and in which role."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from leadline import arguments
from leadline.http import Client, Failed
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo, text


class Role(StrEnum):
    reader = "reader"
    editor = "editor"
    operator = "operator"


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
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a token and print it, this once: the server keeps only a digest."""
        with client() as api:
            answer = api.post("/admin/tokens", json={"name": name, "role": role.value, "expires": expires})
        if as_json:
            print_document(answer)
        else:
            echo(answer["token"])

    @app.command("list")
    @reports
    def list_tokens(as_json: Json = False) -> None:  # noqa: FBT002
        """Tokens, newest first, also those that are expired or revoked."""
        with client() as api:
            answer = api.get("/admin/tokens")
        if as_json:
            print_document(answer)
        elif not answer["items"]:
            echo("No token has been created.")
        else:
            _render(answer["items"])

    @app.command("revoke")
    @reports
    def revoke(
        token: Annotated[str, typer.Argument(metavar="ID|NAME", help="Its id, or its name")],
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Revoke a token: within five seconds it works nowhere."""
        with client() as api:
            found = _find(api.get("/admin/tokens")["items"], token)
            api.delete(f"/admin/tokens/{found['id']}")
        if as_json:
            print_document({"id": found["id"], "revoked": True})
        else:
            echo(f"{found['name']} is revoked")

    return app


def _find(items: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    for item in items:
        if item["state"] != "revoked" and wanted in (item["id"], item["name"]):
            return item
    raise Failed(f"There is no token {wanted!r} in force. 'leadline token list' shows those there are.")


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
