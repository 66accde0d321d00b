"""From the arrays that risk stores to the bodies of the four answers. Every number is passed on as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from services.coordinator.results.risk_rows import (
    Row,
    read_legs,
    read_model,
    read_observations,
    read_reasons,
    read_shares,
    read_shown,
    read_square,
    read_tails,
    read_texts,
    read_tilts,
    read_weights,
)
from services.coordinator.results.values import document, name_values, to_json
from shared.market import layouts
from shared.market.registry import CORRELATION_WINDOW, FACTOR_NAMES, LOW_SIZE_TILT, MARKET, REPORTED_FACTOR, SIZE

Body = dict[str, Any]

# The exposures in the order of `risk.results.exposures`, with the set they belong to.
_REPORTED = {REPORTED_FACTOR, *layouts.REPORTED}
FIGURES = tuple((name, "reported" if name in _REPORTED else "joint") for name in layouts.EXPOSURES)
# Of one share of an option: a year, a point of volatility, a calendar day.
GREEKS = layouts.GREEKS


def exposures(row: Row) -> Body:
    """The body of factor-exposures."""
    return {
        "proxies": dict(zip(FACTOR_NAMES, row["proxies"], strict=True)),
        "factors": [
            {
                "factor": figure,
                "label": _label(figure, row["proxies"]),
                "set": of,
                "beta": to_json(beta),
                "money": to_json(money),
                "covered_weight": to_json(covered),
                "stderr_hac": to_json(error),
                "t_hac": beta / error if error and to_json(beta / error) is not None else None,
                "quality": "none" if to_json(money) is None else "limited" if limited else "full",
                "reason": reason,
            }
            for (figure, of), (beta, money, covered), error, limited, reason in zip(
                FIGURES,
                _cut(row["exposures"], len(layouts.EXPOSURE)),
                _errors(row["exposure_errors"]),
                row["exposure_limited"],
                read_texts(row, "exposure_reasons", len(FIGURES)),
                strict=True,
            )
        ],
        "positions": [
            {
                "symbol": symbol,
                "weight": to_json(weight),
                "exposure_value": to_json(value),
                "betas": name_values(FACTOR_NAMES, betas),
                # Null where the position is no option, or one without a delta.
                "greeks": greeks,
                "reason": reason,
            }
            for symbol, weight, value, betas, greeks, reason in zip(
                row["symbols"],
                read_weights(row),
                row["exposure_values"],
                _cut(row["betas"], len(FACTOR_NAMES)),
                _greeks(row),
                read_texts(row, "beta_reasons", len(row["symbols"])),
                strict=True,
            )
        ],
    }


def _label(figure: str, proxies: Sequence[str | None]) -> str:
    """In words. SIZE is an index of large and mid caps tilted towards its smaller ones, and no fund of small caps."""
    if figure == SIZE and proxies[FACTOR_NAMES.index(SIZE)] == LOW_SIZE_TILT:
        return "low-size tilt"
    return figure.replace("_", " ")


def _errors(known: Sequence[float] | None) -> list[float | None]:
    """By exposure; those of the joint set have one, but in results from before it was stored."""
    found = dict(zip(layouts.EXPOSURE_ERRORS, known or (), strict=False))
    return [found.get(figure) if of == "joint" else None for figure, of in FIGURES]


def risk(row: Row) -> Body:
    """The body of risk: the stored document, and what is listed by position and by factor."""
    # Results from before there were benchmarks do not say that they have none.
    body: Body = {"benchmark": None} | document(row["risk"])
    positions = []
    width = len(layouts.TAIL_PARTS)
    tails, reasons = _cut(read_tails(row), width), read_texts(row, "series_reasons", len(row["symbols"]))
    for symbol, realized, forecast, har, reason, tail in zip(
        row["symbols"], row["realized_252"], row["forecast_21"], row["har"], reasons, tails, strict=True
    ):
        known = to_json(forecast)
        positions.append(
            {
                "symbol": symbol,
                "realized_252": to_json(realized),
                "forecast_21": known,
                "method": None if known is None else "combined" if har else "ewma",
                "es_975": name_values(layouts.TAIL_PARTS, tail),
                "reason": reason,
            }
        )
    body["positions"] = positions
    body["decomposition"] = body["decomposition"] | {
        "contributions": [
            {"symbol": symbol, "weight": to_json(weight), "contribution": to_json(part), "share": to_json(share)}
            for symbol, weight, part, share in zip(
                _members(row), read_tilts(row), row["contributions"], read_shares(row), strict=True
            )
        ],
        "factors": [
            {"factor": name, "share": to_json(share)}
            for name, share in zip(read_model(row)[0], row["factor_shares"], strict=True)
        ],
        "excluded": _excluded_symbols(row),
    }
    return body


def correlations(row: Row) -> Body:
    """The body of correlations."""
    labels, (factors, between) = _members(row), read_model(row)
    clusters: dict[int, list[str]] = {}
    # Withheld, they are none, of holdings that there are.
    for label, first in zip(labels if row["clusters"] else (), row["clusters"], strict=True):
        clusters.setdefault(first, []).append(label)
    return {
        "labels": labels,
        "matrix": read_square(row["correlations"], len(labels), own=1.0),
        "n_obs": read_square(read_observations(row, len(labels)), len(labels)),
        "shrinkage": to_json(row["shrinkage"]),
        "mean_abs": to_json(row["mean_correlation"]),
        "clusters": list(clusters.values()) if clusters or not labels else None,
        "excluded": _excluded_symbols(row),
        "factors": {
            "labels": list(factors),
            "matrix": read_square(between, len(factors)),
            "n_obs": CORRELATION_WINDOW,
        },
    }


def stress(row: Row) -> Body:
    """The body of stress."""
    symbols, model, options, weights = row["symbols"], read_model(row)[0], _options(row), read_weights(row)
    width = 2 + len(FACTOR_NAMES) + len(symbols)
    factors = [FACTOR_NAMES.index(name) for name in model]
    capped: dict[int, list[str]] = {}
    for at in row["stress_capped"]:
        scenario, factor = divmod(at, len(FACTOR_NAMES))
        capped.setdefault(scenario, []).append(FACTOR_NAMES[factor])

    def leg(values: Sequence[float], market: float | None, vol: object | None) -> Body:
        # What is without exposures, as the return series have it: with the market's move, and an option not at all.
        parts = zip(weights, values[2 + len(FACTOR_NAMES) :], options, strict=True)
        uncovered = sum(weight for weight, part, option in parts if math.isnan(part) and not option)
        by_factor = {name: to_json(values[2 + k]) for name, k in zip(model, factors, strict=True)}
        return {
            "money": to_json(values[0]),
            "fraction": to_json(values[1]),
            "fraction_filled": to_json(values[1] + uncovered * (market or 0.0)),
            "by_factor": by_factor,
            # What implied volatilities add to the factors' parts, where the scenario moves them.
            "volatility": to_json(round(values[0] - sum(values[2 + k] for k in factors), 6))
            if vol is not None
            else None,
            "by_position": _by_symbol(symbols, values[2 + len(FACTOR_NAMES) :]),
        }

    scenarios = []
    rows = zip(
        document(row["scenarios"]),
        read_reasons(row),
        _cut(read_shown(row), len(FACTOR_NAMES)),
        *(_cut(leg, width) for leg in read_legs(row)),
        strict=True,
    )
    for number, (of, reason, shocks, direct, propagated) in enumerate(rows):
        moved, vol = name_values(FACTOR_NAMES, shocks), of.get("vol")
        scenarios.append(
            {
                "id": of["id"],
                "name": of["name"],
                "shocks": {name: moved[name] for name in of["factors"]},
                "capped": capped.get(number, []),
                "rates_bp": of.get("rates_bp"),
                "duration_as_of": to_json(row["duration_as_of"]) if of.get("rates_bp") is not None else None,
                "uncovered_value": to_json(row["uncovered_value"]),
                "reason": reason,
                "vol_relative": (vol or {}).get("relative"),
                "vol_points": (vol or {}).get("points"),
                "direct": None if reason else leg(direct, moved[MARKET] if MARKET in of["factors"] else 0.0, vol),
                "propagated": None
                if reason
                else leg(propagated, moved[MARKET], vol) | {"shocks": {name: moved[name] for name in model}},
            }
        )
    return {"scenarios": scenarios}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer is made of, and how; without its first column there is none."""

    columns: tuple[str, ...]
    body: Callable[[Row], Body]


