"""`leadline runs`: what was asked for, how far it is, and what happened on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from leadline.http import Client
from leadline.names import run_of
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import DASH, share


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add the command to the application. client : made per command; tests put another one in its place"""

    @app.command()
    @reports
    def runs(
        run: Annotated[
            str | None,
            typer.Argument(metavar="[ID]", help="A run's id or its beginning; without it the newest runs"),
        ] = None,
        limit: Annotated[int, typer.Option(min=1, max=200, help="How many runs, or events of one")] = 50,
        as_json: Json = False,  # noqa: FBT002 (a command's option)
    ) -> None:
        """Runs, newest first; with an ID its progress, events and failures."""
        with client() as api:
            if run is None:
                answer = api.get("/admin/runs", limit=limit)
            else:
                run = run_of(api, run)
                answer = api.get(f"/admin/runs/{run}") | api.get(f"/admin/runs/{run}/events", limit=limit)
        if as_json:
            print_document(answer)
        elif run is None:
            _list(console_for(), answer["items"])
        else:
            _one(console_for(), answer)


def _list(console: Console, items: Sequence[Mapping[str, Any]]) -> None:
    rows = table("Runs", "id", "source", "what", "requested", "state", "units", "done", left=5)
    for item in items:
        rows.add_row(
            item["id"],
            item["source"],
            str(item["scope"].get("what") or DASH),
            item["requested_at"],
            item["state"],
            f"{item['units']:,}",
            share(item["done"], item["units"]),
        )
    console.print(rows)


def _one(console: Console, answer: Mapping[str, Any]) -> None:
    console.print(
        f"[bold]{answer['id']}[/bold]  {answer['state']}  {share(answer['done'], answer['units'])} of"
        f" {answer['units']:,} units, {answer['blocked']:,} blocked; {answer['source']}, {answer['requested_at']}",
        soft_wrap=True,
    )
    rows = table(f"Events ({answer['events_total']})", "at", "event", "phase", "from", "to", "units", left=5)
    for event in answer["events"]:
        rows.add_row(
            event["at"] or DASH,
            event["event"],
            event["phase"] or DASH,
            event["from"] or DASH,
            event["to"] or DASH,
            f"{event['units']:,}",
        )
    console.print(rows)
    for event in answer["events"]:
        if event["message"]:
            where = " ".join(str(event[key]) for key in ("portfolio_id", "phase", "from") if event[key])
            console.print(f"  {event['event']} {escape(where)}: {escape(event['message'])}", soft_wrap=True)
