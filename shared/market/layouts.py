"""The names of the elements of every array column that another service reads, in the order they are stored. Pure values.

An array is stored without names, because there are millions of them: who writes one and who reads one take its layout from here.
Arrays whose elements are symbols or lots carry these in a column of their own beside them.
"""

from __future__ import annotations

from typing import Final

from shared.market.registry import (
    FACTOR_NAMES,
    RETURN_HORIZONS,
    SPREAD_NAMES,
    VAR_LEVELS,
    VAR_METHODS,
    VOLATILITY_WINDOWS,
)

Layout = tuple[str, ...]

# factors.exposures
MARKET: Final[Layout] = ("beta", "alpha", "r2", "stderr", "stderr_hac", "t_hac")
# One after the other for each spread.
SPREAD: Final[Layout] = ("beta", "stderr_hac", "r2")
JOINT: Final[Layout] = FACTOR_NAMES
JOINT_STDERR: Final[Layout] = FACTOR_NAMES
JOINT_FIT: Final[Layout] = ("r2", "condition", "resid_sd")
OBSERVATIONS: Final[Layout] = ("market", "ir_beta", *(f"spread_{name}" for name in SPREAD_NAMES), "joint")
# factors.metrics
RETURNS: Final[Layout] = RETURN_HORIZONS
VOLATILITY: Final[Layout] = tuple(str(window) for window in VOLATILITY_WINDOWS)
# factors.proxies
PROXIES: Final[Layout] = FACTOR_NAMES
# risk.results: `exposures` has EXPOSURE for each of EXPOSURES, `greeks` GREEKS for each holding.
REPORTED: Final[Layout] = ("market_beta", "market_beta_shrunk", "ir_beta", *(f"spread_{name}" for name in SPREAD_NAMES))
EXPOSURES: Final[Layout] = (*FACTOR_NAMES, *REPORTED)
# Of the joint set alone: `exposure_errors`.
EXPOSURE_ERRORS: Final[Layout] = FACTOR_NAMES
EXPOSURE: Final[Layout] = ("beta", "money", "covered_weight")
# Of each holding, in `tail_parts`.
TAIL_PARTS: Final[Layout] = ("component", "marginal", "incremental")
GREEKS: Final[Layout] = ("implied_volatility", "delta", "gamma", "vega", "theta")
# The first five since ever, the others since version 4 of the model: what is stored of earlier sessions is shorter.
FORECASTS: Final[Layout] = (
    "har", "har_variance", "ewma_variance", "var_historical", "var_normal", "answered", "answered_variance", "low", "high",
    "var_filtered", *(f"var_{method}_{100 * level:g}" for level in VAR_LEVELS[1:] for method in VAR_METHODS),
)  # fmt: skip


def scored_var(method: str, level: float) -> str:
    """The element of `FORECASTS` that a method's value at risk of a level is."""
    return f"var_{method}" if level == VAR_LEVELS[0] else f"var_{method}_{100 * level:g}"


def element(layout: Layout, name: str) -> int:
    """Index of an element in Python; `ValueError` for a name the layout lacks."""
    return layout.index(name)


def sql_element(column: str, layout: Layout, name: str, *, block: int = 0) -> str:
    """The element as SQL, whose arrays begin at 1. block : which of several layouts that follow one another, from 0."""
    return f"{column}[{block * len(layout) + layout.index(name) + 1}]"