# What a session has in common: in the row, or where it refers to.
_MODEL = ("model_factors", "factor_correlations", "factor_names", "factor_matrix")
ANSWERS: dict[str, Answer] = {
    "exposures": Answer(
        (
            "exposures", "proxies", "exposure_limited", "exposure_reasons", "symbols", "weights", "exposure_values", "betas",
            "beta_reasons", "greeks", "exposure_errors", "nav",
        ),
        exposures,
    ),
    "risk": Answer(
        (
            "symbols", "risk", "weights", "excluded", "realized_252", "forecast_21", "har", "series_reasons", "contributions",
            "contribution_shares", "tilts", "factor_shares", "tail_parts", "exposure_values", "nav", *_MODEL,
        ),
        risk,
    ),
    "correlations": Answer(
        (
            "correlations", "symbols", "excluded", "clusters", "correlation_n_obs", "shrinkage", "mean_correlation", *_MODEL,
        ),
        correlations,
    ),
    "stress": Answer(
        (
            "scenarios", "symbols", *_MODEL, "stress_reasons", "stress_shocks", "stress_capped", "stress_direct",
            "stress_propagated", "uncovered_value", "duration_as_of", "weights", "exposure_values", "greeks", "betas", "nav", "shocks",
        ),
        stress,
    ),
}  # fmt: skip


def _by_symbol(symbols: Sequence[str], values: Sequence[float]) -> Body:
    """A symbol that is private in one lot and public in another is one line: what is known of it."""
    found: Body = {}
    for symbol, value in zip(symbols, values, strict=True):
        before, own = found.get(symbol), to_json(value)
        found[symbol] = before if own is None else own if before is None else before + own
    return found


def _greeks(row: Row) -> list[Body | None]:
    """By position, null where it is no option or one without a delta."""
    if not row["greeks"]:
        return [None] * len(row["symbols"])
    found = [name_values(GREEKS, values) for values in _cut(row["greeks"], len(GREEKS))]
    return [None if of["delta"] is None else dict(of) for of in found]


def _options(row: Row) -> list[bool]:
    """By position: without a delta the money that moves is unknown, with one the greeks are there."""
    return [
        math.isnan(of) or greeks is not None for of, greeks in zip(row["exposure_values"], _greeks(row), strict=True)
    ]


def _members(row: Row) -> list[str]:
    """The holdings in the correlation matrix."""
    return [symbol for symbol, reason in _exclusions(row) if reason is None]


def _excluded_symbols(row: Row) -> list[Body]:
    return [{"symbol": symbol, "reason": reason} for symbol, reason in _exclusions(row) if reason is not None]


def _exclusions(row: Row) -> Iterator[tuple[str, str | None]]:
    return zip(row["symbols"], read_texts(row, "excluded", len(row["symbols"])), strict=True)


def _cut(values: Sequence[float], width: int) -> Iterator[Sequence[float]]:
    for low in range(0, len(values), width):
        yield values[low : low + width]
