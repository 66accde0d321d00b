"""The command line: every command but `up`, `demo` and `doctor`, as a client of the HTTP API.

Exit codes: 0 done, 1 failed, 2 usage, 3 incomplete. `--json` prints one JSON document and nothing else on standard output.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape

from services.coordinator.console import picture, tables
from services.coordinator.console.client import Client, Failed
from services.coordinator.console.tables import print_picture, render_risk_picture

__all__ = ["Client", "Failed", "app", "console_for", "main", "print_picture", "render_risk_picture"]

FAILED, INCOMPLETE = 1, 3
WATCH_SECONDS = 1.0
# A pipe has no width; tables cut at 80 columns lose figures.
PIPE_WIDTH = 140

app = typer.Typer(
    name="leadline",
    help="Portfolio risk that can prove it is complete.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
letters = typer.Typer(help="Messages that could not be handled.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")

P = ParamSpec("P")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
Portfolio = Annotated[str, typer.Argument(metavar="ID", help="The portfolio's id")]


class What(StrEnum):
    missing = "missing"
    failed = "failed"
    all = "all"


class Phase(StrEnum):
    ingest = "ingest"
    factors = "factors"
    snapshots = "snapshots"
    risk = "risk"


def console_for(*, stderr: bool = False) -> Console:
    """A console that is wide enough for the tables where nobody's terminal limits it."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def client() -> Client:
    """Made per command; tests put another one in its place."""
    return Client()


def _reports(command: Callable[P, None]) -> Callable[P, None]:
    """A call that failed is a message on standard error and exit code 1, not a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Failed as error:
            errors = console_for(stderr=True)
            errors.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
            if error.errors:
                tables.render_issues(errors, "Errors", error.errors)
            raise typer.Exit(FAILED) from error

    return wrapped


def _print(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


@app.command("import")
@_reports
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A portfolio CSV")],
    name: Annotated[str, typer.Option(help="The portfolio's name")],
    equity: Annotated[str, typer.Option(help="Capital before the first session")],
    account_type: Annotated[
        str, typer.Option(help="taxable, ira, roth_ira, 401k, 403b, 529, hsa, trust or other")
    ] = "taxable",
    currency: Annotated[str, typer.Option(help="Three-letter code")] = "USD",
    price_basis: Annotated[str, typer.Option(help="auto, as_traded or split_adjusted")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show, save nothing")] = False,
    as_json: Json = False,
) -> None:
    """Create a portfolio from a CSV file; prints its id."""
    form = {
        "name": name,
        "equity_balance": equity,
        "account_type": account_type,
        "currency": currency,
        "price_basis": price_basis,
        "dry_run": str(dry_run).lower(),
    }
    with client() as api:
        content = (file.name, file.read_bytes(), "text/csv")
        answer = api.post("/portfolios/import", data=form, files={"file": content})
    if as_json:
        _print(answer)
        return
    if answer["warnings"]:
        tables.render_issues(console_for(stderr=True), "Warnings", answer["warnings"])
    if dry_run:
        tables.render_preview(console_for(), answer)
    else:
        typer.echo(answer["id"])


@app.command()
@_reports
def status(
    portfolio: Annotated[str | None, typer.Argument(metavar="[ID]", help="The portfolio's id; without it all")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Until nothing is missing, or a person is needed")] = False,
    as_json: Json = False,
) -> None:
    """Completeness: expected, done, holes with reasons. Exit code 3 where something is missing."""
    with client() as api:
        answer = _status(api, portfolio)
        shown: Any = None
        while watch and _state(answer) == "healing":
            if answer != shown and not as_json:
                _show_status(answer)
                shown = answer
            time.sleep(WATCH_SECONDS)
            answer = _status(api, portfolio)
    if as_json:
        _print(answer)
    else:
        _show_status(answer)
    if _state(answer) != "complete":
        raise typer.Exit(INCOMPLETE)


def _status(api: Client, portfolio: str | None) -> Any:
    if portfolio is not None:
        return api.get(f"/portfolios/{portfolio}/status")
    return {"items": api.pages("/portfolios")}


def _state(answer: dict[str, Any]) -> str:
    states = {item["state"] for item in answer["items"]} if "items" in answer else {answer["state"]}
    return next((state for state in ("healing", "blocked") if state in states), "complete")


def _show_status(answer: dict[str, Any]) -> None:
    if "items" in answer:
        tables.render_portfolios(console_for(), answer["items"])
    else:
        tables.render_status(console_for(), answer)


@app.command()
@_reports
def show(
    portfolio: Portfolio,
    session: Annotated[str | None, typer.Option(help="YYYY-MM-DD; without it the newest complete session")] = None,
    as_json: Json = False,
) -> None:
    """The whole risk picture of one session."""
    with client() as api:
        if as_json:
            _print(picture.gather(api, portfolio, session))
        else:
            render_risk_picture(console_for(), api, portfolio, session)


@app.command()
@_reports
def rerun(
    portfolio: Portfolio,
    what: Annotated[What, typer.Option(help="missing, failed or all")],
    phase: Annotated[Phase | None, typer.Option(help="Only this phase, and what depends on it")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD")] = None,
    as_json: Json = False,
) -> None:
    """Ask for work again; prints the run's id."""
    params = {
        "portfolio_id": portfolio,
        "start_date": first,
        "end_date": last,
        "phase": None if phase is None else phase.value,
        "what": what.value,
        "source": "cli",
    }
    with client() as api:
        answer = api.post("/admin/batch/run", params=params)
    if as_json:
        _print(answer)
    else:
        typer.echo(answer["run_id"])


@letters.command("list")
@_reports
def list_letters(as_json: Json = False) -> None:
    """Open dead letters, newest first."""
    with client() as api:
        items = api.pages("/admin/dead-letters")
    if as_json:
        _print({"items": items})
        return
    rows = tables.table(
        f"Dead letters ({len(items)})", "id", "received", "consumer", "topic", "reason", "error", left=6
    )
    for item in items:
        rows.add_row(
            str(item["id"]),
            item["received_at"],
            item["consumer"],
            item["topic"],
            item["reason"],
            escape(item["error"][:100]),
        )
    console_for().print(rows)


Letter = Annotated[int, typer.Argument(metavar="ID", help="The dead letter's id")]


@letters.command("show")
@_reports
def show_letter(letter: Letter) -> None:
    """One dead letter, as JSON."""
    with client() as api:
        _print(api.get(f"/admin/dead-letters/{letter}"))


@letters.command("replay")
@_reports
def replay_letter(letter: Letter, as_json: Json = False) -> None:
    """Send it again, once."""
    with client() as api:
        answer = api.post(f"/admin/dead-letters/{letter}/replay")
    if as_json:
        _print(answer)
    else:
        typer.echo(f"dead letter {letter} is sent again")


@letters.command("purge")
@_reports
def purge_letter(letter: Letter, as_json: Json = False) -> None:
    """Give it up for good."""
    with client() as api:
        answer = api.post(f"/admin/dead-letters/{letter}/purge")
    if as_json:
        _print(answer)
    else:
        typer.echo(f"dead letter {letter} is given up")


def main() -> None:
    app()
