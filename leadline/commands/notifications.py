"""`leadline limit` and `leadline notify`: limits on figures, and who is told when one is breached or kept again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from leadline.http import Client, Failed
from leadline.names import IdOrName, one_named, portfolio_of
from leadline.run import Json, console_for, print_document, reports, tell
from leadline.tables.grid import table
from leadline.tables.text import echo, text


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add both groups to the command line."""
    app.add_typer(limits(client), name="limit")
    app.add_typer(webhooks(client), name="notify")


def limits(client: Callable[[], Client]) -> typer.Typer:
    app = typer.Typer(help="Limits on figures: what is breached, and since when.", no_args_is_help=True)

    @app.command("add")
    @reports
    def add(
        figure: Annotated[
            str, typer.Argument(help="Any figure of 'leadline explain', or status.hours_late and its like")
        ],
        above: Annotated[float | None, typer.Option(help="Breached above this value")] = None,
        below: Annotated[float | None, typer.Option(help="Breached below this value")] = None,
        name: Annotated[str | None, typer.Option(help="What messages call it; without it the comparison")] = None,
        portfolio: Annotated[
            str | None, typer.Option(metavar="NAME|ID", help="Only this portfolio; without it every one")
        ] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a limit."""
        if (above is None) == (below is None):
            raise Failed("Give one of --above and --below.")
        op, value = (">", above) if above is not None else ("<", below)
        with client() as api:
            body = {
                "name": name or f"{figure} {op} {value:g}",
                "figure": figure,
                "op": op,
                "value": value,
                "portfolio_id": None if portfolio is None else portfolio_of(api, portfolio),
            }
            answer = api.post("/limits", json=body)
        tell(answer, f"{answer['name']} is watched ({answer['id']})", as_json=as_json)

    @app.command("list")
    @reports
    def list_limits(as_json: Json = False) -> None:  # noqa: FBT002
        """Limits, and in how many portfolios each is breached."""
        with client() as api:
            answer = api.get("/limits")
            names = {} if as_json else {str(item["id"]): str(item["name"]) for item in api.pages("/portfolios")}
        if as_json:
            print_document(answer)
        elif not answer["items"]:
            echo("There is no limit. 'leadline limit add risk.var.historical.0.95 --above 0.03' makes one.")
        else:
            _render_limits(answer["items"], names)

    @app.command("remove")
    @reports
    def remove(
        limit: IdOrName,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Delete a limit; nobody is told."""
        with client() as api:
            items, missing = api.get("/limits")["items"], f"There is no limit {limit!r}"
            found = one_named(items, limit, missing=missing, listing="leadline limit list")
            api.delete(f"/limits/{found['id']}")
        _tell_done(found, "deleted", as_json=as_json)

    return app


def webhooks(client: Callable[[], Client]) -> typer.Typer:
    app = typer.Typer(help="Webhooks: who is told when a limit is breached or kept again.", no_args_is_help=True)

    @app.command("add")
    @reports
    def add(
        name: Annotated[str, typer.Argument(help="What it is for")],
        url: Annotated[str, typer.Argument(help="An https address that takes a POST")],
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a webhook and print the secret that signs its messages, this once."""
        with client() as api:
            answer = api.post("/admin/webhooks", json={"name": name, "url": url})
        tell(answer, answer["secret"], as_json=as_json)

    @app.command("list")
    @reports
    def list_webhooks(as_json: Json = False) -> None:  # noqa: FBT002
        """Webhooks, and whether their messages arrive."""
        with client() as api:
            answer = api.get("/admin/webhooks")
        if as_json:
            print_document(answer)
        elif not answer["items"]:
            echo("There is no webhook. 'leadline notify add NAME URL' makes one.")
        else:
            rows = table(
                f"Webhooks ({len(answer['items'])})", "name", "pending", "last arrived", "last error", "id", left=5
            )
            for item in answer["items"]:
                said = (item["name"], str(item["pending"]), item["delivered_at"], item["last_error"], item["id"])
                rows.add_row(*map(text, said))
            console_for().print(rows)

    @app.command("test")
    @reports
    def test(
        webhook: IdOrName,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Send a message that says nothing; 'leadline notify list' says whether it arrived."""
        with client() as api:
            found = _webhook(api, webhook)
            api.post(f"/admin/webhooks/{found['id']}/test")
        _tell_done(found, "sent a test", as_json=as_json)

    @app.command("remove")
    @reports
    def remove(
        webhook: IdOrName,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Delete a webhook, and what it has not been told."""
        with client() as api:
            found = _webhook(api, webhook)
            api.delete(f"/admin/webhooks/{found['id']}")
        _tell_done(found, "deleted", as_json=as_json)

    return app


def _webhook(api: Client, given: str) -> Mapping[str, Any]:
    items = api.get("/admin/webhooks")["items"]
    return one_named(items, given, missing=f"There is no webhook {given!r}", listing="leadline notify list")


def _tell_done(found: Mapping[str, Any], done: str, *, as_json: bool) -> None:
    tell({"id": found["id"], "done": done}, f"{found['name']} is {done}", as_json=as_json)


def _render_limits(items: list[dict[str, Any]], names: dict[str, str]) -> None:
    rows = table(f"Limits ({len(items)})", "name", "portfolio", "state", "value", "since", "id", left=3)
    for item in items:
        shown = [of for of in item["standings"] if of["state"] == "breached"]
        scope = "all" if item["portfolio_id"] is None else names.get(item["portfolio_id"], item["portfolio_id"])
        if not shown:
            state = "kept" if item["standings"] else "not read yet"
            rows.add_row(text(item["name"]), text(scope), state, "", "", item["id"])
        for of in shown:
            value = "unknown" if of["value"] is None else f"{of['value']:g}"
            who = names.get(of["portfolio_id"], of["portfolio_id"])
            rows.add_row(text(item["name"]), text(who), "breached", value, text(of["since"]), item["id"])
    console_for().print(rows)
