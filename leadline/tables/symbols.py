"""What is known of each holding by itself: regressions, prices, returns. A row a symbol, so that they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import table
from leadline.tables.text import count, money, number, percent, price, text, words

Facts = Sequence[Mapping[str, Any]]


def symbols(console: Console, of: Facts) -> None:
    """of : {symbol, factors, metrics} each, null where nothing is known"""
    factors = [each["factors"] for each in of if each["factors"]]
    metrics = [each["metrics"] for each in of if each["metrics"]]
    _market(console, factors)
    _vendors(console, factors)
    _rates_and_spreads(console, factors)
    _joint(console, factors)
    _metrics(console, metrics)
    bare = [each["symbol"] for each in of if not each["factors"] and not each["metrics"]]
    if bare:
        console.print(f"Nothing is known of these by themselves: {escape(', '.join(bare))}")


def _market(console: Console, of: Facts) -> None:
    rows = table("Symbols on the market", "symbol", "beta", "shrunk", "alpha, a day", "R²", "error", "error, HAC", "t, HAC", "returns",
                 "quality", "beyond 5", "reason")  # fmt: skip
    for facts in of:
        market = facts["market_beta"]
        rows.add_row(
            text(facts["symbol"]), number(market["beta"], 3), number(facts["market_beta_shrunk"]["beta"], 3),
            number(market["alpha"], 5), number(market["r2"], 3), number(market["stderr"], 4), number(market["stderr_hac"], 4),
            number(market["t_hac"]), count(market["n_obs"]), text(market["quality"]),
            _beyond({"beta": market["flagged"], "shrunk": facts["market_beta_shrunk"]["flagged"]}),
            escape(words(market["reason"])),
        )  # fmt: skip
    if rows.row_count:
        console.print(rows)


def _beyond(flagged: Mapping[str, bool]) -> str:
    """Which betas are flagged."""
    return ", ".join(name for name, yes in flagged.items() if yes) or "no"


def _vendors(console: Console, of: Facts) -> None:
    rows = table("Vendors' betas, and what the facts rest on", "symbol", "session", "model", "price version", "vendor's beta", "of",
                 "vendor", "reason", "proxies", left=3)  # fmt: skip
    for column in (5, 6, 7, 8):
        rows.columns[column].justify = "left"
    for facts in of:
        vendor = facts["provider_beta"]
        proxies = ", ".join(f"{words(name)} {proxy}" for name, proxy in facts["proxies"].items() if proxy is not None)
        rows.add_row(
            text(facts["symbol"]), text(facts["session"]), text(facts["model_version"]), count(facts["price_version"]),
            number(vendor["value"]), text(vendor["date"]), text(vendor["provider"]), escape(words(vendor["reason"])), escape(proxies),
        )  # fmt: skip
    if rows.row_count:
        console.print(rows)


def _rates_and_spreads(console: Console, of: Facts) -> None:
    rows = table(
        "Symbols on rates and spreads",
        "symbol",
        "on",
        "beta",
        "error, HAC",
        "R²",
        "returns",
        "beyond 5",
        "reason",
        left=2,
    )
    rows.columns[-1].justify = "left"
    for facts in of:
        for name, single in {"rates": facts["ir_beta"], **facts["spreads"]}.items():
            rows.add_row(
                text(facts["symbol"]), words(name), number(single["beta"], 3), number(single.get("stderr_hac"), 4),
                number(single.get("r2"), 3), count(single.get("n_obs")), _beyond({"yes": single["flagged"]}),
                escape(words(single["reason"])),
            )  # fmt: skip
        rows.add_section()
    if rows.row_count:
        console.print(rows)


def _joint(console: Console, of: Facts) -> None:
    names = list(dict.fromkeys(name for facts in of for name in facts["joint"]["betas"]))
    betas = table("Symbols on all factors at once", "symbol", *map(words, names))
    errors = table("Errors of these betas, HAC", "symbol", *map(words, names))
    fits = table("How well that fits", "symbol", "R²", "condition", "own sd, a day", "returns", "beyond 5", "reasons")
    fits.columns[-1].justify = "left"
    for facts in of:
        joint = facts["joint"]
        why = ", ".join(f"{words(name)} ({words(reason)})" for name, reason in joint["reasons"].items())
        betas.add_row(text(facts["symbol"]), *(number(joint["betas"].get(name)) for name in names))
        known = joint.get("stderr_hac") or {}
        errors.add_row(text(facts["symbol"]), *(number(known.get(name), 3) for name in names))
        fits.add_row(
            text(facts["symbol"]), number(joint["r2"], 3), number(joint["condition"], 1), percent(joint["resid_sd"]),
            count(joint["n_obs"]), escape(", ".join(words(name) for name in joint["flagged"])) or "no", escape(why),
        )  # fmt: skip
    if betas.row_count:
        console.print(betas)
        console.print(errors)
        console.print(fits)


def _metrics(console: Console, of: Facts) -> None:
    if not of:
        return
    horizons, windows = list(of[0]["price_return"]), list(of[0]["volatility"])
    for kind, title in (
        ("price_return", "Symbols, returns of the price"),
        ("total_return", "Symbols, returns with dividends"),
    ):
        rows = table(title, "symbol", *horizons)
        for metrics in of:
            rows.add_row(text(metrics["symbol"]), *(percent(metrics[kind][horizon], 1) for horizon in horizons))
        console.print(rows)
    prices = table("Symbols, price and volatility", "symbol", "session", "basis", "quality", "price",
                   *(f"{window} sessions" for window in windows), left=4)  # fmt: skip
    vendors = table("Symbols, what vendors say", "symbol", "market cap", "P/E", "as of", "vendor", "reasons")
    for column in (3, 4, 5):
        vendors.columns[column].justify = "left"
    for metrics in of:
        known = metrics["fundamentals"]
        why = ", ".join(f"{reason['figure']} ({words(reason['reason'])})" for reason in metrics["reasons"])
        prices.add_row(
            text(metrics["symbol"]), text(metrics["session"]), escape(words(metrics["price_basis"])), text(metrics["quality"]),
            price(metrics["price"]), *(percent(metrics["volatility"][window], 1) for window in windows),
        )  # fmt: skip
        vendors.add_row(
            text(metrics["symbol"]), money(known["market_cap"]), number(known["pe"], 1), text(known["as_of"]),
            text(known["provider"]), escape(why),
        )  # fmt: skip
    console.print(prices)
    console.print(vendors)
