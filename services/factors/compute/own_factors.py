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
    for k, proxies in enumerate(facts.geometry.symbols):
        usable = facts.geometry.usable[k]
        for f, proxy in enumerate(proxies):
            # The fund of a factor that is only reported is fitted like any holding, and so are the two of a difference.
            if proxy not in column or not usable[f] or f == alone:
                continue
            cell = k, column[proxy]
            if np.isnan(joint[cell][0]):
                continue
            reported = joint[(*cell, alone)], stderr[(*cell, alone)]
            joint[cell] = np.where(usable, 0.0, np.nan)
            joint[(*cell, 0)] = facts.geometry.slopes[k, f]
            joint[(*cell, f)] = 1.0
            stderr[cell] = np.where(usable, 0.0, np.nan)
            joint[(*cell, alone)], stderr[(*cell, alone)] = reported
            fit[(*cell, r2)], fit[(*cell, resid)] = 1.0, 0.0
    return replace(facts, joint=joint, joint_stderr=stderr, fit=fit)
