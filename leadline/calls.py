"""The calls of the API with the types of their answers; both clients make them, one waiting and one not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from leadline import models

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Session = str | None
"""YYYY-MM-DD; None is the newest."""
What = Literal["missing", "failed", "all"]


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request whose answer is an `Answer`."""

    method: str
    path: str
    params: Mapping[str, object] = field(default_factory=dict)
    json: Any = None
    data: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, bytes, str]] | None = None


@dataclass(frozen=True)
class Pages(Generic[Item]):
    """A list of `Item`s that is answered a page at a time."""

    path: str
    params: Mapping[str, object] = field(default_factory=dict)


def portfolio(portfolio_id: str) -> Call[models.Portfolio]:
    return Call("GET", f"/portfolios/{portfolio_id}")


def portfolios() -> Pages[models.ListedPortfolio]:
    return Pages("/portfolios")


def status(portfolio_id: str) -> Call[models.Status]:
    return Call("GET", f"/portfolios/{portfolio_id}/status")


def positions(portfolio_id: str, session: Session) -> Call[models.Positions]:
    return Call("GET", f"/portfolios/{portfolio_id}/positions", {"session": session})


def factor_exposures(portfolio_id: str, session: Session) -> Call[models.FactorExposures]:
    return Call("GET", f"/portfolios/{portfolio_id}/factor-exposures", {"session": session})


def risk(portfolio_id: str, session: Session) -> Call[models.Risk]:
    return Call("GET", f"/portfolios/{portfolio_id}/risk", {"session": session})


def stress(portfolio_id: str, session: Session) -> Call[models.Stress]:
    return Call("GET", f"/portfolios/{portfolio_id}/stress", {"session": session})


def series(portfolio_id: str, figures: Sequence[str], first: Session, last: Session) -> Call[models.Series]:
    asked = {"figures": ",".join(figures), "from": first, "to": last}
    return Call("GET", f"/portfolios/{portfolio_id}/risk/series", asked)


def performance(portfolio_id: str, first: Session, last: Session, benchmark: str | None) -> Call[models.Performance]:
    asked = {"from": first, "to": last, "benchmark": benchmark}
    return Call("GET", f"/portfolios/{portfolio_id}/performance", asked)


def attribution(portfolio_id: str, first: Session, last: Session) -> Call[models.Attribution]:
    return Call("GET", f"/portfolios/{portfolio_id}/attribution", {"from": first, "to": last})


def replay(portfolio_id: str, first: str, last: str, session: Session) -> Call[models.Replay]:
    asked = {"from": first, "to": last, "session": session}
    return Call("GET", f"/portfolios/{portfolio_id}/stress/replay", asked)


def liquidity(portfolio_id: str, session: Session, share: float | None) -> Call[models.Liquidity]:
    return Call("GET", f"/portfolios/{portfolio_id}/liquidity", {"session": session, "share": share})


def look_through(portfolio_id: str, session: Session, most: int | None) -> Call[models.LookThrough]:
    return Call("GET", f"/portfolios/{portfolio_id}/look-through", {"session": session, "most": most})


def sector_exposures(portfolio_id: str, session: Session) -> Call[models.SectorExposures]:
    return Call("GET", f"/portfolios/{portfolio_id}/sector-exposures", {"session": session})


def what_if(portfolio_id: str, trades: Mapping[str, float], session: Session) -> Call[models.WhatIf]:
    listed = [{"symbol": symbol, "quantity": quantity} for symbol, quantity in trades.items()]
    return Call("POST", f"/portfolios/{portfolio_id}/what-if", json={"trades": listed, "session": session})


def explain(portfolio_id: str, figure: str, session: Session) -> Call[models.Explained]:
    return Call("GET", f"/portfolios/{portfolio_id}/explain", {"figure": figure, "session": session})


def explain_symbol(symbol: str, figure: str, session: Session) -> Call[models.Explained]:
    return Call("GET", f"/symbols/{quote(symbol, safe='')}/explain", {"figure": figure, "session": session})


def restatements(portfolio_id: str, first: Session, last: Session) -> Pages[dict[str, Any]]:
    return Pages(f"/portfolios/{portfolio_id}/restatements/causes", {"from": first, "to": last})


def runs() -> Pages[models.Run]:
    return Pages("/admin/runs")


def run(run_id: str) -> Call[models.Run]:
    return Call("GET", f"/admin/runs/{run_id}")


def rerun(portfolio_ids: Sequence[str], what: What, first: Session, last: Session) -> Call[models.RunAccepted]:
    params = {"portfolio_id": list(portfolio_ids), "what": what, "start_date": first, "end_date": last}
    return Call("POST", "/admin/batch/run", params | {"source": "cli"})


def create(document: Mapping[str, Any]) -> Call[models.Imported]:
    return Call("POST", "/portfolios", json=dict(document))


def import_csv(
    file: Path, name: str, equity: float | str, *, dry_run: bool, options: Mapping[str, str]
) -> Call[models.Imported]:
    form = {"name": name, "equity_balance": str(equity), "dry_run": str(dry_run).lower(), **options}
    return Call("POST", "/portfolios/import", data=form, files={"file": (file.name, file.read_bytes(), "text/csv")})


def delete(portfolio_id: str) -> Call[None]:
    return Call("DELETE", f"/portfolios/{portfolio_id}")
