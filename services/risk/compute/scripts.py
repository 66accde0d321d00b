"""What scenarios script on a session: of which factors, as returns or as residual shocks (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.reasons import NO_DURATION, NO_PROXY, NOT_FETCHED
from services.risk.compute.scenarios import Replay, Scenario, Scenarios
from shared.arrays import BoolCube, BoolMatrix, BoolVector, FloatCube, FloatMatrix, FloatVector
from shared.market.registry import (
    AXIS_PROXIES,
    CURVE_PROXY,
    FACTOR_NAMES,
    FACTORS,
    GROWTH,
    JOINT_FACTORS,
    MARKET,
    RATES,
    STRESS_CAP_SESSIONS,
    VALUE,
    VALUE_AXES,
)

QUARTER = float(np.sqrt(STRESS_CAP_SESSIONS))
"""Times a daily standard deviation: that of a quarter."""
_RATES_FUND = FACTORS[FACTOR_NAMES.index(RATES)].proxies[0]


@dataclass(frozen=True, slots=True)
class Scripts:
    """C scenarios on S sessions, F factors."""

    scripted: BoolCube
    """(C, S, F) which factors; of a replay, those whose proxy it has a return of."""
    relative: BoolCube
    """(C, S, F) whether `value` is a residual shock rather than a return of the raw proxy."""
    value: FloatCube
    """(C, S, F) decimal, 0 where nothing is scripted and on sessions that are not good."""
    good: BoolMatrix
    """(C, S)."""
    reasons: tuple[tuple[str | None, ...], ...]
    """By scenario and session, why it is withheld."""
    not_replayed: BoolCube
    """(C, S, F) factors of a replay without a proxy, or whose proxy it has no return of; none where it is withheld."""


def scripts(scenarios: Scenarios, asked: Sequence[Scenario], model: FactorModel, sessions: Sequence[date]) -> Scripts:
    """The scenarios on each session's own proxies, durations and standard deviations.

    A script on a factor without a proxy is withheld; a replay is withheld only where it does not know the market's proxy.
    """
    count, factors = model.available.shape
    shape = (len(asked), count, factors)
    scripted, relative, value = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape)
    not_replayed = np.zeros(shape, np.bool_)
    durations = [scenarios.duration_on(session) for session in sessions]
    dated = np.array([of is not None for of in durations])
    quarter = QUARTER * np.sqrt(np.einsum("sii->si", model.recent))
    good = np.empty(shape[:2], np.bool_)
    reasons: list[tuple[str | None, ...]] = []
    for c, scenario in enumerate(asked):
        if scenario.replay is not None:
            table = _returns(scenario.replay, model)
            scripted[c] = np.isfinite(table)
            value[c] = np.where(scripted[c], table, 0.0)
            there = good[c] = scripted[c, :, 0]
            not_replayed[c] = ~scripted[c] & there[:, None] & np.array(JOINT_FACTORS)
            scripted[c] &= there[:, None]
        else:
            index = list(scenario.scripted_factors())
            scripted[c, :, index] = True
            relative[c, :, [k for k in index if scenario.is_relative(FACTOR_NAMES[k])]] = True
            there = (model.available | ~scripted[c]).all(axis=1) & model.available[:, 0]
            good[c] = there if scenario.rates_bp is None else there & dated
            for name, stated in scenario.shocks.items():
                if name not in (VALUE, GROWTH):
                    value[c, :, FACTOR_NAMES.index(name)] = stated
            if {VALUE, GROWTH} & set(scenario.shocks):
                axis = value[c, :, FACTOR_NAMES.index(VALUE)] = _axis(scenario, model)
                there = there & np.isfinite(axis)
                good[c] &= there
            for name, sigmas in scenario.sigmas.items():
                value[c, :, FACTOR_NAMES.index(name)] = sigmas * quarter[:, FACTOR_NAMES.index(name)]
            if scenario.rates_bp is not None:
                moved = [0.0 if of is None else of.proxy_return(scenario.rates_bp) for of in durations]
                value[c, :, FACTOR_NAMES.index(RATES)] = moved
        reasons.append(_reasons(good[c], there, absent=_absent(scenario)))
    value[~good] = 0.0
    return Scripts(scripted, relative, value, good, tuple(reasons), not_replayed)


def _axis(scenario: Scenario, model: FactorModel) -> FloatVector:
    """(S,) what a script of value, of growth or of both does to the axis; NaN where a leg has no fund.

    Both: their difference. One: a residual of the axis, as far as it goes with the residual of the fund, signed.
    """
    shocks = scenario.shocks
    if VALUE in shocks and GROWTH in shocks:
        return np.full(len(model.available), shocks[VALUE] - shocks[GROWTH])
    leg = 0 if VALUE in shocks else 1
    slope, gain = model.legs[:, leg, 0], model.legs[:, leg, 1]
    explained = 0.0 if scenario.relative else slope * shocks.get(MARKET, 0.0)
    return (shocks[VALUE if leg == 0 else GROWTH] - explained) * gain


def _returns(replay: Replay, model: FactorModel) -> FloatMatrix:
    """(S, F) what the replay has of the proxy that stands for each factor on the session; NaN where it has nothing. The bond on the
    yield curve stands for the rates fund, and takes its return."""
    own = replay.returns
    known = dict(own) | {CURVE_PROXY: own.get(_RATES_FUND, np.nan)}
    known |= {
        axis: own.get(long, np.nan) - own.get(short, np.nan)
        for axis, (long, short) in zip(AXIS_PROXIES, VALUE_AXES, strict=True)
    }
    table = np.array([[np.nan if name is None else known.get(name, np.nan) for name in row] for row in model.proxies])
    return np.where(model.available, table.reshape(model.available.shape), np.nan)


def _absent(scenario: Scenario) -> str:
    """Why a scenario lacks the move of a proxy: of a window alone, because its prices are not stored."""
    return NOT_FETCHED if scenario.replay is not None and scenario.replay.from_prices else NO_PROXY


def _reasons(good: BoolVector, there: BoolVector, *, absent: str) -> tuple[str | None, ...]:
    if good.all():
        return (None,) * len(good)
    return tuple(
        None if fine else NO_DURATION if proxies else absent
        for fine, proxies in zip(good.tolist(), there.tolist(), strict=True)
    )
