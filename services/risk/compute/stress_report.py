"""The columns of stress: what every scenario does to the factors on every session, and to the units of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Book, PortfolioGroup
from services.risk.compute.reasons import (
    IMPLAUSIBLE,
    LOW_COVERAGE,
    NOT_REPLAYED,
    STALE_DURATION,
    Columns,
    Reasons,
    to_rows,
)
from services.risk.compute.revaluation import find_revalued_options
from services.risk.compute.scenarios import Scenarios
from services.risk.compute.series import coverage
from services.risk.compute.stress import Shocks, apply
from shared.arrays import BoolMatrix, BoolVector, FloatCube, FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.registry import COVERAGE_GATE, FACTOR_NAMES, GROWTH, STRESS_DURATION_DAYS, VALUE

MOST_CELLS = 30_000  # holdings × scenarios revalued at a time: what stays in a core's cache


@dataclass(frozen=True, slots=True)
class Moves:
    """C scenarios on S sessions, F factors."""

    ids: tuple[str, ...]
    shocks: FloatCube
    """(S, 2 C, F) market and residual shocks: the direct ones of all scenarios, then the propagated ones."""
    volatility: FloatMatrix | None
    """(2, 2 C) what becomes of implied volatilities, relative and points, in the order of the shocks; None where no scenario says."""
    withheld: BoolMatrix
    """(S, C) for want of a proxy or a duration, whatever the portfolio."""
    reasons: list[list[str | None]]
    """By session and scenario."""
    shown: list[FloatVector]
    """By session, C × F returns of the raw proxies, scripted or implied; NaN where there is none."""
    capped: list[list[int]]
    """By session, the positions in `shown` of what was capped."""
    durations: list[date | None]
    """By session, the day of the duration that moves of yields go through."""
    stale: list[list[int]]
    """By session, the scenarios that go through one that is old."""
    implausible: list[list[int]]
    """By session, the scenarios that script a residual beyond what a quarter brings."""
    not_replayed: list[list[tuple[int, int]]]
    """By session, (scenario, factor) of what a replay knows nothing of."""


def moves(model: FactorModel, shocks: list[Shocks], scenarios: Scenarios, sessions: Sequence[date]) -> Moves:
    """All scenarios side by side."""
    durations = [None if (of := scenarios.duration_on(session)) is None else of.as_of for session in sessions]
    of_yields = [c for c, shock in enumerate(shocks) if shock.scenario.rates_bp is not None]
    stale = [
        of_yields if as_of is not None and (session - as_of).days > STRESS_DURATION_DAYS else []
        for session, as_of in zip(sessions, durations, strict=True)
    ]
    reasons = [list(row) for row in zip(*(shock.reasons for shock in shocks), strict=True)]
    withheld = np.array([[reason is not None for reason in row] for row in reasons]).reshape(len(reasons), len(shocks))
    raw = np.stack([shock.raw for shock in shocks], axis=1)
    # Where a scenario is withheld its script still stands, as far as it is stated in returns.
    script = np.full((len(shocks), len(FACTOR_NAMES)), np.nan)
    for c, shock in enumerate(shocks):
        stated = shock.scenario.shocks
        for name, value in stated.items():
            if not shock.scenario.is_relative(name):
                script[c, FACTOR_NAMES.index(name)] = value - (stated.get(GROWTH, 0.0) if name == VALUE else 0.0)
    shown = np.where(withheld[:, :, None], script, np.where(model.available[:, None, :], raw, np.nan))
    capped: list[list[int]] = [[] for _ in reasons]
    for s, c, k in np.argwhere(np.stack([shock.capped for shock in shocks], axis=1)).tolist():
        capped[s].append(c * len(FACTOR_NAMES) + k)
    return Moves(
        tuple(shock.scenario.id for shock in shocks),
        np.stack([*(shock.direct for shock in shocks), *(shock.propagated for shock in shocks)], axis=1),
        _volatility(shocks),
        withheld,
        reasons,
        to_rows(shown.reshape(len(reasons), -1)),
        capped,
        durations,
        stale,
        _scenarios_by_session([shock.implausible.any(axis=1) for shock in shocks]),
        _listed_pairs([shock.not_replayed for shock in shocks]),
    )


def _volatility(shocks: list[Shocks]) -> FloatMatrix | None:
    moved = [shock.scenario.vol for shock in shocks]
    if not any(moved):
        return None
    return np.array([[getattr(of, what) if of else 0.0 for of in (*moved, *moved)] for what in ("relative", "points")])


def _scenarios_by_session(of: Sequence[BoolVector | np.bool_]) -> list[list[int]]:
    """By session, the scenarios that it is true of."""
    return [np.flatnonzero(row).tolist() for row in np.stack(of, axis=1)]


def _listed_pairs(of: list[BoolMatrix]) -> list[list[tuple[int, int]]]:
    table = np.stack(of, axis=1)
    found: list[list[tuple[int, int]]] = [[] for _ in table]
    for s, c, k in np.argwhere(table).tolist():
        found[s].append((c, k))
    return found


def stress_columns(book: Book, stack: PortfolioGroup, joint: Exposures, of: Moves, reasons: list[Reasons]) -> Columns:
    """One value a unit of the stack; a withheld scenario is unknown with its reason, and named in `reasons`."""
    covered = np.isfinite(joint.betas[:, :, 0])
    trusted = coverage(stack.gross, covered.astype(np.float64)) >= COVERAGE_GATE
    withheld = of.withheld[stack.sessions] | ~trusted[:, None]
    why: list[list[str | None]] = []
    capped: list[list[int]] = []
    for s, good in zip(stack.sessions.tolist(), trusted.tolist(), strict=True):
        why.append(of.reasons[s] if good else [reason or LOW_COVERAGE for reason in of.reasons[s]])
        capped.append(of.capped[s] if good else [])
    for i, c in np.argwhere(withheld).tolist():
        reasons[i].add(why[i][c] or LOW_COVERAGE, figure=f"stress.{of.ids[c]}")
    for i, s in enumerate(stack.sessions.tolist()):
        for c in of.stale[s]:
            if not withheld[i, c]:
                reasons[i].add(STALE_DURATION, figure=f"stress.{of.ids[c]}")
        for c in of.implausible[s]:
            if not withheld[i, c]:
                reasons[i].add(IMPLAUSIBLE, figure=f"stress.{of.ids[c]}")
        for c, k in of.not_replayed[s]:
            if not withheld[i, c]:
                reasons[i].add(NOT_REPLAYED, figure=f"stress.{of.ids[c]}.shocks.{FACTOR_NAMES[k]}")
    direct, propagated = _legs(stack, joint, of, withheld, list(find_revalued_options(book, stack)))
    return {
        "stress_reasons": why,
        "stress_shocks": [of.shown[s] for s in stack.sessions.tolist()],
        "stress_capped": capped,
        "stress_direct": direct,
        "stress_propagated": propagated,
        "duration_as_of": [of.durations[s] for s in stack.sessions.tolist()],
        "uncovered_value": np.where(covered, 0.0, stack.gross).sum(axis=-1).tolist(),
    }


def _legs(
    stack: PortfolioGroup,
    joint: Exposures,
    of: Moves,
    withheld: BoolMatrix,
    options: Sequence[tuple[int, int, Terms]],
) -> tuple[list[FloatVector], list[FloatVector]]:
    """(direct, propagated) by unit: C × (money, fraction, by factor, by position), NaN where withheld."""
    direct: list[FloatVector] = []
    propagated: list[FloatVector] = []
    for part in _parts(stack, of.shocks.shape[1]):
        mine = [(i - part.start, j, terms) for i, j, terms in options if part.start <= i < part.stop]
        shocks = of.shocks[stack.sessions[part]]
        loss = apply(stack.value[part], joint.betas[part], shocks, stack.leverage[part], mine, of.volatility)
        fraction = loss.money / stack.nav[part, None]
        table = np.concatenate(
            [loss.money[:, :, None], fraction[:, :, None], loss.by_factor, loss.by_position], axis=-1
        )
        table[np.tile(withheld[part], 2)] = np.nan
        rows = to_rows(table.reshape(2 * len(table), -1))
        direct += rows[::2]
        propagated += rows[1::2]
    return direct, propagated


def _parts(stack: PortfolioGroup, scenarios: int) -> Iterator[slice]:
    g, k = stack.rows.shape
    step = max(1, MOST_CELLS // max(1, k * scenarios))
    for low in range(0, g, step):
        yield slice(low, low + step)
