"""The columns of stress: what every scenario does to the factors on every session, and to the units of a stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Stack
from services.risk.compute.reasons import LOW_COVERAGE, Columns, Reasons, listed
from services.risk.compute.series import coverage
from services.risk.compute.stress import Shocks, apply
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector
from shared.market.registry import COVERAGE_GATE, FACTOR_NAMES

MOST_CELLS = 120_000  # holdings × factors × scenarios revalued at a time: what stays in a core's cache


@dataclass(frozen=True, slots=True)
class Moves:
    """C scenarios on S sessions, F factors."""

    ids: tuple[str, ...]
    direct: FloatCube
    """(S, C, F) market and residual shocks."""
    propagated: FloatCube
    """(S, C, F)."""
    withheld: BoolMatrix
    """(S, C) for want of a proxy or a duration, whatever the portfolio."""
    reasons: list[list[str | None]]
    """By session and scenario."""
    shown: list[FloatVector]
    """By session, C × F returns of the raw proxies, scripted or implied; NaN where there is none."""
    capped: list[list[tuple[int, int]]]
    """By session, (scenario, position in `shown`) of what was capped."""


def moves(model: FactorModel, shocks: list[Shocks]) -> Moves:
    """All scenarios side by side."""
    reasons = [list(row) for row in zip(*(shock.reasons for shock in shocks), strict=True)]
    withheld = np.array([[reason is not None for reason in row] for row in reasons]).reshape(len(reasons), len(shocks))
    raw = np.stack([shock.raw for shock in shocks], axis=1)
    # Where a scenario is withheld its script still stands, as far as it is stated in returns.
    script = np.full((len(shocks), len(FACTOR_NAMES)), np.nan)
    for c, shock in enumerate(shocks):
        for name, value in shock.scenario.shocks.items():
            script[c, FACTOR_NAMES.index(name)] = value
    shown = np.where(withheld[:, :, None], script, np.where(model.available[:, None, :], raw, np.nan))
    capped: list[list[tuple[int, int]]] = [[] for _ in reasons]
    for s, c, k in np.argwhere(np.stack([shock.capped for shock in shocks], axis=1)).tolist():
        capped[s].append((c, c * len(FACTOR_NAMES) + k))
    return Moves(
        tuple(shock.scenario.id for shock in shocks),
        np.stack([shock.direct for shock in shocks], axis=1),
        np.stack([shock.propagated for shock in shocks], axis=1),
        withheld,
        reasons,
        listed(shown.reshape(len(reasons), -1)),
        capped,
    )


def stress_columns(stack: Stack, joint: Exposures, of: Moves, reasons: list[Reasons]) -> Columns:
    """One value a unit of the stack; a withheld scenario is unknown with its reason, and named in `reasons`."""
    covered = np.isfinite(joint.betas[:, :, 0])
    trusted = coverage(stack.gross, covered.astype(np.float64)) >= COVERAGE_GATE
    withheld = of.withheld[stack.sessions] | ~trusted[:, None]
    why: list[list[str | None]] = []
    capped: list[list[int]] = []
    for i, (s, good) in enumerate(zip(stack.sessions.tolist(), trusted.tolist(), strict=True)):
        own = of.reasons[s] if good else [reason or LOW_COVERAGE for reason in of.reasons[s]]
        why.append(own)
        capped.append([at for _, at in of.capped[s]] if good else [])
        for c in np.flatnonzero(withheld[i]).tolist():
            reasons[i].add(own[c] or LOW_COVERAGE, figure=f"stress.{of.ids[c]}")
    return {
        "stress_reasons": why,
        "stress_shocks": [of.shown[s] for s in stack.sessions.tolist()],
        "stress_capped": capped,
        "stress_direct": _legs(stack, joint, of.direct, withheld),
        "stress_propagated": _legs(stack, joint, of.propagated, withheld),
        "uncovered_value": np.where(covered, 0.0, stack.gross).sum(axis=-1).tolist(),
    }


def _legs(stack: Stack, joint: Exposures, shock: FloatCube, withheld: BoolMatrix) -> list[FloatVector]:
    """By unit, C × (money, fraction, by factor, by position), NaN where withheld."""
    found: list[FloatVector] = []
    for part in _parts(stack, shock.shape[1]):
        loss = apply(
            stack.value[part, None], joint.betas[part, None], shock[stack.sessions[part]], stack.leverage[part, None]
        )
        fraction = loss.money / stack.nav[part, None]
        table = np.concatenate(
            [loss.money[:, :, None], fraction[:, :, None], loss.by_factor, loss.by_position], axis=-1
        )
        table[withheld[part]] = np.nan
        found += listed(_flat(table))
    return found


def _parts(stack: Stack, scenarios: int) -> Iterator[slice]:
    g, k = stack.rows.shape
    step = max(1, MOST_CELLS // max(1, k * scenarios * len(FACTOR_NAMES)))
    for low in range(0, g, step):
        yield slice(low, low + step)


def _flat(table: FloatCube) -> FloatMatrix:
    return table.reshape(len(table), -1)
