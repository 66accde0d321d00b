"""A batch costs far less than its units one by one: seconds of processor in one run, so that a busy machine changes both sides."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from services.risk.compute.inputs import Book, Panel
from services.risk.workflow import RiskWorker
from services.risk.workflow.assemble import Inputs
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

SYMBOLS = [f"S{number:02d}" for number in range(20)]
UNITS = 60


def least(work: Callable[[], object]) -> float:
    """Seconds of processor of the cheapest of several runs: what else the machine does can only add."""
    spent = []
    for _ in range(5):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def sessions(count: int) -> tuple[Panel, Book]:
    panel = cases.panel(SYMBOLS[:13], count)
    return panel, cases.equal_book(panel, SYMBOLS[:13], sessions=count)


def portfolios(count: int) -> tuple[Panel, Book]:
    panel = cases.panel(SYMBOLS)
    held = [tuple(Lot(symbol, 50.0 + p) for symbol in SYMBOLS[p % 7 : p % 7 + 13]) for p in range(count)]
    return panel, cases.book(panel, [Unit(2000.0, lots, portfolio=p) for p, lots in enumerate(held)])


@pytest.mark.parametrize("of", [sessions, portfolios])
def test_sixty_units_together_cost_less_than_ten_alone(of: Callable[[int], tuple[Panel, Book]]) -> None:
    """They cost about four; a loop over the units sixty, one over the portfolios inside the computation seventeen."""
    worker = RiskWorker(cases.SCENARIOS)
    single, batch = Inputs(*of(1)), Inputs(*of(UNITS))
    worker.compute(batch)
    assert least(lambda: worker.compute(batch)) < 10.0 * least(lambda: worker.compute(single))
