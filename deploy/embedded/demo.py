"""`leadline demo`: real prices, a sample portfolio, all five services, and what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.embedded.run import Embedded, Options, run_embedded, until_stopped
from deploy.embedded.stopping import stop_on_signals, unless_stopped
from deploy.embedded.supervisor import Supervisor
from leadline.cli import Client, Failed, console_for, render_risk_overview
from shared.errors import LeadlineError
from shared.work import Phase

DATA = Path(__file__).parent / "data"
PRICES = DATA / "prices.parquet"
PORTFOLIO = DATA / "portfolio.csv"
AS_OF = date(2020, 12, 31)  # the last session of the bundled stocks
NAME = "Sample portfolio"
EQUITY = 500_000
FLOW = {"date": "2020-03-16", "amount": 30_000.0, "note": "deposit on the worst day of 2020"}
POLL_SECONDS = 0.25
GIVE_UP_SECONDS = 600.0


@dataclass(frozen=True)
class Recorded:
    """How far the ledger was: equal before and after means that nothing was computed."""

    completed: int
    revisions: int
    latest: datetime | None


def demo(options: Options, *, serve: bool = False, console: Console | None = None) -> None:
    """Run the demonstration; with `serve`, keep serving until Ctrl-C. Raises `LeadlineError` if it does not finish."""
    options = replace(options, data=options.data or PRICES, as_of=options.as_of or AS_OF)
    try:
        asyncio.run(_demo(options, console or console_for(), serve=serve))
    except Failed as error:
        raise LeadlineError(str(error)) from error


async def _demo(options: Options, console: Console, *, serve: bool) -> None:
    supervisor = Supervisor(options.state.resolve())
    asked_to_stop = stop_on_signals(
        lambda: supervisor.begin_stop(code=1, words="stopped; the next run goes on from there")
    )
    began = time.monotonic()
    with _show_status(console, "Starting PostgreSQL, a Kafka-protocol broker and the five services …"):
        running = run_embedded(options, supervisor)
        leadline = await unless_stopped(running.__aenter__(), asked_to_stop)
    if leadline is None:
        raise LeadlineError("stopped before everything had started")
    try:
        console.print(
            f"Running at {leadline.url} after {time.monotonic() - began:.1f} s; state and log in {options.state}"
        )
        before = await _read_recorded(leadline)
        if not await _through(leadline, console, asked_to_stop):
            raise LeadlineError("stopped before the portfolio was complete; the next run goes on from there")
        _print_account(console, before, await _read_recorded(leadline))
        if not serve:
            console.print(f"In a browser: {leadline.url}/, with `make demo SERVE=1`")
        else:
            # As it is: a folded link cannot be clicked.
            console.print(f"In a browser, once, within two minutes: {leadline.sign_in_link()}", soft_wrap=True)
            console.print("Serving until Ctrl-C.")
            await until_stopped(leadline, asked_to_stop)
    finally:
        await running.__aexit__(None, None, None)


async def _through(leadline: Embedded, console: Console, asked_to_stop: asyncio.Event) -> bool:
    """Create, wait, print, as a client in a thread of its own; false if a signal came first."""
    give_up = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(_client, leadline, console, give_up))
    stopped = asyncio.create_task(until_stopped(leadline, asked_to_stop))
    await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
    give_up.set()
    if stopped.done():
        await stopped
    stopped.cancel()
    return await work


def _client(leadline: Embedded, console: Console, give_up: threading.Event) -> bool:
    with Client(leadline.url, leadline.token) as api:
        portfolio = _portfolio(api, console)
        if not _wait_until_complete(api, portfolio, console, give_up):
            return False
        document = render_risk_overview(console, api, portfolio)
        _print_missing_proxies(document, console)
    return True


def _portfolio(api: Client, console: Console) -> str:
    """Id of the sample portfolio; created from the bundled CSV, with a deposit, if it is not there."""
    found = next((str(item["id"]) for item in api.pages("/portfolios") if item["name"] == NAME), None)
    if found is None:
        form = {"name": NAME, "account_type": "taxable", "equity_balance": str(EQUITY)}
        file = (PORTFOLIO.name, PORTFOLIO.read_bytes(), "text/csv")
        created = api.post("/portfolios/import", data=form, files={"file": file})
        found = str(created["id"])
        console.print(
            f"Imported {created['positions']} positions as {NAME!r} with {EQUITY:,} of equity: "
            f"{created['first_session']} to {created['last_session']}."
        )
    else:
        console.print(f"{NAME!r} is there already.")
    # The last run may have been cut off between the two calls.
    if not any(flow["date"] == FLOW["date"] for flow in api.get(f"/portfolios/{found}")["flows"]):
        api.post(f"/portfolios/{found}/flows", json=FLOW)
        console.print(f"Deposited {FLOW['amount']:,.0f} on {FLOW['date']}.")
    return found


def _wait_until_complete(api: Client, portfolio: str, console: Console, give_up: threading.Event) -> bool:
    """Show progress by phase until nothing is missing; false if told to give up."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    until = time.monotonic() + GIVE_UP_SECONDS
    with Progress(*columns, console=console) as progress:
        bars = {phase.value: progress.add_task(phase.value, total=None) for phase in Phase}
        while not give_up.is_set():
            status: dict[str, Any] = api.get(f"/portfolios/{portfolio}/status")
            for phase, counts in status["phases"].items():
                progress.update(bars[phase], completed=counts["completed"], total=counts["expected"])
            if status["state"] in ("complete", "partial"):
                return True
            if status["state"] == "blocked":
                raise LeadlineError(f"some units are blocked, the log says why: {status['holes'][:3]}")
            if time.monotonic() > until:
                raise LeadlineError(f"not complete after {GIVE_UP_SECONDS:.0f} s; missing: {status['holes'][:3]}")
            give_up.wait(POLL_SECONDS)
    return False


def _print_missing_proxies(document: dict[str, Any], console: Console) -> None:
    proxies = (document["factor_exposures"] or {}).get("proxies") or {}
    missing = [factor.replace("_", " ") for factor, proxy in proxies.items() if proxy is None]
    if missing:
        console.print(
            f"No proxy in the bundled prices: {', '.join(missing)}. These figures are null, never 0, with the reason beside them."
        )


def _print_account(console: Console, before: Recorded, after: Recorded) -> None:
    if before == after:
        console.print(
            f"Nothing was recomputed: all {after.completed:,} units were complete since {after.latest:%Y-%m-%d %H:%M:%S} UTC."
        )
    elif before.completed:
        console.print(f"Went on from {before.completed:,} complete units of an earlier run to {after.completed:,}.")


async def _read_recorded(leadline: Embedded) -> Recorded:
    connection = await asyncpg.connect(leadline.admin_url)
    try:
        row = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE completed_revision >= required_revision),"
            " coalesce(sum(completed_revision), 0)::bigint, max(completed_at) FROM ledger.units"
        )
    finally:
        await connection.close()
    return Recorded(*row)


@contextlib.contextmanager
def _show_status(console: Console, what: str) -> Iterator[None]:
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what)
        yield
