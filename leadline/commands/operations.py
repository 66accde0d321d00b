"""Commands for who runs a server: the ledger's audit, a reconciliation, a symbol that is another security."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

import typer

from leadline import arguments
from leadline.http import Client
from leadline.names import completions, portfolio_of
from leadline.run import FAILED, Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo, text, words

Day = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", callback=arguments.day)]


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add the commands. client : made per command; tests put another one in its place"""

    @app.command()
    @reports
    def audit(
        portfolio: Annotated[
            str | None, typer.Option(help="Only this one: name or id", autocompletion=completions)
        ] = None,
        as_json: Json = False,  # noqa: FBT002 (a command's option)
    ) -> None:
        """Compare the ledger with what is stored. Exit code 1 where they differ."""
        with client() as api:
            answer = api.get("/admin/audit", portfolio_id=None if portfolio is None else portfolio_of(api, portfolio))
        if as_json:
            print_document(answer)
        else:
            found = "no difference" if answer["ok"] else f"{answer['drift_total']} differences"
            echo(f"{answer['units']:,} units of {answer['portfolios']:,} portfolios: {found}, as of {answer['as_of']}")
            rows = table("Differences", "kind", "phase", "session", "portfolio", "units", "what", left=4)
            rows.columns[-1].justify = "left"
            for drift in answer["drift"]:
                rows.add_row(
                    text(words(drift["kind"])), text(drift["phase"]), text(drift["session"]), text(drift["portfolio_id"]),
                    f"{drift['units']:,}", text(drift["detail"]),
                )  # fmt: skip
            if rows.row_count:
                console_for().print(rows)
        if not answer["ok"]:
            raise typer.Exit(FAILED)

    @app.command()
    @reports
    def reconcile() -> None:
        """Look for lost work now, instead of at the next turn of the reconciler."""
        with client() as api:
            api.post("/admin/reconcile")
        echo("accepted; 'leadline runs' shows what it finds")

    @app.command()
    @reports
    def resolve(
        symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="As the portfolio has it")],
        to: Annotated[str, typer.Option("--to", metavar="SYMBOL", help="The security that it is")],
        valid_from: Day = None,
        valid_to: Day = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Say which security a symbol is; what rests on it is computed anew."""
        arguments.assert_in_order(valid_from, valid_to)
        body = {"symbol": to, "valid_from": valid_from, "valid_to": valid_to}
        with client() as api:
            answer = api.post(f"/symbols/{quote(symbol, safe='')}/resolve", json=body)
        if as_json:
            print_document(answer)
        else:
            echo(f"{symbol} is {to}")
