"""The columns of factor exposures, of the portfolio and of its holdings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, fields

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.inputs import OPTION, PUBLIC, Panel, PortfolioGroup
from services.risk.compute.reasons import (
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_PROXY,
    ONE_LEG,
    SHORT_HISTORY,
    Columns,
    Reasons,
    texts,
    to_rows,
)
from services.risk.compute.reasons import symbol_reason as reason_of
from shared.arrays import BoolMatrix
from shared.market import layouts
from shared.market.option_greeks import Greeks
from shared.market.registry import BETA_WINDOW, COVERAGE_GATE, FACTOR_NAMES, SPREADS, VALUE, is_one_leg

# The factors whose proxies a reported exposure needs.
NEEDS: dict[str, tuple[str, ...]] = {
    "market_beta": ("market",),
    "market_beta_shrunk": ("market",),
    "ir_beta": ("market", "rates"),
} | {f"spread_{spread.name}": ("market", spread.long, spread.short) for spread in SPREADS}
FIGURES = layouts.EXPOSURES


def exposure_columns(
    panel: Panel,
    stack: PortfolioGroup,
    unpriceable: BoolMatrix,
    greeks: Mapping[int, Greeks],
    joint: Exposures,
    reported: Exposures,
    proxies: list[list[str | None]],
    reasons: list[Reasons],
) -> Columns:
    """One value a unit of the stack; withheld factors are named in `reasons` too."""
    g, k = stack.rows.shape
    beta, money, covered = (
        np.concatenate(pair, axis=1)
        for pair in (
            (joint.beta, reported.beta),
            (joint.money, reported.money),
            (joint.covered_weight, reported.covered_weight),
        )
    )
    why: list[list[str | None]] = texts(g, len(FIGURES))
    sessions, nav = stack.sessions.tolist(), stack.nav.tolist()
    for i, f in np.argwhere(~np.isfinite(beta)).tolist():
        reason = _why(FIGURES[f], proxies[sessions[i]], float(covered[i, f]), positive=nav[i] > 0.0)
        why[i][f] = reason
        reasons[i].add(reason, figure=FIGURES[f])
    value = FACTOR_NAMES.index(VALUE)
    for i, s in enumerate(sessions):
        if (proxy := proxies[s][value]) is not None and is_one_leg(proxy):
            reasons[i].add(ONE_LEG, figure=f"proxies.{VALUE}")
    beta_reasons = texts(g, k)
    for i, j in np.argwhere(~np.isfinite(joint.betas[:, :, 0])).tolist():
        beta_reasons[i][j] = _position_reason(
            panel, sessions[i], int(stack.source[i, j]), unpriceable=bool(unpriceable[i, j])
        )
    symbols = panel.symbols
    parts = {"beta": beta, "money": money, "covered_weight": covered}
    return {
        "symbols": [[symbols[row] for row in rows] for rows in stack.rows.tolist()],
        "weights": to_rows(stack.weight),
        "exposure_values": to_rows(np.where(panel.kinds[stack.source] == OPTION, np.nan, stack.exposure)),
        "betas": to_rows(joint.betas.reshape(g, -1)),
        "beta_reasons": beta_reasons,
        "greeks": _greeks(stack, greeks),
        "proxies": [proxies[s] for s in sessions],
        "exposures": to_rows(np.stack([parts[name] for name in layouts.EXPOSURE], axis=-1).reshape(g, -1)),
        "exposure_limited": list(np.concatenate([joint.limited, reported.limited], axis=1)),
        "exposure_reasons": why,
    }


def _greeks(stack: PortfolioGroup, greeks: Mapping[int, Greeks]) -> list[list[float]]:
    """By unit, K x 5 in the order of `Greeks`, NaN where there are none; empty without any option that has them."""
    if not greeks:
        return [[] for _ in stack.units]
    tables: list[list[float]] = []
    none = (math.nan,) * len(fields(Greeks))
    for holdings in stack.holdings.tolist():
        known = [greeks.get(holding) for holding in holdings]
        tables.append(
            [figure for of in known for figure in (none if of is None else astuple(of))] if any(known) else []
        )
    return tables


def _why(figure: str, proxies: list[str | None], covered: float, *, positive: bool) -> str:
    if any(proxies[FACTOR_NAMES.index(name)] is None for name in NEEDS.get(figure, ("market", figure))):
        return NO_PROXY
    if covered < COVERAGE_GATE:
        return LOW_COVERAGE
    return NAV_NOT_POSITIVE if not positive else SHORT_HISTORY


def _position_reason(panel: Panel, s: int, row: int, *, unpriceable: bool) -> str:
    reason = reason_of(panel, s, row, BETA_WINDOW, unpriceable=unpriceable)
    if panel.kinds[row] != PUBLIC or unpriceable:
        return reason
    return panel.fact_reasons.get((s, row), reason)
