"""`leadline calendar`: the next sessions and when they are due, and days the exchange closes that its calendar does not know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from leadline import arguments
from leadline.http import Client
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo

Session = Annotated[str, typer.Argument(metavar="DAY", help="YYYY-MM-DD", callback=arguments.day)]


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Sessions, when they are due, and closures that users enter.")

    @app.callback(invoke_without_command=True)
    @reports
    def show(
        context: typer.Context,
        sessions: Annotated[int, typer.Option(min=1, max=300, help="How many to list")] = 5,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """The next sessions and when each is due, closures, and how far the calendar reaches."""
        if context.invoked_subcommand is not None:
            return
        with client() as api:
            answer = api.get("/calendar", sessions=sessions)
        if as_json:
            print_document(answer)
        else:
            _render(answer)

    @app.command("close")
    @reports
    def close(
        day: Session,
        reason: Annotated[str, typer.Option(help="Why; readers of the day are told")],
        at: Annotated[str | None, typer.Option(metavar="HH:MM", help="An early close, in New York time")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """The exchange stays closed on a session, or closes early; whatever depends on it is computed anew."""
        with client() as api:
            answer = api.put(f"/calendar/closures/{day}", json={"reason": reason, "close_at": at})
        if as_json:
            print_document(answer)
            return
        what = "closed" if answer["closed"] else f"closes at {_hour(answer['close_at_new_york'])} New York time"
        echo(f"{day}: {what} ({answer['reason']}); {_outcome(answer)}")

    @app.command("open")
    @reports
    def open_again(day: Session, as_json: Json = False) -> None:  # noqa: FBT002
        """Take a closure back that was entered by mistake: the day is a session again."""
        with client() as api:
            answer = api.delete(f"/calendar/closures/{day}")
        if as_json:
            print_document(answer)
        else:
            echo(f"{day}: taken back; {_outcome(answer)}")

    return app


def _hour(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%H:%M}"


def _outcome(answer: dict[str, Any]) -> str:
    if not answer["changed"]:
        return "was there already, nothing changed"
    gone, again = answer["withdrawn_units"], answer["required_units"]
    return f"{gone:,} units withdrawn, {again:,} required anew"


def _render(answer: dict[str, Any]) -> None:
    console = console_for()
    rows = table(
        f"Sessions of {answer['exchange']} after {answer['last_due']}",
        "session",
        "due (UTC)",
        "due (New York)",
        "",
        left=4,
    )
    for item in answer["sessions"]:
        note = " ".join(filter(None, ["early close" if item["early"] else "", escape(item["reason"] or "")]))
        local = datetime.fromisoformat(item["due_at_new_york"])
        rows.add_row(item["session"], item["due_at"], f"{local:%a %H:%M %Z}".strip(), note)
    console.print(rows)
    if answer["closures"]:
        entered = table(f"Entered ({len(answer['closures'])})", "day", "closes (New York)", "reason", "entered", left=4)
        for item in answer["closures"]:
            until = "all day" if item["closed"] else _hour(item["close_at_new_york"])
            entered.add_row(item["day"], until, escape(item["reason"]), item["entered_at"])
        console.print(entered)
    horizon = answer["horizon"]
    alarm = f": {horizon['remedy']}" if horizon["alarm"] else ""
    echo(
        f"What the exchange announced is known until {horizon['announced_until']}, for {horizon['days_left']} days{alarm}."
    )
