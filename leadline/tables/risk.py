"""Exposures, risk, scorecard and stress of one session as tables, as short as a person reads them; `full_tables` has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import table
from leadline.tables.text import DASH, count, money, number, percent, words

# Of contributions and clusters: beyond a dozen a table is no longer read.
MOST = 12
LEAST_T = 2.0  # below it a beta and 0 are much the same


def factors(console: Console, exposures: Mapping[str, Any]) -> None:
    """The joint set, which risk and stress rest on; beside it what is only reported."""
    proxies = exposures.get("proxies") or {}
    for of, title in (("joint", "Factor exposures (joint)"), ("reported", "Single regressions, reported only")):
        rows = table(title, "factor", "beta", "error", "t", "money", "covered", "proxy", "remark")
        for column in (-1, -2):
            rows.columns[column].justify = "left"
        for factor in exposures["factors"]:
            if factor["set"] == of:
                remark = words(factor["reason"]) or ("short history" if factor["quality"] == "limited" else "")
                t = factor.get("t_hac")
                if not remark and t is not None and abs(t) < LEAST_T:
                    remark = "within two errors of 0"
                rows.add_row(
                    words(factor.get("label") or factor["factor"]),
                    number(factor["beta"]),
                    number(factor.get("stderr_hac")),
                    number(t, 1),
                    money(factor["money"]),
                    percent(factor["covered_weight"], 1),
                    proxies.get(factor["factor"]) or DASH,
                    remark,
                )
        if rows.row_count:
            console.print(rows)
    _options(console, exposures["positions"] or ())


def _options(console: Console, positions: Sequence[Mapping[str, Any]]) -> None:
    rows = table(
        "Options, of one share", "contract", "volatility", "delta", "gamma", "vega, a point", "theta, a day", "exposure"
    )
    for position in positions:
        of = position.get("greeks")
        if of:
            rows.add_row(
                position["symbol"],
                percent(of["implied_volatility"], 1),
                number(of["delta"], 3),
                number(of["gamma"], 4),
                number(of["vega"], 4),
                number(of["theta"], 4),
                money(position["exposure_value"]),
            )
    if rows.row_count:
        console.print(rows)


def risk(console: Console, of: Mapping[str, Any], *, most: int = MOST, whole: bool = False) -> None:
    """`most`: of the contributions to the volatility, the largest first. `whole`: also what repeats something else."""
    _volatility(console, of)
    _tail(console, of)
    _render_covered(console, of.get("covered_only") or {}, always=whole)
    _decomposition(console, of.get("decomposition") or {}, of.get("concentration") or {}, most)
    _three_volatilities(console, of)
    compared = f"; benchmark {of['benchmark']} of {of['benchmark_date']}" if of.get("benchmark") else ""
    sectors = table(
        f"Sectors, of NAV{escape(compared)}", "sector", "long", "short", "net", "gross", "benchmark", "active"
    )
    for sector in of.get("sectors") or []:
        sides = ("long", "short", "net", "gross", "benchmark", "active")
        sectors.add_row(escape(sector["sector"]), *(percent(sector[side], 1) for side in sides))
    console.print(sectors)
    _scorecard(console, of.get("scorecard") or {})


def _volatility(console: Console, of: Mapping[str, Any]) -> None:
    volatility, beta = of["volatility"], of["beta"]
    rows = table("Volatility and beta", "figure", "value")
    for window in (21, 63, 252):
        rows.add_row(f"volatility, {window} sessions", percent(volatility[f"realized_{window}"], 1))
    rows.add_row("volatility of NAV, 252 sessions", percent(volatility.get("realized_nav_252"), 1))
    rows.add_row("percentile among the last 252", percent(volatility.get("percentile_252"), 0))
    trend = volatility.get("trend") or {}
    if trend.get("z") is not None:
        rows.add_row("trend", f"{trend['direction']}  (z {number(trend['z'])})")
    forecast = volatility.get("forecast_21") or {}
    if forecast.get("value") is not None:
        band = "" if forecast["low"] is None else f"{percent(forecast['low'], 1)} to {percent(forecast['high'], 1)}, "
        rows.add_row("forecast, 21 sessions", f"{percent(forecast['value'], 1)}  ({band}{forecast['method']})")
        variances = ", ".join(number(forecast.get(name), 4) for name in ("variance", "ewma_variance"))
        rows.add_row("its variance, and by EWMA", variances)
        rows.add_row("HAR's part of it", percent(forecast.get("har_weight"), 0))
        rows.add_row("returns behind it", count(forecast.get("n_obs")))
    else:
        rows.add_row("forecast, 21 sessions", DASH)
    rows.add_row("beta from positions", number(beta["aggregated"]))
    rows.add_row("with the uncovered as the market", number(beta.get("aggregated_filled")))
    r2 = f"  (R² {number(beta['r2'])})" if beta.get("r2") is not None else ""
    rows.add_row("beta realized", number(beta["realized"]) + r2)
    rows.add_row("returns behind it", count(beta.get("n_obs")))
    console.print(rows)


def _render_covered(console: Console, of: Mapping[str, Any], *, always: bool) -> None:
    """always : also where everything is covered, and it repeats what stands above"""
    backing = [of.get(f"coverage_{window}") for window in (21, 63, 252, "var")]
    if not of or not (always or any(share is not None and share < 1.0 for share in backing)):
        return
    rows = table("Of covered value alone", "figure", "value", "covered")
    for window in (21, 63, 252):
        share = percent(of[f"coverage_{window}"], 1)
        rows.add_row(f"volatility, {window} sessions", percent(of[f"realized_{window}"], 1), share)
    rows.add_row("forecast, 21 sessions", percent(of["forecast_21"], 1), percent(of["coverage_var"], 1))
    rows.add_row("beta realized", number(of["beta"]), percent(of["coverage_252"], 1))
    console.print(rows)
    _losses(console, "Value at risk of covered value alone, one day, of NAV", of["var"])


def _losses(console: Console, title: str, tails: Sequence[Mapping[str, Any]]) -> None:
    bounded = any("var_low" in tail for tail in tails)
    between = ("at least", "at most") if bounded else ()
    counted = ("returns",) if any("n_obs" in tail for tail in tails) else ()
    rows = table(title, "method", "level", "VaR", *between, "expected shortfall", *counted, left=2)
    for tail in tails:
        bounds = [percent(tail.get(key)) for key in ("var_low", "var_high")] if bounded else []
        rows.add_row(
            tail["method"],
            percent(tail["level"], 1),
            percent(tail["var"]),
            *bounds,
            percent(tail.get("es")),
            *(count(tail.get("n_obs")) for _ in counted),
        )
    if rows.row_count:
        console.print(rows)


def _tail(console: Console, of: Mapping[str, Any]) -> None:
    """Of today's holdings; the drawdown is of the book as it was."""
    _losses(console, "Value at risk of today's holdings, one day, of NAV", of.get("var") or [])
    _losses(console, "Value at risk of today's holdings, ten days, of NAV", of.get("var_10d") or [])
    _by_factor(console, of)
    drawdown = of.get("drawdown") or {}
    if drawdown.get("max") is not None:
        console.print(
            f"Drawdown {percent(drawdown['current'])}; deepest {percent(drawdown['max'])}, from {drawdown['peak']} to "
            f"{drawdown['trough']}"
        )


