"""Each part of the benchmark, as small as it goes: it runs, compares what it says it compares, and finds figures with goals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from services.factors.compute import exposures
from services.risk.compute import volatility
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.calendar import calendar
from tests.bench import arithmetic, history, ledger, measured, prices, steps
from tests.bench.measured import Measured
from tests.bench.peers import compare
from tests.support import own_environment
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server

ROOT = Path(__file__).parents[2]


def test_arithmetic_is_that_of_the_plain_versions() -> None:
    found = [*arithmetic.regressions(12, 3), *arithmetic.rolling(12, 6), *arithmetic.volatilities(20, 3, 40)]
    assert [one.goal for one in found] == [8000.0, 0.1, 700.0]
    assert all(one.value and one.low is not None and one.low <= one.value <= (one.high or 0) for one in found)


def test_arithmetic_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(series: FloatMatrix, valid: BoolMatrix, window: int) -> FloatVector:
        return realized(series, valid, window) + 1e-9

    realized = volatility.realized_volatility
    monkeypatch.setattr(volatility, "realized_volatility", wrong)
    with pytest.raises(AssertionError, match="volatilities differ"):
        arithmetic.volatilities(20, 3, 40)
    with monkeypatch.context() as patch:
        patch.setattr(arithmetic, "exposures", lambda own, proxies, at: exposures(own * 1.0001, proxies, at))
        with pytest.raises(AssertionError, match="betas differ"):
            arithmetic.regressions(12, 3)


@pytest.mark.leaves_drift("units without results: what is measured is the ledger")
async def test_ledger_of_years_is_complete_and_answers(server: Server, database: Database) -> None:
    days = calendar().between(calendar().back(ledger.LAST, 19), ledger.LAST)
    await ledger.fill(database.admin_url, 12, days)
    found = await ledger.measure(database, 12, 3)
    assert [one.what for one in found if one.goal is not None] == [
        "status of one, another each time", "list of 50", "what is missing, counted",
        "what is missing, to be asked for, of a phase", "what is missing, of one portfolio", "one night added",
    ]  # fmt: skip
    assert "960 units" in found[0].note


@pytest.mark.kafka
async def test_steps_are_all_done_by_both(server: Server, broker: TestBroker) -> None:
    mine, theirs = await steps.both(server, broker, 3, 2)
    assert len(mine) == len(theirs) == steps.REPETITIONS
    assert min([*mine, *theirs]) > 0


def test_one_close_is_corrected_and_nothing_else(tmp_path: Path) -> None:
    file, days = tmp_path / "prices.parquet", calendar().between(date(2020, 12, 1), date(2020, 12, 10))
    prices.write(file, ["S0"], days[0], days[-1])
    before = pq.read_table(file).to_pydict()
    history.correct(file, history.MARKET, days[3])
    after = pq.read_table(file).to_pydict()
    changed = [n for n, (old, new) in enumerate(zip(before["close"], after["close"], strict=True)) if old != new]
    assert [(after["symbol"][n], after["date"][n]) for n in changed] == [(history.MARKET, days[3])]
    assert after["close"][changed[0]] == pytest.approx(before["close"][changed[0]] * history.RAISED_BY, rel=1e-5)


def test_percentile_is_a_value_that_was_measured() -> None:
    values = list(np.random.default_rng(1).permutation(100).astype(float))
    assert measured.percentile(values, 0.99) == 98.0
    assert measured.percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (Measured("p", "w", 2.0, goal=2.0), "reached"),
        (Measured("p", "w", 2.1, goal=2.0), "missed"),
        (Measured("p", "w", 2.1, goal=2.0, sense="at least"), "reached"),
        (Measured("p", "w", 1.9, goal=2.0, sense="at least"), "missed"),
        (Measured("p", "w", 2.0), ""),
        (Measured("p", "w", None, goal=2.0, note="why"), "not measured"),
    ],
)
def test_verdicts(one: Measured, verdict: str) -> None:
    assert one.verdict == verdict
    assert verdict in measured.table([one])


def test_peers_that_are_not_there_are_told() -> None:
    found = compare.figures(1000.0, {"dbos": (50.0, "20 pairs"), "celery": (None, "not installed: no index")})
    assert [(one.value, one.verdict) for one in found] == [(50.0, ""), (None, "not measured"), (20.0, "missed")]
    assert "not measured; not installed: no index" in measured.table(found)
    [*_, ratio] = compare.figures(1000.0, {"dbos": (None, "did not run")})
    assert (ratio.value, ratio.note) == (None, "none of them ran")


def test_each_peer_has_a_program_and_pins() -> None:
    for name in compare.PEERS:
        assert (compare.HERE / f"{name}_steps.py").is_file()
        pins = [line for line in (compare.HERE / f"{name}.txt").read_text().splitlines() if not line.startswith("#")]
        assert [line for line in pins if "==" not in line] == []
        assert any(line.startswith(f"{name}==") for line in pins)


def test_a_peer_that_cannot_be_installed_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no index there')"]
    monkeypatch.setattr(own_environment, "create", lambda folder: folder / "python")
    monkeypatch.setattr(own_environment, "installing", lambda *_: command)
    assert compare.one_of_them("celery", server, 2) == (None, "not installed: no index there")


# Run instead of `python -m tests.bench`: two parts that need none of what the real ones load.
TWO_PARTS = """
import sys, types
from tests.bench import __main__ as bench
from tests.bench.measured import Found, Measured

def fine():
    return Found([Measured("one", "a figure", 3.0, "s", 4.0, low=2.0, high=5.0)])

def broken():
    raise RuntimeError("no")

made = sys.modules["tests.bench.made"] = types.ModuleType("tests.bench.made")
made.fine, made.broken = fine, broken
bench.PARTS = {"one": bench.Part("made:fine", "one"), "two": bench.Part("made:broken", "two")}
bench.COMMAND = (__file__,)
sys.exit(bench.main(sys.argv[1:]))
"""


def test_a_run_of_everything_writes_one_document_and_one_table(tmp_path: Path) -> None:
    """A part that fails is told, and the others are there all the same."""
    document, paper = tmp_path / "all.json", tmp_path / "all.md"
    program = tmp_path / "bench.py"
    program.write_text(TWO_PARTS)
    done = subprocess.run(
        [sys.executable, program, "--json", str(document), "--markdown", str(paper)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "RuntimeError: no" in done.stderr
    found = json.loads(document.read_text())
    assert {"date", "commit", "cores", "memory_gb", "python", "packages"} <= found["machine"].keys()
    assert [(one["part"], one["value"], one["verdict"]) for one in found["figures"]] == [
        ("one", 3.0, "reached"), ("two", None, "not measured"),
    ]  # fmt: skip
    assert "| one | a figure | 3.00 s | 2.00 to 5.00 | ≤ 4.00 s | reached |" in paper.read_text()
