"""The columns of stress: what every scenario does to the factors on every session, and to the units of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from uuid import UUID

import numpy as np

from services.risk.compute.aggregation import Exposures
from services.risk.compute.correlations import FactorLabels
from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import OPTION, Book, Panel, PortfolioGroup
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
from services.risk.compute.stress import Shocks
from shared.arrays import BoolMatrix, BoolVector, FloatCube, FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.registry import COVERAGE_GATE, FACTOR_NAMES, GROWTH, STRESS_DURATION_DAYS, VALUE
from shared.market.stress_losses import apply, legs, pack_shocks

MOST_CELLS = 30_000  # holdings × scenarios revalued at a time: what stays in a core's cache


@dataclass(frozen=True, slots=True)
class Moves:
    """C scenarios on S sessions, F factors."""

    ids: tuple[str, ...]
    shocks: FloatCube
    """(S, 2 C, F) market and residual shocks: the direct ones of all scenarios, then the propagated ones."""
    packed: list[bytes]
    """By session, those shocks as they are stored, with the C × F returns of the raw proxies, scripted or implied, that are shown; NaN
    where there is none."""
    shocks_ids: list[UUID]
    """By session, what they are stored under: a digest of them and of the factors' labels, the same for all portfolios."""
    volatility: FloatMatrix | None
    """(2, 2 C) what becomes of implied volatilities, relative and points, in the order of the shocks; None where no scenario says."""
    withheld: BoolMatrix
    """(S, C) for want of a proxy or a duration, whatever the portfolio."""
    reasons: list[list[str | None]]
    """By session and scenario."""
    capped: list[list[int]]
    """By session, the positions of what was capped among the returns that are shown."""
    durations: list[date | None]
    """By session, the day of the duration that moves of yields go through."""
    stale: list[list[int]]
    """By session, the scenarios that go through one that is old."""
    implausible: list[list[int]]
    """By session, the scenarios that script a residual beyond what a quarter brings."""
    not_replayed: list[list[tuple[int, int]]]
    """By session, (scenario, factor) of what a replay knows nothing of."""


def moves(
    model: FactorModel, shocks: list[Shocks], scenarios: Scenarios, sessions: Sequence[date], labels: FactorLabels
) -> Moves:
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
    both = np.stack([*(shock.direct for shock in shocks), *(shock.propagated for shock in shocks)], axis=1)
    shown_rows = to_rows(shown.reshape(len(reasons), -1))
    packed = [pack_shocks(of_session, told) for of_session, told in zip(both, shown_rows, strict=True)]
    return Moves(
        tuple(shock.scenario.id for shock in shocks),
        both,
        packed,
        [_digest(*of_session) for of_session in zip(packed, labels.names, labels.correlations, strict=True)],
        _volatility(shocks),
        withheld,
        reasons,
        capped,
        durations,
        stale,
        _scenarios_by_session([shock.implausible.any(axis=1) for shock in shocks]),
        _listed_pairs([shock.not_replayed for shock in shocks]),
    )


def _digest(shocks: bytes, names: Sequence[str], correlations: FloatVector) -> UUID:
    whole = b"\0".join([shocks, *(name.encode() for name in names), correlations.astype("<f8").tobytes()])
    return UUID(bytes=sha256(whole).digest()[:16])


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


def stress_columns(
    panel: Panel, book: Book, stack: PortfolioGroup, joint: Exposures, of: Moves, reasons: list[Reasons]
) -> Columns:
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
    options = list(find_revalued_options(book, stack))
    told = {i for i, _, _ in options} | set(np.flatnonzero(~_is_told_by_values(panel, stack)).tolist())
    direct, propagated = _legs(stack, joint, of, withheld, options, sorted(told))
    sessions = stack.sessions.tolist()
    return {
        "stress_reasons": why,
        "stress_capped": capped,
        "stress_direct": direct,
        "stress_propagated": propagated,
        "nav": stack.nav.tolist(),
        "shocks_id": [of.shocks_ids[s] for s in sessions],
        "shocks": [of.packed[s] for s in sessions],
        "duration_as_of": [of.durations[s] for s in stack.sessions.tolist()],
        "uncovered_value": np.where(covered, 0.0, stack.gross).sum(axis=-1).tolist(),
    }


def _legs(
    stack: PortfolioGroup,
    joint: Exposures,
    of: Moves,
    withheld: BoolMatrix,
    options: Sequence[tuple[int, int, Terms]],
    told: Sequence[int],
) -> tuple[list[FloatVector | None], list[FloatVector | None]]:
    """(direct, propagated) of the units `told`: C × (money, fraction, by factor, by position), NaN where withheld. None of the
    others, which who reads them works out from what is stored beside them."""
    direct: list[FloatVector | None] = [None] * len(stack.units)
    propagated = list(direct)
    for units in _parts(stack, told, of.shocks.shape[1]):
        mine = [(units.index(i), j, terms) for i, j, terms in options if i in units]
        shocks = of.shocks[stack.sessions[units]]
        loss = apply(stack.value[units], joint.betas[units], shocks, stack.leverage[units], mine, of.volatility)
        rows = list(legs(loss, stack.nav[units], withheld[units]))
        for i, own, whole in zip(units, rows[::2], rows[1::2], strict=True):
            direct[i], propagated[i] = own, whole
    return direct, propagated


def _is_told_by_values(panel: Panel, stack: PortfolioGroup) -> BoolVector:
    """(g,) whether each holding's exposure, which is stored, is its value: nothing in the unit is an option."""
    of_options = (panel.kinds[stack.source] == OPTION) | (stack.leverage != 1.0)
    known: BoolVector = np.isfinite(stack.value).all(axis=1) & ~of_options.any(axis=1)
    return known


def _parts(stack: PortfolioGroup, units: Sequence[int], scenarios: int) -> Iterator[list[int]]:
    step = max(1, MOST_CELLS // max(1, stack.rows.shape[1] * scenarios))
    for low in range(0, len(units), step):
        yield list(units[low : low + step])