def _by_factor(console: Console, of: Mapping[str, Any]) -> None:
    """What factors have in the expected shortfall, and the likeliest move of them that loses so much."""
    short, reverse = of.get("es_factors") or {}, of.get("reverse_stress") or {}
    if short:
        rows = table(f"Expected shortfall at {percent(short['level'], 1)} by factor, of NAV", "factor", "component")
        for name, component in short["factors"].items():
            rows.add_row(words(name), percent(component))
        rows.add_row("holdings' own", percent(short["specific"]))
        console.print(rows)
    if reverse:
        title = f"What most likely loses {percent(reverse['loss'], 0)} of NAV: {number(reverse['sigmas'], 1)} sigma of a quarter"
        rows = table(title, "factor", "return of its proxy")
        for name, shock in reverse["shocks"].items():
            rows.add_row(words(name), percent(shock, 1))
        console.print(rows)


def _decomposition(console: Console, of: Mapping[str, Any], concentration: Mapping[str, Any], most: int) -> None:
    if not of:
        return
    rows = table("What the volatility is made of", "part", "weight", "contribution", "share")
    parts = sorted(of.get("contributions") or [], key=lambda part: -abs(part["contribution"] or 0.0))
    for part in parts[:most]:
        rows.add_row(
            part["symbol"], percent(part["weight"], 1), percent(part["contribution"]), percent(part["share"], 1)
        )
    if len(parts) > most:
        rows.add_row(f"and {len(parts) - most} more", "", "", "")
    rows.add_row("volatility", "", percent(of.get("volatility")), "")
    rows.add_row("shrinkage", "", number(of.get("shrinkage"), 3), "")
    rows.add_row("returns behind it", "", count(of.get("n_obs")), "")
    rows.add_section()
    for factor in of.get("factors") or []:
        rows.add_row(f"factor {words(factor['factor'])}", "", "", percent(factor["share"], 1))
    rows.add_row("holdings' own", "", "", percent(of.get("specific_share"), 1))
    rows.add_row("volatility of the factor model", "", percent(of.get("model_vol")), "")
    console.print(rows)
    left_out = ", ".join(f"{each['symbol']} ({words(each['reason'])})" for each in of.get("excluded") or [])
    if left_out:
        console.print(f"Left out of it: {escape(left_out)}")
    figures = table("Diversification and concentration", "figure", "value")
    figures.add_row("diversification ratio", number(of.get("diversification_ratio")))
    figures.add_row("effective bets", number(of.get("effective_bets"), 1))
    figures.add_row("HHI of gross value", number(concentration.get("hhi"), 0))
    figures.add_row("HHI of risk", number(concentration.get("risk_hhi"), 0))
    figures.add_row("effective number of holdings", number(concentration.get("effective"), 1))
    figures.add_row(
        "largest three, ten", f"{percent(concentration.get('top_3'), 1)}, {percent(concentration.get('top_10'), 1)}"
    )
    console.print(figures)


