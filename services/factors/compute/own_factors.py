"""Symbols that stand for a factor themselves (docs/methods.md §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.factors.compute.exposures import Exposures
from shared.market import layouts, registry


def own_factors(facts: Exposures, symbols: Sequence[str]) -> Exposures:
    """The facts with the joint set of each session's proxies as what they are: b_k of the market, 1 of the own factor, nothing else.

    The ridge gives a fund nine tenths of itself, and of near-collinear styles less: a scripted move of the proxy would not come out as
    scripted. symbols : (S,) of the columns. A figure that there is none of stays unknown.
    """
    column = {symbol: i for i, symbol in enumerate(symbols)}
    joint, stderr, fit = facts.joint.copy(), facts.joint_stderr.copy(), facts.fit.copy()
    r2, resid = (layouts.element(layouts.JOINT_FIT, name) for name in ("r2", "resid_sd"))
    alone = registry.FACTOR_NAMES.index(registry.REPORTED_FACTOR)
    table = np.array(facts.geometry.symbols, dtype=object).reshape(
        len(facts.geometry.usable), len(registry.FACTOR_NAMES)
    )
    for f, proxies in enumerate(table.T):
        # The fund of a factor that is only reported is fitted like any holding, and so are the two of a difference.
        for proxy in set(proxies.tolist()) & column.keys() if f != alone else ():
            at = column[proxy]
            k = np.flatnonzero((proxies == proxy) & facts.geometry.usable[:, f] & ~np.isnan(joint[:, at, 0]))
            usable = facts.geometry.usable[k]
            reported = joint[k, at, alone], stderr[k, at, alone]
            joint[k, at] = np.where(usable, 0.0, np.nan)
            joint[k, at, 0] = facts.geometry.slopes[k, f]
            joint[k, at, f] = 1.0
            stderr[k, at] = np.where(usable, 0.0, np.nan)
            joint[k, at, alone], stderr[k, at, alone] = reported
            fit[k, at, r2], fit[k, at, resid] = 1.0, 0.0
    return replace(facts, joint=joint, joint_stderr=stderr, fit=fit)
