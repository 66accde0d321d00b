"""Documents of the API as tables. `render_risk_overview` is what `leadline show` and the demo print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leadline import overview
from leadline.http import Client
from leadline.tables import analytics, correlations, risk, stress, vendors
from leadline.tables import full as full_tables
from leadline.tables import symbols as symbol_tables
from leadline.tables.grid import table
from leadline.tables.screen import screen
from leadline.tables.text import DASH, count, money, percent, price, reasons_text, share, shares, thinned_out, words

PHASES = ("ingest", "factors", "snapshots", "risk")
# Of what needs the reader, on the first screen; `leadline status` has more.
FIRST_NEEDS = 3
_COLOURS = {"complete": "green", "partial": "yellow", "healing": "yellow", "blocked": "red"}


def render_status(console: Console, status: Mapping[str, Any]) -> None:
    """Completeness of one portfolio: per phase, the holes, and what is complete but fell short."""
    console.print(
        f"[bold]{status['id']}[/bold]  {_state(status)}  {share(status['completed'], status['expected'])} of"
        f" {status['expected']:,} units processed, as of {status['as_of']}",
        soft_wrap=True,
    )
    _needs(console, status.get("needs_you") or ())
    vendors.render_refusals(console, status.get("refusals") or ())
    vendors.render_curve(console, status.get("curve"))
    phases = table("Completeness", "phase", "expected", "completed", "share")
    for phase in PHASES:
        counts = status["phases"][phase]
        phases.add_row(
            phase,
            f"{counts['expected']:,}",
            f"{counts['completed']:,}",
            share(counts["completed"], counts["expected"]),
        )
    console.print(phases)
    if status["holes"]:
        holes = table(
            f"Missing ({status['holes_total']})", "from", "to", "phase", "state", "reason", "next try", left=6
        )
        for hole in status["holes"]:
            reason = hole["reason"] or ""
            unnamed = [symbol for symbol in hole["symbols"] if symbol not in reason]
            symbols = f" ({', '.join(unnamed)})" if unnamed and ":" not in reason else ""
            holes.add_row(
                hole["from"],
                hole["to"],
                hole["phase"],
                hole["state"],
                escape(reason) + symbols,
                hole["next_at"] or DASH,
            )
        console.print(holes)
    if status["partials"]:
        partials = table(
            f"Processed, with a remark ({status['partials_total']})",
            "from",
            "to",
            "phase",
            "coverage",
            "reasons",
            left=3,
        )
        partials.columns[4].justify = "left"
        for partial in status["partials"]:
            partials.add_row(
                partial["from"],
                partial["to"],
                partial["phase"],
                percent(partial["coverage"], 1),
                "; ".join(reasons_text(partial["reasons"])),
            )
        console.print(partials)
    _price_basis(console, status)


def _price_basis(console: Console, status: Mapping[str, Any]) -> None:
    """Lots that are stored with other numbers than the file has, or whose price is doubtful: both are said, side by side."""
    lots = status.get("price_basis") or []
    if not lots:
        return
    found = table(f"Price basis of lots ({len(lots)})", "symbol", "entry", "basis", "found", "stated", "stored", left=4)
    for lot in lots:
        found.add_row(
            lot["symbol"],
            lot["entry_date"],
            words(lot["price_basis"]),
            words(lot["basis_reason"]),
            f"{shares(lot['stated_quantity'])} at {price(lot['stated_entry_price'])}",
            f"{shares(lot['stored_quantity'])} at {price(lot['stored_entry_price'])}",
        )
    console.print(found)


def _state(of: Mapping[str, Any]) -> str:
    """The state in its colour, with the coverage where it is not whole."""
    colour = _COLOURS.get(of["state"], "red")
    coverage = of.get("coverage_min")
    lowest = "" if coverage is None or coverage >= 1 else f", coverage {percent(coverage, 1)} at its lowest"
    return f"[{colour}]{of['state']}[/{colour}]{lowest}"


def _needs(console: Console, needs: Sequence[Mapping[str, Any]], shown: int = 12, *, wrap: bool = False) -> None:
    """What only the reader can mend, and how. wrap : at the width of the console, so that lines can be counted"""
    if not needs:
        return
    console.print("[bold]Needs you[/bold]")
    for need in needs[:shown]:
        about = f"{escape(need['symbol'])}: " if need["symbol"] else ""
        console.print(f"  {about}{words(need['reason'])}. {escape(need['remedy'])}.", soft_wrap=not wrap)
    if len(needs) > shown:
        console.print(f"  … and {len(needs) - shown} more; `leadline status ID --json` lists all")


def render_portfolios(
    console: Console, items: Sequence[Mapping[str, Any]], refusals: Sequence[Mapping[str, Any]] = ()
) -> None:
    columns = ("id", "name", "state", "complete to", "first session", "coverage", "needs you", "positions")
    portfolios = table("Portfolios", *columns, left=5)
    for item in items:
        portfolios.add_row(
            item["id"],
            escape(item["name"]),
            item["state"],
            item.get("complete_to") or DASH,
            item["first_session"] or DASH,
            percent(item.get("coverage_min"), 1),
            count(item.get("needs_you")),
            str(item["positions"]),
        )
    console.print(portfolios)
    vendors.render_refusals(console, refusals)


def render_issues(
    console: Console, title: str, issues: Sequence[Mapping[str, Any]], *, most: int = 20, total: int | None = None
) -> None:
    """Errors or warnings of an import: as many as a person reads, and how many there are."""
    total = len(issues) if total is None else max(total, len(issues))
    found = Table(title=f"{title} ({total})", title_justify="left", title_style="bold")
    for column in ("row", "column", "code"):
        found.add_column(column, no_wrap=True)
    found.add_column("message", overflow="fold")
    for issue in issues[:most]:
        row = "" if issue.get("row") is None else str(issue["row"])
        found.add_row(
            row, escape(issue.get("column") or ""), issue.get("code") or "", escape(issue.get("message") or "")
        )
    console.print(found)
    if total > most:
        console.print(f"… and {total - min(most, len(issues)):,} more.")


def render_risk_overview(
    console: Console, client: Client, portfolio_id: str, session: str | None = None, *, full: bool = False
) -> dict[str, Any]:
    """Fetch and print the risk overview of one session; returns the document, for `--json` and for tests.

    NAV, P&L and exposures; positions; factor betas; volatility and portfolio beta; sectors; what was withheld and why;
    completeness. With `full`, every figure of every answer. Sections without values yet say so.
    """
    document = overview.gather(client, portfolio_id, session, full=full)
    print_overview(console, document, full=full)
    return document


def print_overview(console: Console, document: Mapping[str, Any], *, full: bool = False) -> None:
    portfolio, status = document["portfolio"], document["status"]
    console.print()
    console.print(
        f"[bold]{escape(portfolio['name'])}[/bold]  {portfolio['currency']}  session {document['session'] or DASH}  "
        f"{_state(status)}",
        soft_wrap=True,
    )
    _needs(console, status.get("needs_you") or (), FIRST_NEEDS, wrap=True)
    if document["snapshot"] is None:
        session = document["session"]
        console.print(f"Session {session} is not complete yet." if session else "No session is complete yet.")
    screen(console, document)
    console.print()
    if document["positions"]:
        _positions(console, document["positions"]["items"])
        if full:
            full_tables.lots(console, document["positions"]["items"])
    if document["factor_exposures"]:
        risk.factors(console, document["factor_exposures"])
        if full:
            full_tables.exposures(console, document["factor_exposures"])
    if (remedy := thinned_out(document["risk"])) is not None:
        console.print(f"Risk of this session was thinned out. {escape(remedy)}.")
    elif document["risk"]:
        _risk(console, document["risk"], document.get("scorecard"), full=full)
    if document["correlations"] and remedy is None:
        correlations.correlations(console, document["correlations"], full=full)
    if document["stress"] and remedy is None:
        (stress if full else risk).stress(console, document["stress"]["scenarios"])
    if full:
        analytics.sections(console, document)
        symbol_tables.symbols(console, document.get("symbols") or [])
        full_tables.origins(console, document)
    _withheld(console, document)
    _price_basis(console, status)
    console.print(
        f"\nCompleteness: [bold]{share(status['completed'], status['expected'])}[/bold] "
        f"({status['completed']:,} of {status['expected']:,} units processed, {status['partial']:,} with a remark), "
        f"state {status['state']}"
    )
    if not full and document["risk"]:
        console.print(
            "'leadline show --full' has every figure: lots, betas by position, stress by factor and by position, each symbol's own facts."
        )


def _risk(console: Console, of: Mapping[str, Any], scorecard: Mapping[str, Any] | None, *, full: bool) -> None:
    if not full:
        risk.risk(console, of)
        return
    risk.risk(console, of, most=len(of["decomposition"]["contributions"]), whole=True)
    full_tables.series(console, of["positions"])
    if scorecard:
        full_tables.scorecard(console, scorecard)


def _positions(console: Console, items: Sequence[Mapping[str, Any]]) -> None:
    rows = table("Positions", "symbol", "quantity", "price", "value", "weight", "P&L day", "P&L total", "remark")
    rows.columns[-1].justify = "left"
    for item in items:
        remark = words(item["reason"]) or ("closed" if item["quantity"] == 0 else "")
        rows.add_row(
            item["symbol"],
            shares(item["quantity"], 4 if abs(item["quantity"]) >= 1 else 10),
            price(item["price"]),
            money(item["market_value"]),
            percent(item["weight"], 1),
            money(item["daily_pnl"]),
            money(item["cumulative_pnl"]),
            remark,
        )
    console.print(rows)


def _withheld(console: Console, document: Mapping[str, Any]) -> None:
    """Figures that are null, and why. Each cause once, whichever answer it came with."""
    reasons = [
        reason
        for key in ("risk", "factor_exposures", "snapshot")
        for reason in ((document[key] or {}).get("reasons") or [])
    ]
    lines = reasons_text(reasons)
    if lines:
        console.print("[bold]Withheld or incomplete[/bold]")
        for line in lines:
            console.print(f"  {line}")


def render_explanation(console: Console, document: Mapping[str, Any]) -> None:
    """A figure with its formula, and a line for each thing that went into it."""
    value = DASH if document["value"] is None else str(document["value"])
    console.print(f"[bold]{escape(document['figure'])}[/bold] = {escape(value)}  on {document['session']}")
    console.print(f"  {escape(document['formula'])}", soft_wrap=True)
    known = (
        ("revision", "revision"),
        ("price version", "price_version"),
        ("model", "model_version"),
        ("computed", "computed_at"),
    )
    told = ", ".join(f"{word} {document[key]}" for word, key in known if document.get(key) is not None)
    console.print(f"  {told}{', behind what is required now' if document['stale'] else ''}")
    for name, parameter in document["parameters"].items():
        console.print(f"  {escape(name)} = {parameter}")
    for step in document["steps"]:
        console.print(f"  {escape(step['name'])} = {DASH if step['value'] is None else escape(str(step['value']))}")
    if document["no_inputs"]:
        console.print(f"  no inputs: {escape(document['no_inputs'])}")
        return
    rows = table("Inputs", "kind", "symbol", "from", "to", "provider", "fetched", "version", left=6)
    for item in document["inputs"]:
        cells = (item[key] for key in ("kind", "symbol", "from", "to", "provider", "fetched_at"))
        version = item["price_version"] if item["price_version"] is not None else item["revision"]
        rows.add_row(*(escape(str(cell or DASH)) for cell in cells), str(version or DASH))
    console.print(rows)
    for item in document["inputs"]:
        if "state" in item:
            console.print(
                f"  {escape(item['symbol'])} jumped by {percent(item['return'])} on {item['from']}: {item['state']} by"
                f" {escape(str(item['provider']))}, {escape(str(item['reason']))}",
                soft_wrap=True,
            )
