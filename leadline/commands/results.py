"""Commands that read results and prices: a report, an export, restatements, prices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from leadline import arguments, export
from leadline.http import Client
from leadline.names import Portfolio, portfolio_of
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import echo, money, number, price, safe, text

From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", callback=arguments.day)]
To = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", callback=arguments.day)]


def register(app: typer.Typer, client: Callable[[], Client]) -> None:
    """Add the commands. client : made per command; tests put another one in its place"""
    _files(app, client)
    _restatements(app, client)
    _prices(app, client)


def _files(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def report(
        portfolio: Portfolio,
        output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The HTML file to write")],
        session: Annotated[str | None, typer.Option(help="Without it the newest", callback=arguments.day)] = None,
    ) -> None:
        """The risk report as one HTML file that opens anywhere, without a network; prints its path."""
        with client() as api:
            page = api.page(f"/report/{portfolio_of(api, portfolio)}", session=session, inline="true")
        output.write_text(page, encoding="utf-8")
        echo(str(output))

    @app.command("export")
    @reports
    def export_portfolio(
        portfolio: Portfolio,
        output: Annotated[Path, typer.Option("--output", "-o", help="A directory, or a file that ends in .zip")],
    ) -> None:
        """A portfolio as positions.csv and, with its flows, as portfolio.json; `leadline import` takes either."""
        with client() as api:
            document = api.get(f"/portfolios/{portfolio_of(api, portfolio)}")
        export.write(output, export.files(document))
        echo(str(output))


def _restatements(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def restatements(
        portfolio: Portfolio,
        figure: Annotated[str | None, typer.Option("--figure", "-f", help="Old and new values of this figure")] = None,
        first: From = None,
        last: To = None,
        limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first")] = 20,
        as_json: Json = False,  # noqa: FBT002 (a command's option)
    ) -> None:
        """What was computed again, and why; with a figure its values before and after."""
        arguments.assert_in_order(first, last)
        asked = {"from": first, "to": last, "limit": limit}
        with client() as api:
            path = f"/portfolios/{portfolio_of(api, portfolio)}/restatements"
            answer = api.get(f"{path}/causes", **asked) if figure is None else api.get(path, figure=figure, **asked)
        if as_json:
            print_document(answer)
            return
        console = console_for()
        if figure is None:
            for group in answer["items"]:
                moved = "" if group["nav_moved"] is None else f", NAV moved by {money(group['nav_moved'])}"
                echo(f"{group['replaced_at']}  {group['from']} to {group['to']}, {group['sessions']} sessions{moved}")
                echo(f"  {group['summary']}")
        else:
            rows = table(f"Restated: {text(figure)}", "session", "replaced", "old", "new", left=2)
            for item in answer["items"]:
                rows.add_row(item["session"], item["replaced_at"], _value(item["old"]), _value(item["new"]))
            console.print(rows)
        if answer["next"]:
            echo("There are more: give --limit, --from and --to.", err=True)


def _value(value: object) -> str:
    return number(value, 6) if isinstance(value, int | float) else text(value)


def _prices(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command()
    @reports
    def prices(
        symbol: Annotated[str, typer.Argument(metavar="SYMBOL")],
        first: From = None,
        last: To = None,
        known_at: Annotated[str | None, typer.Option(metavar="INSTANT", help="As they were known then")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """A symbol's prices with their provider, its splits and dividends, and what is missing."""
        arguments.assert_in_order(first, last)
        with client() as api:
            answer = api.get(
                f"/symbols/{quote(symbol, safe='')}/prices", **{"from": first, "to": last, "known_at": known_at}
            )
        if as_json:
            print_document(answer)
            return
        rows = table(f"Prices of {text(answer['symbol'])}", "session", "provider", "close", "adjusted", left=2)
        for item in answer["items"]:
            rows.add_row(item["session"], text(item["provider"]), price(item["close"]), price(item["adj_close"]))
        console_for().print(rows)
        for gap in answer["gaps"]:
            echo(safe(f"{gap['from']} to {gap['to']}: {gap['reason']}"))
