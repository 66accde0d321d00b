"""`leadline symbols`: prices that were held back, and what a person decides about one."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from leadline import arguments
from leadline.http import Client
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import DASH, echo, percent

Symbol = Annotated[str, typer.Argument(metavar="SYMBOL", help="The symbol")]
Session = Annotated[str, typer.Argument(metavar="DATE", help="The session of the jump", callback=arguments.day)]
Reason = Annotated[str, typer.Option(help="Why: it is kept, and shown where a figure rests on the price")]
By = Annotated[str | None, typer.Option(help="Who says so; without it your login name")]


class State(StrEnum):
    held = "held"
    rejected = "rejected"
    released = "released"
    corrected = "corrected"


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Prices that were held back because nobody confirmed their jump.", no_args_is_help=True)

    @app.command("quarantined")
    @reports
    def quarantined(
        state: Annotated[State | None, typer.Option(help="Without it held and rejected ones")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Prices that are held back, newest first."""
        with client() as api:
            items = api.pages("/symbols/quarantined", state=None if state is None else state.value)
        if as_json:
            print_document({"items": items})
            return
        rows = table(
            f"Held back ({len(items)})", "symbol", "session", "state", "provider", "second", "reason", "return",
            "second says", "sigma", left=6,
        )  # fmt: skip
        for item in items:
            told = (item["symbol"], item["session"], item["state"], item["provider"], item["second"], item["reason"])
            figures = (item["return"], item["second_return"], item["sigma"])
            rows.add_row(*(escape(str(cell or DASH)) for cell in told), *(percent(figure) for figure in figures))
        console_for().print(rows)

    @app.command("release")
    @reports
    def release(symbol: Symbol, session: Session, reason: Reason, by: By = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Accept a held price; what rests on it is computed again."""
        _decide(client, "release", symbol, session, reason, by, as_json=as_json)

    @app.command("reject")
    @reports
    def reject(symbol: Symbol, session: Session, reason: Reason, by: By = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Leave a held price out; the sessions after it are taken."""
        _decide(client, "reject", symbol, session, reason, by, as_json=as_json)

    return app


def _decide(
    client: Callable[[], Client],
    decision: str,
    symbol: str,
    session: str,
    reason: str,
    by: str | None,
    *,
    as_json: bool,
) -> None:
    body = {"reason": reason, "by": by or _login()}
    with client() as api:
        answer: dict[str, Any] = api.post(
            f"/symbols/{quote(symbol, safe='')}/quarantine/{session}/{decision}", json=body
        )
    if as_json:
        print_document(answer)
    else:
        echo(f"{answer['symbol']} {answer['session']} is {answer['state']}")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "operator"
