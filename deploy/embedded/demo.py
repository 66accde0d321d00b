"""`leadline demo`: real prices, a sample portfolio, all five services, and what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.embedded.run import Embedded, Options, embedded, stop_on_signals, until_stopped
from shared.errors import LeadlineError
from shared.work import Phase

DATA = Path(__file__).parent / "data"
PRICES = DATA / "prices.parquet"
PORTFOLIO = DATA / "portfolio.csv"
AS_OF = date(2020, 12, 31)  # the last session of the bundled stocks
NAME = "Sample portfolio"
EQUITY = 500_000
FLOW = {"date": "2020-03-16", "amount": 30_000.0, "note": "deposit on the worst day of 2020"}
GIVE_UP_SECONDS = 600.0


@dataclass(frozen=True)
class Recorded:
    """How far the ledger was: equal before and after means that nothing was computed."""

    completed: int
    revisions: int
    latest: object


def demo(options: Options, *, serve: bool = False, console: Console | None = None) -> None:
    """Run the demonstration; with `serve`, keep serving until Ctrl-C. Raises `LeadlineError` if it does not finish."""
    data = options.data or PRICES
    options = replace(options, data=data, as_of=options.as_of or AS_OF)
    asyncio.run(_demo(options, console or Console(), serve=serve))


async def _demo(options: Options, console: Console, *, serve: bool) -> None:
    asked_to_stop = stop_on_signals()
    with _saying(console, "starting PostgreSQL, a Kafka-protocol broker and five services …"):
        running = embedded(options)
        leadline = await running.__aenter__()
    try:
        console.print(f"running at {leadline.url}, state in {options.state}, log in {leadline.log}")
        work = asyncio.create_task(_show(leadline, console))
        asked = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            raise LeadlineError("stopped before the portfolio was complete; the next run goes on from here")
        asked.cancel()
        await work
        if serve:
            console.print(f"serving {leadline.url} until Ctrl-C")
            await until_stopped(leadline, asked_to_stop)
        else:
            console.print("To look at it in a browser: `make demo SERVE=1`. To start over: remove the state directory.")
    finally:
        await running.__aexit__(None, None, None)


@contextlib.contextmanager
def _saying(console: Console, what: str) -> Iterator[None]:
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what)
        yield


async def _show(leadline: Embedded, console: Console) -> None:
    before = await _recorded(leadline)
    async with httpx2.AsyncClient(base_url=f"{leadline.url}/api/v1", timeout=60, headers=_authorisation()) as api:
        portfolio = await _portfolio(api, console)
        status = await _wait_until_complete(api, portfolio, console)
        after = await _recorded(leadline)
        await _print_picture(api, portfolio, console)
        await _print_missing_proxies(api, portfolio, console)
    if before == after:
        console.print(
            f"Nothing was recomputed: all {after.completed} units were complete, the last one since {after.latest}."
        )
    else:
        console.print(f"Computed {after.revisions - before.revisions} unit revisions in this run.")
    share = status["completed"] / status["expected"] if status["expected"] else 1.0
    console.print(
        f"Completeness {share:.0%}: {status['completed']} of {status['expected']} units, {status['partial']} of them partial."
    )


def _authorisation() -> dict[str, str]:
    token = os.environ.get("LEADLINE_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


async def _recorded(leadline: Embedded) -> Recorded:
    connection = await asyncpg.connect(leadline.admin_url)
    try:
        row = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE completed_revision >= required_revision),"
            " coalesce(sum(completed_revision), 0)::bigint, max(completed_at) FROM ledger.units"
        )
    finally:
        await connection.close()
    return Recorded(*row)


async def _portfolio(api: httpx2.AsyncClient, console: Console) -> str:
    """Id of the sample portfolio; created from the bundled CSV if it is not there."""
    listed = _body(await api.get("/portfolios", params={"limit": 100}))
    found = next((item["id"] for item in listed["items"] if item["name"] == NAME), None)
    if found is None:
        console.print(f"importing {PORTFOLIO.name} as {NAME!r} with {EQUITY:,} of equity")
        form = {"name": NAME, "account_type": "taxable", "equity_balance": str(EQUITY)}
        with PORTFOLIO.open("rb") as file:
            created = _body(
                await api.post("/portfolios/import", data=form, files={"file": (PORTFOLIO.name, file, "text/csv")})
            )
        found = created["id"]
    else:
        console.print(f"{NAME!r} is there already")
    # The key makes it one deposit, however often this runs and wherever the last run was cut off.
    _body(await api.post(f"/portfolios/{found}/flows", json=FLOW, headers={"Idempotency-Key": f"demo-flow-{found}"}))
    return str(found)


async def _wait_until_complete(api: httpx2.AsyncClient, portfolio: str, console: Console) -> dict[str, Any]:
    """Show progress by phase until nothing is missing; returns the last status."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    until = time.monotonic() + GIVE_UP_SECONDS
    with Progress(*columns, console=console) as progress:
        bars = {phase.value: progress.add_task(phase.value, total=None) for phase in Phase}
        while True:
            status = _body(await api.get(f"/portfolios/{portfolio}/status"))
            for phase, counts in status["phases"].items():
                progress.update(bars[phase], completed=counts["completed"], total=counts["expected"])
            if status["state"] == "complete":
                return status
            if status["state"] == "blocked":
                raise LeadlineError(f"some units are blocked: {status['holes'][:3]}")
            if time.monotonic() > until:
                raise LeadlineError(f"not complete after {GIVE_UP_SECONDS:.0f} s; missing: {status['holes'][:3]}")
            await asyncio.sleep(0.25)


async def _print_missing_proxies(api: httpx2.AsyncClient, portfolio: str, console: Console) -> None:
    answer = _body(await api.get(f"/portfolios/{portfolio}/factor-exposures"))
    missing = [factor for factor, proxy in answer["proxies"].items() if proxy is None]
    if missing:
        console.print(
            f"No bundled prices for a proxy of: {', '.join(missing)}. Their figures are null, with the reason no_proxy."
        )


def _body(response: httpx2.Response) -> Any:
    if response.status_code >= 400:
        raise LeadlineError(
            f"{response.request.method} {response.request.url} answered {response.status_code}: {response.text[:500]}"
        )
    return response.json()
