"""One registry of every figure: what it is, its parameters, what stands beside it, what it was computed from. Pure.

Formulas are those of docs/methods.md, in a line; windows and gates come from `shared.market.registry`, never from here.
"""

from __future__ import annotations

from functools import lru_cache

from services.coordinator.explain.formulas.analytics import ANALYTICS
from services.coordinator.explain.formulas.model import Formula, fits
from services.coordinator.explain.formulas.reported import REPORTED
from services.coordinator.explain.formulas.risk import RISK
from services.coordinator.explain.formulas.snapshots import LEDGER
from services.coordinator.explain.formulas.stress import MODELS
from services.coordinator.explain.formulas.symbols import FACTS
from services.coordinator.results.figures import Name

FORMULAS: tuple[Formula, ...] = (*LEDGER, *RISK, *MODELS, *ANALYTICS, *REPORTED, *FACTS)


_DEPTH = max(len(formula.pattern) for formula in FORMULAS)
# By place in a name what patterns ask for there. Ids, symbols and sessions are nothing that any pattern tells apart.
_WORDS = tuple(frozenset(of.pattern[at] for of in FORMULAS if at < len(of.pattern)) for at in range(_DEPTH))
_ANY = ""


def formula_of(name: Name) -> Formula | None:
    """The first formula whose pattern fits the name; the more particular ones stand first."""
    # Fifty thousand lots have eight hundred thousand names of a dozen forms, and there are hundreds of patterns.
    known = [part if part in words else _ANY for part, words in zip(name, _WORDS, strict=False)]
    return _first_that_fits((*known, *(_ANY for _ in name[_DEPTH:])))


@lru_cache(maxsize=10_000)
def _first_that_fits(name: Name) -> Formula | None:
    return next((formula for formula in FORMULAS if fits(formula.pattern, name)), None)
