"""`leadline mcp`: the API for agents, over the Model Context Protocol. Fourteen tools read; two more, and neither changes a portfolio.

The tools' docstrings and types are what an agent is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any, Literal, TypeVar
from uuid import UUID

from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

from leadline.agent_answers import (
    Attribution,
    DryRun,
    Explained,
    Exposures,
    Limits,
    Liquidity,
    Performance,
    PortfolioLine,
    Portfolios,
    Positions,
    Replay,
    Rerun,
    Restatements,
    Risk,
    Status,
    Stress,
    WhatIf,
)
from leadline.async_client import AsyncClient
from leadline.calls import Call
from leadline.errors import Failed
from leadline.names import find_portfolios

INSTRUCTIONS = (
    "Portfolio risk. A figure that is null is unknown, never zero: 'reasons' say why, who can mend it and how, and 'explain' says what "
    "a figure was made of. A portfolio is named by its name, its id, or the beginning of either. Fractions are decimal: 0.05 is 5 %."
)
READ = ToolAnnotations(readOnlyHint=True, openWorldHint=False)
T = TypeVar("T")


def _pick_fields(kind: type[T], document: Mapping[str, Any]) -> T:
    """What the tool promises, of what the server answers. A field that an older server lacks is null."""
    return kind(**{each.name: document.get(each.name) for each in fields(kind)})  # type: ignore[arg-type]


class Tools:
    """The tools' calls. Names of portfolios are looked up, whole ids are not."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def _get(self, path: str, **params: object) -> Any:
        return await self._client.send(Call[Any]("GET", path, params))

    async def _id(self, portfolio: str) -> str:
        try:
            return str(UUID(portfolio))
        except ValueError:
            pass
        items = [dict(item) async for item in self._client.portfolios()]
        found = find_portfolios(items, portfolio)
        if len(found) != 1:
            known = ", ".join(f"{item['name']} ({item['id']})" for item in (found or items)[:20])
            count = len(found) or "no"
            raise Failed(f"{count} portfolios are named {portfolio!r}. There are: {known or 'none'}.")
        return str(found[0]["id"])

    async def _result(self, kind: type[T], what: str, portfolio: str, session: date | None) -> T:
        return _pick_fields(kind, await self._get(f"/portfolios/{await self._id(portfolio)}/{what}", session=session))

    async def _range(
        self, kind: type[T], what: str, portfolio: str, first: date | None, last: date | None, **more: object
    ) -> T:
        answer = await self._get(
            f"/portfolios/{await self._id(portfolio)}/{what}", **{"from": first, "to": last}, **more
        )
        return _pick_fields(kind, answer | {"first": answer["from"], "last": answer["to"]})

    async def list_portfolios(self) -> Portfolios:
        """All portfolios: state, coverage and net asset value of each."""
        return Portfolios([_pick_fields(PortfolioLine, item) async for item in self._client.portfolios()])

    async def status(self, portfolio: str) -> Status:
        """Whether a portfolio is complete, partial, healing or blocked; what is missing and why; what a person must do."""
        return _pick_fields(Status, await self._get(f"/portfolios/{await self._id(portfolio)}/status"))

    async def positions(self, portfolio: str, session: date | None = None) -> Positions:
        """Every lot on a session: quantity, price, value, weight, profit and loss. Without a session the newest complete one."""
        return await self._result(Positions, "positions", portfolio, session)

    async def risk(self, portfolio: str, session: date | None = None) -> Risk:
        """Volatility, beta, value at risk, drawdown, concentration and sectors on a session."""
        return await self._result(Risk, "risk", portfolio, session)

    async def exposures(self, portfolio: str, session: date | None = None) -> Exposures:
        """Betas to the factors and what they are worth in money on a session."""
        return await self._result(Exposures, "factor-exposures", portfolio, session)

    async def stress(self, portfolio: str, session: date | None = None) -> Stress:
        """What scripted scenarios would cost on a session, directly and with everything that moves along."""
        return await self._result(Stress, "stress", portfolio, session)

    async def performance(
        self, portfolio: str, first: date | None = None, last: date | None = None, benchmark: str | None = None
    ) -> Performance:
        """Returns of a range, time- and money-weighted, ratios, drawdowns and a calendar; with a benchmark such as SPY beside it.
        Without days from the first session to the newest complete one."""
        return await self._range(Performance, "performance", portfolio, first, last, benchmark=benchmark)

    async def attribution(self, portfolio: str, first: date | None = None, last: date | None = None) -> Attribution:
        """Where the return of a range came from: by position, sector and factor."""
        return await self._range(Attribution, "attribution", portfolio, first, last)

    async def replay(self, portfolio: str, first: date, last: date, session: date | None = None) -> Replay:
        """What a dated stretch of the past would do to what is held on a session, such as 2020-02-19 to 2020-03-23."""
        return await self._range(Replay, "stress/replay", portfolio, first, last, session=session)

    async def liquidity(self, portfolio: str, session: date | None = None, share: float | None = None) -> Liquidity:
        """How many sessions it takes to sell. share : of a day's mean volume that is sold a day, such as 0.2"""
        path = f"/portfolios/{await self._id(portfolio)}/liquidity"
        return _pick_fields(Liquidity, await self._get(path, session=session, share=share))

    async def what_if(self, portfolio: str, trades: dict[str, float], session: date | None = None) -> WhatIf:
        """Risk before and after trades at the session's closes; nothing is stored. trades : quantity by symbol, negative to sell"""
        listed = [{"symbol": symbol, "quantity": quantity} for symbol, quantity in trades.items()]
        body = {"trades": listed, "session": None if session is None else session.isoformat()}
        path = f"/portfolios/{await self._id(portfolio)}/what-if"
        return _pick_fields(WhatIf, await self._client.send(Call[Any]("POST", path, json=body)))

    async def limits(self) -> Limits:
        """Limits on figures, in which portfolios each is breached, and since when."""
        return _pick_fields(Limits, await self._get("/limits"))

    async def explain(self, portfolio: str, figure: str, session: date | None = None) -> Explained:
        """Where a figure comes from: formula, parameters, steps, and the data with provider and time. Figures are named like
        snapshots.nav, risk.var.historical.0.95 or risk.volatility.realized_252."""
        path = f"/portfolios/{await self._id(portfolio)}/explain"
        return _pick_fields(Explained, await self._get(path, figure=figure, session=session))

    async def restatements(self, portfolio: str, first: date | None = None, last: date | None = None) -> Restatements:
        """What was computed again between two sessions, and why, newest first."""
        path = f"/portfolios/{await self._id(portfolio)}/restatements/causes"
        answer = await self._get(path, **{"from": first, "to": last})
        return Restatements(answer["items"], more=answer["next"] is not None)

    async def import_dry_run(self, csv: str, name: str, equity: float) -> DryRun:
        """How a file of positions would be understood. Saves nothing, ever: a person imports.

        csv : the text of the file; equity : capital before the first session
        """
        form = {"name": name, "equity_balance": str(equity), "dry_run": "true"}
        files = {"file": ("positions.csv", csv.encode(), "text/csv")}
        try:
            answer = await self._client.send(Call[Any]("POST", "/portfolios/import", data=form, files=files))
        except Failed as error:
            if not error.errors:
                raise
            return DryRun(name, 0, [], error.errors, [])
        return DryRun(answer["name"], answer["positions"], answer["warnings"], [], answer.get("preview") or [])

    async def rerun(
        self, portfolio: str, what: Literal["missing", "failed", "all"] = "missing", *, confirm: bool = False
    ) -> Rerun:
        """Ask for work again. Without confirm=true nothing is asked, and the note says what it would be; ask the person first."""
        portfolio_id = await self._id(portfolio)
        if not confirm:
            status = await self._client.status(portfolio_id)
            missing = status["expected"] - status["completed"]
            units = status["expected"] if what == "all" else missing
            note = f"Not asked: up to {units:,} of {status['expected']:,} units would be computed again. Call with confirm=true."
            return Rerun(asked=False, run_id=None, note=note)
        accepted = await self._client.rerun([portfolio_id], what)
        rejected: Sequence[Mapping[str, Any]] = accepted["rejected"]
        return Rerun(asked=True, run_id=accepted["run_id"], note=f"Asked; {len(rejected)} rejected.")


def server(client: AsyncClient) -> FastMCP:
    """The MCP server of one client of the API."""
    made = FastMCP("leadline", instructions=INSTRUCTIONS, log_level="WARNING")
    tools = Tools(client)
    for read in (
        tools.list_portfolios, tools.status, tools.positions, tools.risk, tools.exposures, tools.stress, tools.explain,
        tools.restatements, tools.performance, tools.attribution, tools.replay, tools.liquidity, tools.what_if, tools.limits,
    ):  # fmt: skip
        made.tool(annotations=READ, structured_output=True)(read)
    made.tool(annotations=READ, structured_output=True)(tools.import_dry_run)
    writes = ToolAnnotations(readOnlyHint=False, destructiveHint=False, idempotentHint=True, openWorldHint=False)
    made.tool(annotations=writes, structured_output=True)(tools.rerun)
    return made


def serve() -> None:
    """Speak over standard input and output until they close."""
    server(AsyncClient()).run("stdio")
