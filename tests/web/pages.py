"""Every page there is, with what its title and heading must say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """A page's path, and words of its title and its first heading."""

    name: str
    path: str
    title: str
    heading: str


def pages(portfolio: str, name: str) -> list[Expected]:
    p = f"/p/{portfolio}"
    return [
        Expected("portfolios", "/", "Portfolios", "Portfolios"),
        Expected("import", "/import", "Import CSV", "Import CSV"),
        Expected("performance", p, name, name),
        Expected("returns", f"{p}/returns", f"{name} · Returns", name),
        Expected("attribution", f"{p}/attribution", f"{name} · Attribution", name),
        Expected("what-if", f"{p}/what-if?symbol=AAPL&quantity=-200", f"{name} · What-if", name),
        Expected("replay", f"{p}/stress?from=2020-02-19&to=2020-03-23#replay", f"{name} · Stress", name),
        Expected("risk", f"{p}/risk", f"{name} · Risk", name),
        Expected("factors", f"{p}/factors", f"{name} · Factors", name),
        Expected("stress", f"{p}/stress", f"{name} · Stress", name),
        Expected("correlations", f"{p}/correlations", f"{name} · Correlations", name),
        Expected("positions", f"{p}/positions", f"{name} · Positions", name),
        Expected("data", f"{p}/data", f"{name} · Data", name),
        Expected("explain", f"{p}/explain?figure=risk.var.historical.0.95&session=2020-12-31", name, name),
        Expected("figures", f"{p}/explain", name, name),
        Expected("operations", "/ops", "Operations", "Completeness"),
        Expected("audit", "/ops/audit", "Audit", "Audit"),
        Expected("symbols", "/symbols", "Symbols", "Symbols"),
        Expected("symbol", "/symbols/JPM", "JPM", "JPM"),
        Expected(
            "symbol-explain", "/symbols/JPM/explain?figure=factors.market_beta.beta&session=2020-12-31", "JPM", "JPM"
        ),
        Expected("settings", "/settings", "Settings", "Settings"),
        Expected("report", f"/report/{portfolio}?session=2020-12-31", name, name),
        Expected("sign-in", "/sign-in", "Sign in", "Sign in"),
        Expected("docs", "/docs", "Leadline API", "Leadline API"),
    ]
