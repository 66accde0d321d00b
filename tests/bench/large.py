"""A night of many portfolios, and how many nights of a thousand that is."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.bench import pipeline
from tests.bench.measured import Found, Measured
from tests.bench.parts import COMMAND, run_part

FEW = 1000
# Times a night of a thousand, at most, that one of ten thousand may take.
GOAL = 12.0


def run(portfolios: int, times: int) -> Found:
    """Medians of as many nights of both. The thousand in a process of its own: what it leaves in memory would be measured."""
    few = _few(times)
    found = pipeline.run_night(portfolios, times)
    many = float((found.document or {})["seconds"])
    symbols = [f"{len(pipeline.universe(held_by)):,}" for held_by in (portfolios, FEW)]
    times_more = Measured(
        "large",
        f"{portfolios:,} portfolios, against {FEW:,}",
        many / few,
        "×",
        goal=GOAL * portfolios / (10 * FEW),
        note=f"{many:.1f} s against {few:.2f} s, medians of {times} each; over {' and '.join(symbols)} symbols",
    )
    return Found([times_more, *found.figures], found.document)


def _few(times: int) -> float:
    """Seconds of a night."""
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        written = Path(directory) / "night.json"
        arguments = ["night", "--portfolios", str(FEW), "--times", str(times), "--json", str(written)]
        if run_part([sys.executable, *COMMAND, *arguments]):
            raise RuntimeError(f"the nights of {FEW:,} failed")
        return float(json.loads(written.read_text())["seconds"])
