"""One registry of every figure: what it is, its parameters, what stands beside it, what it was computed from. Pure.

Formulas are those of docs/methods.md, in a line; windows and gates come from `shared.market.registry`, never from here.
"""

from __future__ import annotations

from services.coordinator.explain.formulas.analytics import ANALYTICS
from services.coordinator.explain.formulas.model import Formula, fits
from services.coordinator.explain.formulas.reported import REPORTED
from services.coordinator.explain.formulas.risk import RISK
from services.coordinator.explain.formulas.snapshots import LEDGER
from services.coordinator.explain.formulas.stress import MODELS
from services.coordinator.explain.formulas.symbols import FACTS
from services.coordinator.results.figures import Name

FORMULAS: tuple[Formula, ...] = (*LEDGER, *RISK, *MODELS, *ANALYTICS, *REPORTED, *FACTS)


def formula_of(name: Name) -> Formula | None:
    """The first formula whose pattern fits the name; the more particular ones stand first."""
    return next((formula for formula in FORMULAS if fits(formula.pattern, name)), None)