def _three_volatilities(console: Console, of: Mapping[str, Any]) -> None:
    """Of one book; they differ for a reason, which is said where any of them is known."""
    made = of.get("decomposition") or {}
    figures = [of["volatility"].get("realized_252"), made.get("volatility"), made.get("model_vol")]
    if any(figure is not None for figure in figures):
        realized, shrunk, model = (percent(figure) for figure in figures)
        console.print(
            f"Three volatilities: {realized} of the series itself; {shrunk} of its shrunk correlations; {model} of factors, which take "
            "what they leave for uncorrelated (too little for twins)."
        )


def _scorecard(console: Console, of: Mapping[str, Any]) -> None:
    if not of:
        return
    rows = table("Scorecard of earlier forecasts", "figure", "value")
    rows.add_row("QLIKE of HAR (0 is perfect)", number(of["har_qlike"], 4))
    rows.add_row("QLIKE of EWMA", number(of["ewma_qlike"], 4))
    rows.add_row("mean error, forecast less realised", percent(of["mean_error"]))
    var = of["var_95"]
    rows.add_row("VaR 95 exceeded", f"{var['exceedances']} of {var['n']}" if var["n"] else DASH)
    rows.add_row("Kupiec, likelihood ratio", number(var["kupiec_lr"]))
    rows.add_row("Kupiec, probability", number(var["p"], 3))
    console.print(rows)


def stress(console: Console, scenarios: Sequence[Mapping[str, Any]]) -> None:
    rows = table("Stress, of NAV", "scenario", "others unchanged", "others as usual", "market", "uncovered", "remark")
    rows.columns[-1].justify = "left"
    for scenario in scenarios:
        direct, propagated = scenario.get("direct") or {}, scenario.get("propagated") or {}
        capped = ", ".join(words(name) for name in scenario.get("capped") or [])
        rows.add_row(
            escape(scenario["name"]),
            percent(direct.get("fraction"), 1),
            percent(propagated.get("fraction"), 1),
            percent((propagated.get("shocks") or {}).get("market"), 1),
            money(scenario.get("uncovered_value")),
            words(scenario.get("reason")) or (f"capped: {capped}" if capped else ""),
        )
    console.print(rows)
