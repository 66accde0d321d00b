"""A sample of the crash matrix; `make crash SEEDS=10` runs all of it, many times, with production's patience."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.crash.matrix import PAIRS, POINTS, Case, Result, run_matrix, undisturbed
from tests.crash.world import World

# All points so many times; without it the sample, once.
SEEDS = int(os.environ.get("LEADLINE_CRASH_SEEDS", "0"))
# Of each process, and of each kind of boundary: after a commit that nobody was told of, sent and not yet marked, a lease without its
# work, work without its offset, a drain, a leader that dies.
SAMPLE = ("C4", "R3", "H2", "H7", "H9", "X3")
# Two deaths, the second on the way back from the first: one here, all 27 in the long run.
TWICE = ("H7",)
CASES = (
    [Case(point, seed) for seed in range(SEEDS) for point in POINTS] if SEEDS else [Case(point, 0) for point in SAMPLE]
) + [Case(point, 0, PAIRS[point]) for point in TWICE]

pytestmark = [pytest.mark.apache_kafka, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
async def matrix(worlds: list[World]) -> AsyncIterator[dict[Case, asyncio.Future[Result]]]:
    """All cases, running in the background; each test waits for its own."""
    oracles = await asyncio.gather(*(undisturbed(world) for world in worlds))
    assert all(oracle == oracles[0] for oracle in oracles), "three undisturbed runs do not agree"
    results = {case: asyncio.get_running_loop().create_future() for case in CASES}
    running = asyncio.create_task(run_matrix(worlds, CASES, oracles[0], results))
    yield results
    for awaited in (running, *results.values()):
        awaited.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("case", CASES, ids=[str(case) for case in CASES])
async def test_nothing_is_lost_or_different_after_a_kill(
    matrix: dict[Case, asyncio.Future[Result]], case: Case
) -> None:
    result = await matrix[case]
    print(f"{result} ({result.seconds:.1f} s, healed after {result.healed:.1f} s)")  # noqa: T201 (shown with -s)
    assert result.good, str(result)
    assert result.recovering == bool(case.then), "the second death comes while the first is being recovered from"


def test_all_points_of_the_plan_are_there() -> None:
    plan = {"C": 6, "R": 6, "H": 10, "X": 5}
    assert list(POINTS) == [f"{letter}{number}" for letter, count in plan.items() for number in range(1, count + 1)]
    assert list(PAIRS) == list(POINTS)
    assert set(PAIRS.values()) <= set(POINTS)
    assert {point[0] for point in SAMPLE} == set(plan)
