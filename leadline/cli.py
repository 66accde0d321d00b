"""The command line: every command but `up`, `demo` and `doctor`, as a client of the HTTP API.

Exit codes: 0 done, 1 failed, 2 usage, 3 incomplete. `--json` prints one JSON document and nothing else on standard output.
"""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from leadline import arguments, overview
from leadline.commands import benchmarks, calendar, dead_letters, symbols, tokens
from leadline.http import Client, Failed
from leadline.run import INCOMPLETE, Json, console_for, print_document, reports
from leadline.tables import overview as tables
from leadline.tables.overview import print_overview, render_risk_overview
from leadline.tables.text import echo

__all__ = ["Client", "Failed", "app", "console_for", "main", "print_overview", "render_risk_overview"]

WATCH_SECONDS = 1.0

app = typer.Typer(
    name="leadline",
    help="Portfolio risk that can prove it is complete.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Portfolio = Annotated[str, typer.Argument(metavar="ID", help="The portfolio's id", callback=arguments.identity)]
Session = Annotated[
    str | None, typer.Option(help="YYYY-MM-DD; without it the newest complete session", callback=arguments.day)
]


class What(StrEnum):
    missing = "missing"
    failed = "failed"
    all = "all"


class Phase(StrEnum):
    ingest = "ingest"
    factors = "factors"
    snapshots = "snapshots"
    risk = "risk"


def client() -> Client:
    """Made per command; tests put another one in its place."""
    return Client()


app.add_typer(dead_letters.commands(lambda: client()), name="dead-letters")  # noqa: PLW0108 (looked up when called)
app.add_typer(benchmarks.commands(lambda: client()), name="benchmark")  # noqa: PLW0108 (the same)
app.add_typer(calendar.commands(lambda: client()), name="calendar")  # noqa: PLW0108
app.add_typer(symbols.commands(lambda: client()), name="symbols")  # noqa: PLW0108
app.add_typer(tokens.commands(lambda: client()), name="token")  # noqa: PLW0108


@app.command("import")
@reports
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A portfolio CSV")],
    name: Annotated[str, typer.Option(help="The portfolio's name")],
    equity: Annotated[str, typer.Option(help="Capital before the first session", callback=arguments.amount)],
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
        print_document(answer)
        return
    if answer["warnings"]:
        tables.render_issues(console_for(stderr=True), "Warnings", answer["warnings"])
    if dry_run:
        tables.render_preview(console_for(), answer)
    else:
        echo(answer["id"])


@app.command()
@reports
def status(
    portfolio: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The portfolio's id; without it all", callback=arguments.identity),
    ] = None,
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
        print_document(answer)
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
@reports
def show(
    portfolio: Portfolio,
    session: Session = None,
    full: Annotated[bool, typer.Option("--full", help="Every figure there is, not only the picture")] = False,
    as_json: Json = False,
) -> None:
    """The whole risk picture of one session."""
    with client() as api:
        if as_json:
            print_document(overview.gather(api, portfolio, session, full=full))
        else:
            render_risk_overview(console_for(), api, portfolio, session, full=full)


@app.command()
@reports
def rerun(
    portfolios: Annotated[
        list[str], typer.Argument(metavar="ID...", help="One portfolio or several", callback=arguments.identities)
    ],
    what: Annotated[What, typer.Option(help="missing, failed or all")],
    phase: Annotated[Phase | None, typer.Option(help="Only this phase, and what depends on it")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", callback=arguments.day)] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", callback=arguments.day)] = None,
    as_json: Json = False,
) -> None:
    """Ask for work again; prints the run's id."""
    arguments.assert_in_order(first, last)
    params = {
        "portfolio_id": portfolios,
        "start_date": first,
        "end_date": last,
        "phase": None if phase is None else phase.value,
        "what": what.value,
        "source": "cli",
    }
    with client() as api:
        answer = api.post("/admin/batch/run", params=params)
    if as_json:
        print_document(answer)
    else:
        echo(answer["run_id"])


@app.command()
@reports
def explain(
    portfolio: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The portfolio's id, or --symbol", callback=arguments.identity),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="A symbol's own figure: factors, metrics, prices")] = None,
    figure: Annotated[
        str | None,
        typer.Option("--figure", "-f", help="Such as risk.var.historical.0.95; without it all names are listed"),
    ] = None,
    session: Session = None,
    as_json: Json = False,
) -> None:
    """Where a figure comes from: formula, parameters, what leads to it, and the data behind it."""
    about = arguments.one_of(portfolio, symbol)
    with client() as api:
        answer = api.get(f"{about}/explain", figure=figure, session=session)
    if as_json:
        print_document(answer)
    elif figure is None:
        for item in answer["figures"]:
            echo(item["figure"])
    else:
        tables.render_explanation(console_for(), answer)


def main() -> None:
    app()
