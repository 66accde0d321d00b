"""`leadline fund`: what funds hold, with which a portfolio is looked through."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from leadline import arguments
from leadline.http import Client, Failed
from leadline.run import Json, console_for, print_document, reports
from leadline.tables.grid import table
from leadline.tables.text import count, echo, percent

COLUMNS = ("symbol", "weight")
File = Annotated[
    Path,
    typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV: symbol, weight, and perhaps sector"),
]
Fund = Annotated[str, typer.Argument(metavar="FUND", help="Its symbol, such as SPY")]
Day = Annotated[str, typer.Argument(metavar="DATE", help="YYYY-MM-DD, from when on it counts", callback=arguments.day)]


def commands(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="What funds hold, to look through them.", no_args_is_help=True)

    @app.command("import")
    @reports
    def import_holdings(
        fund: Fund,
        day: Day,
        file: File,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show, save nothing")] = False,  # noqa: FBT002
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Load what a fund holds from a date on; `leadline look-through` uses it."""
        rows = _rows(file.read_bytes())
        with client() as api:
            params = {"dry_run": str(dry_run).lower()}
            answer = dict(api.put(_path(fund, day), params=params, json={"holdings": rows}))
        if as_json:
            print_document(answer)
            return
        said = "nothing saved" if dry_run else "loaded" if answer["changed"] else "was there already, nothing changed"
        echo(
            f"{answer['symbol']} {answer['date']}: {count(len(answer['holdings']))} holdings, {percent(answer['told'])} told; {said}"
        )

    @app.command("list")
    @reports
    def list_funds(
        fund: Annotated[str | None, typer.Option(help="Only this one")] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Which lists are loaded, newest date first."""
        with client() as api:
            answer = api.get("/funds", symbol=fund)
        if as_json:
            print_document(answer)
            return
        rows = table(
            f"Lists of holdings ({len(answer['items'])})", "fund", "date", "holdings", "told", "loaded", left=2
        )
        for item in answer["items"]:
            figures = (count(len(item["holdings"])), percent(item["told"]), item["loaded_at"])
            rows.add_row(item["symbol"], item["date"], *figures)
        console_for().print(rows)

    @app.command("remove")
    @reports
    def remove_holdings(fund: Fund, day: Day, as_json: Json = False) -> None:  # noqa: FBT002
        """Take back the list of one date; the one before it counts again."""
        with client() as api:
            answer = api.delete(_path(fund, day))
        if as_json:
            print_document(answer)
        else:
            echo(f"{answer['symbol']} {answer['date']}: taken back")

    return app


def _path(fund: str, day: str) -> str:
    return f"/funds/{quote(fund, safe='')}/holdings/{quote(day, safe='')}"


def _rows(content: bytes) -> list[dict[str, Any]]:
    """The file's rows. What only the file can say wrong is said here; the rows themselves are the server's to check."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failed(f"The file is not readable as CSV in UTF-8 ({error}). Save it as that.") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if missing := [column for column in COLUMNS if column not in header]:
        raise Failed(f"The file has no column {', '.join(missing)}. Its first row must name symbol and weight.")
    found = []
    for row in rows[1:]:
        if any(cell.strip() for cell in row):
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            found.append({name: cells.get(name, "") for name in (*COLUMNS, "sector") if name in header})
    if not found:
        raise Failed("The file has no rows. Write a line for each holding: symbol, weight.")
    return found
