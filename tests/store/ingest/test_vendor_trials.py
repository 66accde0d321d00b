"""A fault on one symbol, on the profiles and on the whole vendor: one of each; `python -m tests.vendors chaos` has all, of all vendors."""

from __future__ import annotations

import pytest

from tests.store.ingest.conftest import Ingest
from tests.vendors import slow
from tests.vendors.chaos import ENTRY, VENDORS, Trial
from tests.vendors.slow import Published, Report


async def test_a_fault_costs_what_it_is_about_and_all_is_right_in_time_after_it(ingest: Ingest) -> None:
    await ingest.run(await ingest.portfolio(("SPY", ENTRY)))
    for number, (scope, fault) in enumerate((("symbol", "500"), ("profiles", "401"), ("vendor", "429"))):
        outcome = await Trial(ingest, VENDORS["yahoo"], scope, fault, number, symbols=6).run()
        assert outcome.problems == (), outcome
        assert bool(outcome.named) == (scope != "profiles"), outcome


EARLY = Published(90.0, "healing", 0.81, 0.81, 900.0, 3.0, provisional=True)
WHOLE = Published(110.0, "complete", 1.0, 1.0, 1000.0, 4.0, provisional=False)
STATES = [(0.0, "healing"), (110.0, "complete")]


@pytest.mark.parametrize(
    ("seen", "states", "computed", "problem"),
    [
        ([EARLY, WHOLE], STATES, 3, None),
        ([], STATES, 0, "nothing was published"),
        ([EARLY._replace(priced=0.7), WHOLE], STATES, 2, "70%"),
        ([EARLY._replace(pnl=0.0), WHOLE], STATES, 2, "a flat day"),
        ([EARLY._replace(coverage=0.5), WHOLE], STATES, 2, "coverage of 0.50"),
        ([EARLY._replace(provisional=False), WHOLE], STATES, 2, "provisional: False"),
        ([EARLY], STATES, 1, "the end is"),
        ([EARLY, WHOLE], [(0.0, "complete")], 2, "the states were"),
        ([EARLY, WHOLE], STATES, 9, "computed 9 times"),
    ],
)
def test_what_the_slow_run_is_judged_by(
    seen: list[Published], states: list[tuple[float, str]], computed: int, problem: str | None
) -> None:
    report = Report(500, 60.0, minutes=110.0, computed=computed, seen=seen, states=states)
    slow.judge(report)
    assert len(report.problems) == bool(problem)
    assert problem is None or problem in report.problems[0]
