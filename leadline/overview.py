"""The risk overview of one session, gathered from the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from leadline.http import Client


def gather(client: Client, portfolio_id: str, session: str | None = None, *, full: bool = False) -> dict[str, Any]:
    """All answers about one session as one document; null where there is nothing yet.

    full : with the scorecard method by method, performance, the session's attribution, liquidity, what stands behind funds, betas to
        sectors, and the facts of each symbol, which are two calls a symbol

    Without a session, the newest one that risk has completed is taken for all of them, so that the figures belong together.
    """
    base = f"/portfolios/{portfolio_id}"
    portfolio = client.get(base)
    status = client.get(f"{base}/status")
    risk = client.find(f"{base}/risk", session=session)
    when = session or (risk["session"] if risk else None)
    positions = client.find(f"{base}/positions", session=when)
    when = when or (positions["session"] if positions else None)
    snapshots = client.get(f"{base}/snapshots", **{"from": when, "to": when})["items"] if when else []
    exposures = client.find(f"{base}/factor-exposures", session=when)
    document = {
        "portfolio": {key: value for key, value in portfolio.items() if key not in ("positions", "flows")},
        "session": when,
        "status": status,
        "snapshot": snapshots[-1] if snapshots else None,
        "positions": positions,
        "factor_exposures": exposures,
        "risk": risk,
        "correlations": client.find(f"{base}/correlations", session=when),
        "stress": client.find(f"{base}/stress", session=when),
    }
    if full:
        document["scorecard"] = client.find(f"{base}/scorecard", session=when)
        document["performance"] = client.find(f"{base}/performance", to=when)
        document["attribution"] = client.find(f"{base}/attribution", **{"from": when, "to": when}) if when else None
        document["liquidity"] = client.find(f"{base}/liquidity", session=when)
        document["look_through"] = client.find(f"{base}/look-through", session=when)
        document["sector_exposures"] = client.find(f"{base}/sector-exposures", session=when)
        document["symbols"] = _symbols(client, exposures, when)
    return document


def _symbols(client: Client, exposures: dict[str, Any] | None, when: str | None) -> list[dict[str, Any]]:
    """What is known of each holding by itself; null where nothing is: of options and private holdings."""
    found = []
    for symbol in [position["symbol"] for position in (exposures or {}).get("positions") or ()]:
        path = f"/symbols/{quote(symbol, safe='')}"
        facts = {name: client.find(f"{path}/{name}", session=when) for name in ("factors", "metrics")}
        found.append({"symbol": symbol, **facts})
    return found
