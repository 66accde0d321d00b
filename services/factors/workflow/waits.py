"""Factors whose proxy's price is awaited: which units are deferred for it, and which are computed without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from services.factors.compute.proxies import whole_windows
from shared.arrays import FloatMatrix, IntVector
from shared.ledger import Deferral, Outcome
from shared.market import registry
from shared.market.calendar import Calendar
from shared.work import Batch, UnitKey

# How long a unit waits for a proxy, unless the settings say otherwise.
PATIENCE = 600.0


class ProxyGap(NamedTuple):
    """Sessions [first, last] of a proxy of which a price is waited for, and why."""

    symbol: str
    first: date
    last: date
    reason: str


class FactorWait(NamedTuple):
    """A factor that has no whole proxy yet, and the one it waits for."""

    factor: str
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """What is waited for about a batch.

    gaps        : of proxies; empty when all is well, and then nothing else is read
    ends        : by unit, when it has waited long enough; None where it has
    provisional : units whose prices were completed while one of them was waited for
    """

    gaps: Sequence[ProxyGap] = ()
    ends: Mapping[UnitKey, datetime | None] = field(default_factory=dict)
    provisional: frozenset[UnitKey] = frozenset()


NO_WAITS = Waits()


def find_factor_waits(
    gaps: Sequence[ProxyGap], sessions: Sequence[date], proxy_returns: FloatMatrix, at: IntVector, days: Calendar
) -> dict[date, tuple[FactorWait, ...]]:
    """By session, the factors that wait; sessions without any are left out.

    A factor waits if, in its order of preference, a proxy that is waited for comes before one with all returns of the window:
    a spare one behind a full one is nobody's wait, and one that is absent for good is passed over.

    proxy_returns, at : as of `proxies.choose`
    """
    if not gaps:
        return {}
    whole = whole_windows(proxy_returns, at)
    found: dict[date, tuple[FactorWait, ...]] = {}
    for k, session in enumerate(sessions):
        start = days.back(session, registry.BETA_WINDOW)
        open_ = {gap.symbol: gap for gap in gaps if gap.first <= session and gap.last >= start}
        waits = []
        for factor in registry.FACTORS if open_ else ():
            for legs in _choices(factor):
                lacking = [leg for leg in legs if not whole[k, registry.PROXY_SYMBOLS.index(leg)]]
                if not lacking:
                    break
                if all(leg in open_ for leg in lacking):
                    waits.append(FactorWait(factor.name, lacking[0], open_[lacking[0]].reason))
                    break
        if waits:
            found[session] = tuple(waits)
    return found


def _choices(factor: registry.Factor) -> Iterator[tuple[str, ...]]:
    """What may stand for a factor, in order: the funds that it takes. The market of `one leg` is a wait of the market's own."""
    if factor.name == registry.VALUE:
        for proxy, legs in zip(registry.AXIS_PROXIES, registry.VALUE_AXES, strict=True):
            yield legs[:1] if registry.is_one_leg(proxy) else legs
    else:
        for symbol in factor.proxies:
            yield (symbol,)


def find_deferred(
    batch: Batch, waits: Waits, of_session: Mapping[date, Sequence[FactorWait]]
) -> dict[UnitKey, Deferral]:
    """Units that wait for a proxy and whose patience is not over: put off until it is, or until the proxy's price raises them."""
    deferred = {}
    for portfolio in batch.portfolios:
        for session, factors in of_session.items():
            ends = waits.ends.get(key := UnitKey(portfolio, session))
            if ends is not None:
                told = ", ".join(f"{wait.reason}: {wait.symbol} for {wait.factor}" for wait in factors)
                deferred[key] = Deferral(ends, told)
    return deferred


def put_off_sessions(batch: Batch, deferred: Mapping[UnitKey, Deferral]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(K,) sessions on which every unit is put off: nothing is computed for them."""
    return np.array(
        [all(UnitKey(portfolio, session) in deferred for portfolio in batch.portfolios) for session in batch.sessions]
    )


def judge(
    outcomes: Mapping[UnitKey, Outcome],
    waits: Waits,
    of_session: Mapping[date, Sequence[FactorWait]],
    deferred: Mapping[UnitKey, Deferral],
) -> dict[UnitKey, Outcome]:
    """The outcomes without the units that are put off; provisional where something is waited for, with what."""
    if not of_session and not waits.provisional:
        return dict(outcomes)
    found = {}
    for key, outcome in outcomes.items():
        if key in deferred:
            continue
        factors = of_session.get(key.session, ())
        if factors or key in waits.provisional:
            extra = [{"figure": wait.factor, "symbol": wait.symbol, "reason": wait.reason} for wait in factors]
            found[key] = replace(outcome, reasons=[*outcome.reasons, *extra], provisional=True)
        else:
            found[key] = outcome
    return found
