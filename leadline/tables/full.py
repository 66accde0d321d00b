"""What `leadline show --full` adds: every figure of the answers that the short form leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import table
from leadline.tables.text import count, money, number, percent, price, text, words

ANSWERS = ("snapshot", "positions", "factor_exposures", "risk", "correlations", "stress", "scorecard")


def origins(console: Console, document: Mapping[str, Any]) -> None:
    """Of each answer, which computation it is of; then every reason, whichever answers it came with."""
    rows = table(
        "Answers",
        "answer",
        "session",
        "revision",
        "model",
        "computed",
        "quality",
        "coverage",
        "behind",
        "provisional",
        left=6,
    )
    causes: dict[tuple[Any, ...], list[str]] = {}
    for name in ANSWERS:
        of = document.get(name)
        if not of:
            continue
        rows.add_row(
            words(name), text(of["session"]), text(of["revision"]), text(of.get("model_version")), text(of["computed_at"]),
            text(of["quality"]), percent(of["coverage"], 1), "yes" if of["stale"] else "no",
            "yes" if of.get("provisional") else "no",
        )  # fmt: skip
        for reason in of["reasons"]:
            causes.setdefault(_cause(reason), []).append(words(name))
    for position in (document.get("positions") or {}).get("items") or ():
        for reason in position.get("reasons") or ():
            causes.setdefault(_cause(reason), []).append("lots")
    for symbol in document.get("symbols") or ():
        for of in (symbol["factors"], symbol["metrics"]):
            for reason in (of or {}).get("reasons") or ():
                causes.setdefault(_cause(reason), []).append("symbols")
    console.print(rows)
    if causes:
        why = table(
            "Reasons", "figure", "symbol", "reason", "touches", "acts", "until", "provider", "remedy", "in", left=9
        )
        for column in (0, 7, 8):
            why.columns[column].no_wrap = False
            why.columns[column].overflow = "fold"
        for cause, names in causes.items():
            code = escape(words(cause[2]))
            shown = [text(part) for part in cause]
            why.add_row(*shown[:2], code, *shown[3:], ", ".join(dict.fromkeys(names)))
        console.print(why)


def _cause(reason: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = ("figure", "symbol", "reason", "severity", "acts", "until", "provider", "remedy")
    return tuple(reason.get(key) for key in keys)


def lots(console: Console, items: Sequence[Mapping[str, Any]]) -> None:
    """Two tables, for one would be wider than a page: what each lot is, and what came of it."""
    rows = table("Lots", "#", "lot", "symbol", "entered", "price of", "basis", "quality", "reason", left=8)
    earned = table(
        "Lots, what came of them", "#", "symbol", "entry price", "realized", "unrealized", "dividends", left=2
    )
    for n, of in enumerate(items, 1):
        rows.add_row(
            f"#{n}", text(of["position_id"]), text(of["symbol"]), text(of["entry_date"]), text(of["price_session"]),
            escape(words(of["price_basis"])), text(of["quality"]), escape(words(of["reason"])),
        )  # fmt: skip
        earned.add_row(
            f"#{n}", text(of["symbol"]), price(of["entry_price"]), money(of["realized_pnl"]), money(of["unrealized_pnl"]),
            money(of["dividends"]),
        )  # fmt: skip
    console.print(rows)
    console.print(earned)


def exposures(console: Console, of: Mapping[str, Any]) -> None:
    """How far each factor's figure rests on a full window, and what each position adds to it."""
    factors = table("Quality of the exposures", "factor", "set", "quality", "reason", left=4)
    for factor in of["factors"]:
        factors.add_row(
            words(factor["factor"]), text(factor["set"]), text(factor["quality"]), escape(words(factor["reason"]))
        )
    console.print(factors)
    positions = of["positions"] or ()
    names = list(dict.fromkeys(name for position in positions for name in position["betas"]))
    rows = table("Positions, betas of the joint set", "symbol", "weight", "exposure", *map(words, names), "reason")
    rows.columns[-1].justify = "left"
    for position in positions:
        rows.add_row(
            text(position["symbol"]), percent(position["weight"], 1), number(position["exposure_value"], 0),
            *(number(position["betas"].get(name)) for name in names), escape(words(position["reason"])),
        )  # fmt: skip
    console.print(rows)


def series(console: Console, positions: Sequence[Mapping[str, Any]]) -> None:
    rows = table("Volatility of the positions", "symbol", "252 sessions", "forecast, 21", "method", "reason")
    shortfall = table("Positions in the expected shortfall, 97.5 %", "symbol", "component", "marginal", "incremental")
    for column in (3, 4):
        rows.columns[column].justify = "left"
    for of in positions:
        part = of.get("es_975") or {}
        shortfall.add_row(
            text(of["symbol"]), *(percent(part.get(key)) for key in ("component", "marginal", "incremental"))
        )
        rows.add_row(
            text(of["symbol"]), percent(of["realized_252"], 1), percent(of["forecast_21"], 1), text(of["method"]),
            escape(words(of["reason"])),
        )  # fmt: skip
    console.print(rows)
    console.print(shortfall)


def scorecard(console: Console, of: Mapping[str, Any]) -> None:
    title = f"Scorecard, volatility over {count(of['horizon'])} sessions"
    rows = table(title, "method", "forecasts", "QLIKE", "mean error", "reason")
    rows.columns[-1].justify = "left"
    for row in of["forecasts"]:
        rows.add_row(
            text(row["method"]), count(row["n"]), number(row["qlike"], 4), percent(row["mean_error"]), escape(words(row["reason"]))
        )  # fmt: skip
    both = of["common"]
    rows.add_section()
    for method in ("har", "ewma"):
        rows.add_row(f"{method}, where both are", count(both["n"]), number(both[f"{method}_qlike"], 4), "", "")
    console.print(rows)
    tails = table(
        "Scorecard, value at risk",
        "method",
        "level",
        "days",
        "exceeded",
        "expected",
        "Kupiec LR",
        "probability",
        "Christoffersen LR",
        "probability",
        "light",
        "reason",
    )
    tails.columns[-1].justify = "left"
    for row in of["var"]:
        tails.add_row(
            text(row["method"]), percent(row["level"], 1), count(row["n"]), count(row["exceedances"]), number(row["expected"], 1),
            number(row["kupiec_lr"]), number(row["p"], 3), number(row.get("christoffersen_lr")), number(row.get("christoffersen_p"), 3),
            text(row.get("zone")), escape(words(row["reason"])),
        )  # fmt: skip
    console.print(tails)
    if (interval := of.get("interval")) is not None:
        why = f" ({words(interval['reason'])})" if interval["reason"] else ""
        console.print(
            f"Of {count(interval['n'])} intervals of {percent(interval['level'], 0)}, {count(interval['inside'])} held what came, "
            f"{percent(interval['share'], 0)}{escape(why)}"
        )
