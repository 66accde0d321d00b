"""The command line: every command but `up`, `demo` and `doctor`, as a client of the HTTP API.

Exit codes: 0 done, 1 failed, 2 usage; of `status` 3 healing or blocked, 4 partial below the gate. `--json` prints one document alone.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from leadline import arguments, overview
from leadline.commands import (
    agents,
    analytics,
    benchmarks,
    calendar,
    dead_letters,
    funds,
    imports,
    notifications,
    operations,
    people,
    portfolios,
    results,
    runs,
    symbols,
    tokens,
)
from leadline.completeness import exit_code, is_healing
from leadline.http import Client, Failed
from leadline.names import MaybePortfolio, Portfolio, Portfolios, portfolio_of
from leadline.run import Json, console_for, print_document, reports
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
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def _version(*, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        echo(f"leadline {version('leadline')}")
        raise typer.Exit


@app.callback()
def options(
    shown: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit", is_eager=True, callback=lambda v: _version(asked=v)
        ),
    ] = False,
) -> None:
    """Portfolio risk that can prove it is complete."""


app.add_typer(dead_letters.commands(lambda: client()), name="dead-letters")  # noqa: PLW0108 (looked up when called)
app.add_typer(benchmarks.commands(lambda: client()), name="benchmark")  # noqa: PLW0108 (the same)
app.add_typer(funds.commands(lambda: client()), name="fund")  # noqa: PLW0108
app.add_typer(calendar.commands(lambda: client()), name="calendar")  # noqa: PLW0108
app.add_typer(symbols.commands(lambda: client()), name="symbols")  # noqa: PLW0108
app.add_typer(tokens.commands(lambda: client()), name="token")  # noqa: PLW0108
app.add_typer(people.users(lambda: client()), name="user")  # noqa: PLW0108
app.add_typer(people.tenants(lambda: client()), name="tenant")  # noqa: PLW0108
for group in (runs, portfolios, results, analytics, operations, agents, notifications):
    group.register(app, lambda: client())  # noqa: PLW0108


@app.command("import")
@reports
def import_file(
    file: imports.File = None,
    name: imports.Name = None,
    equity: imports.Equity = None,
    into: imports.Into = None,
    account_type: imports.AccountType = "taxable",
    currency: imports.Currency = "USD",
    price_basis: imports.PriceBasis = "auto",
    dialect: imports.Dialect = "",
    preset: imports.Preset = "",
    columns: imports.Columns = None,
    symbol: imports.Symbols = None,
    mapping: imports.SavedMapping = "",
    entry_date: imports.EntryDate = None,
    on_match: imports.OnMatch = "list",
    allow_duplicate_name: imports.AllowDuplicateName = False,
    undo: imports.Undo = None,
    dry_run: imports.DryRun = False,
    as_json: Json = False,
) -> None:
    """Create a portfolio from a CSV file, or add to one; prints its id."""
    imports.check_arguments(file, name, equity, into, undo, on_match, dry_run=dry_run)
    if undo is not None:
        with client() as api:
            imports.show_undone(imports.undo(api, str(into), undo), as_json=as_json)
        return
    assert file is not None
    form: dict[str, Any] = {
        "price_basis": price_basis,
        "dialect": dialect,
        "preset": preset,
        "map": "\n".join(columns or []),
        "symbols": "\n".join(symbol or []),
        "mapping": mapping,
        "entry_date": entry_date or "",
        "dry_run": str(dry_run).lower(),
    }
    form |= (
        {"on_match": on_match}
        if into is not None
        else {
            "name": name,
            "equity_balance": equity,
            "account_type": account_type,
            "currency": currency,
            "allow_duplicate_name": str(allow_duplicate_name).lower(),
        }
    )
    with client() as api:
        if imports.is_document(file):
            answer = imports.send_document(api, file, {"name": name, "equity_balance": equity})
        else:
            answer = imports.send(api, file, form, into)
    imports.show(answer, dry_run=dry_run, as_json=as_json)


@app.command()
@reports
def status(
    portfolio: MaybePortfolio = None,
    watch: Annotated[bool, typer.Option("--watch", help="Until nothing is missing, or a person is needed")] = False,
    as_json: Json = False,
) -> None:
    """State, coverage, what needs you, and holes with reasons. Exit code 3: healing or blocked; 4: partial below the gate."""
    with client() as api:
        portfolio = None if portfolio is None else portfolio_of(api, portfolio)
        answer = _status(api, portfolio)
        shown: Any = None
        while watch and is_healing(answer):
            if answer != shown and not as_json:
                _show_status(answer)
                shown = answer
            time.sleep(WATCH_SECONDS)
            answer = _status(api, portfolio)
    if as_json:
        print_document(answer)
    else:
        _show_status(answer)
    if code := exit_code(answer):
        raise typer.Exit(code)


def _status(api: Client, portfolio: str | None) -> Any:
    if portfolio is not None:
        return api.get(f"/portfolios/{portfolio}/status")
    return {"items": api.pages("/portfolios"), "refusals": api.get("/portfolios", limit=1).get("refusals") or []}


def _show_status(answer: dict[str, Any]) -> None:
    if "items" in answer:
        tables.render_portfolios(console_for(), answer["items"], answer["refusals"])
    else:
        tables.render_status(console_for(), answer)


@app.command()
@reports
def show(
    portfolio: Portfolio,
    session: Session = None,
    full: Annotated[bool, typer.Option("--full", help="Every figure there is, not only the overview")] = False,
    as_json: Json = False,
) -> None:
    """All risk figures of one session."""
    with client() as api:
        portfolio = portfolio_of(api, portfolio)
        if as_json:
            print_document(overview.gather(api, portfolio, session, full=full))
        else:
            render_risk_overview(console_for(), api, portfolio, session, full=full)


@app.command()
@reports
def rerun(
    of: Portfolios,
    what: Annotated[What, typer.Option(help="missing, failed or all")],
    phase: Annotated[Phase | None, typer.Option(help="Only this phase, and what depends on it")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", callback=arguments.day)] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", callback=arguments.day)] = None,
    as_json: Json = False,
) -> None:
    """Ask for work again; prints the run's id."""
    arguments.assert_in_order(first, last)
    params: dict[str, object] = {
        "start_date": first,
        "end_date": last,
        "phase": None if phase is None else phase.value,
        "what": what.value,
        "source": "cli",
    }
    with client() as api:
        params["portfolio_id"] = [portfolio_of(api, each) for each in of]
        answer = api.post("/admin/batch/run", params=params)
    if as_json:
        print_document(answer)
    else:
        echo(answer["run_id"])


@app.command()
@reports
def explain(
    portfolio: MaybePortfolio = None,
    symbol: Annotated[str | None, typer.Option(help="A symbol's own figure: factors, metrics, prices")] = None,
    figure: Annotated[
        str | None,
        typer.Option("--figure", "-f", help="Such as risk.var.historical.0.95; without it all names are listed"),
    ] = None,
    session: Session = None,
    as_json: Json = False,
) -> None:
    """Where a figure comes from: formula, parameters, what leads to it, and the data behind it."""
    arguments.assert_one_of(portfolio, symbol)
    with client() as api:
        about = (
            f"/portfolios/{portfolio_of(api, portfolio)}" if portfolio else f"/symbols/{quote(str(symbol), safe='')}"
        )
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
