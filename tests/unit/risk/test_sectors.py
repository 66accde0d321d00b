"""Sector weights beside a benchmark's: against a plain loop, by date, and the same in every digit whatever stands beside."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from services.risk.compute.inputs import Benchmark, Panel
from services.risk.compute.report import build_reports
from services.risk.compute.sectors import sector_weights
from shared.market.sectors import GICS
from tests.unit.risk import cases
from tests.unit.risk.cases import FIRST, Lot, Unit

OLD = Benchmark("SP500", FIRST - timedelta(days=90), {"Energy": 0.3, "Financials": 0.7})
NEW = Benchmark("SP500", FIRST + timedelta(days=2), {"Energy": 0.1, "Utilities": 0.9, "Materials": 0.0})


def risk(panel: Panel, units: list[Unit]) -> list[dict[str, Any]]:
    return [of.risk for of in build_reports(panel, cases.book(panel, units), cases.SCENARIOS)]


def by_name(of: dict[str, Any], figure: str) -> dict[str, Any]:
    return {row["sector"]: row[figure] for row in of["sectors"]}


def reasons(panel: Panel, unit: Unit) -> list[dict[str, Any]]:
    return build_reports(panel, cases.book(panel, [unit]), cases.SCENARIOS)[0].reasons


def test_by_hand() -> None:
    found = sector_weights(
        [["A", "B", "A"]], np.array([[100.0, 50.0, 0.0]]), np.array([[0.0, 0.0, -40.0]]), np.array([200.0])
    )
    assert found.names == ("A", "B")
    assert found.long.tolist() == [[0.5, 0.25]]
    assert found.short.tolist() == [[-0.2, 0.0]]
    assert found.net.tolist() == [[pytest.approx(0.3), 0.25]]
    assert found.gross.tolist() == [[pytest.approx(0.7), 0.25]]
    assert np.isnan(found.benchmark).all()
    assert np.isnan(found.active).all()


def test_stacks_of_units_equal_a_plain_loop_to_the_last_digit() -> None:
    rng = np.random.default_rng(5)
    units, held = 40, 17
    names = [[str(rng.choice([*GICS, "ETF"])) for _ in range(held)] for _ in range(units)]
    value = rng.normal(0.0, 1e4, (units, held))
    long, short, nav = np.maximum(value, 0.0), np.minimum(value, 0.0), rng.uniform(1e4, 1e6, units)
    tables = [
        Benchmark(
            "X", FIRST + timedelta(days=n), dict(zip(GICS[:size], rng.dirichlet(np.ones(size)).tolist(), strict=True))
        )
        for n, size in enumerate((11, 4, 7))
    ]
    chosen = rng.integers(-1, 3, units)
    found = sector_weights(names, long, short, nav, tables, chosen)
    for u in range(units):
        benchmark = tables[chosen[u]].weights if chosen[u] >= 0 else None
        listed = {*names[u], *(name for name, weight in (benchmark or {}).items() if weight > 0.0)}
        assert {name for name, there in zip(found.names, found.listed[u], strict=True) if there} == listed
        for n, name in enumerate(found.names):
            up = down = 0.0
            for k in range(held):
                if names[u][k] == name:
                    up += long[u, k]
                    down += short[u, k]
            assert (found.long[u, n], found.short[u, n]) == (up / nav[u], down / nav[u])
            assert (found.net[u, n], found.gross[u, n]) == ((up + down) / nav[u], (up - down) / nav[u])
            if benchmark is None:
                assert np.isnan(found.active[u, n])
            else:
                assert found.benchmark[u, n] == benchmark.get(name, 0.0)
                assert found.active[u, n] == (up + down) / nav[u] - benchmark.get(name, 0.0)


def test_each_session_has_the_newest_table_that_is_not_dated_after_it() -> None:
    """The defect: a dictionary filled from the newest date to the oldest kept the oldest, with dates mixed by sector."""
    panel = replace(cases.panel(["S1"], sessions=4), benchmarks=(OLD, NEW))
    unit = Unit(1000.0, (Lot("S1", 500.0),))
    found = risk(panel, [replace(unit, session=s) for s in range(4)])
    old, new = str(OLD.date), str(NEW.date)
    assert [of["benchmark_date"] for of in found] == [old, old, new, new]
    assert {of["benchmark"] for of in found} == {"SP500"}
    assert by_name(found[1], "benchmark") == {"Energy": 0.3, "Financials": 0.7}
    assert by_name(found[2], "benchmark") == {"Energy": 0.1, "Utilities": 0.9}, "one date, and nothing of another"
    assert by_name(found[2], "active") == {"Energy": pytest.approx(0.4), "Utilities": -0.9}


def test_a_table_of_the_future_is_not_there_yet() -> None:
    panel = replace(cases.panel(["S1"]), benchmarks=(replace(OLD, date=FIRST + timedelta(days=1)),))
    unit = Unit(1000.0, (Lot("S1", 500.0),))
    [of] = risk(panel, [unit])
    assert (of["benchmark"], of["benchmark_date"]) == (None, None)
    assert (by_name(of, "benchmark"), by_name(of, "active")) == ({"Energy": None}, {"Energy": None})
    assert {"figure": "sectors.active", "symbol": None, "reason": "no_benchmark"} in reasons(panel, unit)


def test_a_sector_that_only_the_benchmark_has_is_held_at_zero_and_active_weights_sum_to_net_less_one() -> None:
    panel = replace(cases.panel(["S1", "S2", "S3"]), benchmarks=(OLD,))
    unit = Unit(1000.0, (Lot("S1", 500.0), Lot("S2", -200.0, sector="Utilities"), Lot("S3", 100.0, sector="ETF")))
    [of] = risk(panel, [unit])
    rows = {row.pop("sector"): row for row in (dict(row) for row in of["sectors"])}
    assert sorted(rows) == ["ETF", "Energy", "Financials", "Utilities"]
    assert rows["Financials"] == {"long": 0.0, "short": 0.0, "net": 0.0, "gross": 0.0, "benchmark": 0.7, "active": -0.7}
    assert rows["ETF"]["benchmark"] == 0.0, "the table says that it holds nothing under that name"
    assert sum(row["active"] for row in rows.values()) == pytest.approx(0.4 - 1.0, abs=1e-15)
    assert not any(reason["figure"] == "sectors.active" for reason in reasons(panel, unit))


def test_without_a_positive_nav_the_benchmark_is_there_and_the_active_weight_is_not() -> None:
    panel = replace(cases.panel(["S1"]), benchmarks=(OLD,))
    [of] = risk(panel, [Unit(-10.0, (Lot("S1", 500.0),))])
    assert by_name(of, "benchmark") == {"Energy": 0.3, "Financials": 0.7}
    assert set(by_name(of, "active").values()) == set(by_name(of, "net").values()) == {None}


def test_cash_alone_is_underweight_in_everything() -> None:
    panel = replace(cases.panel(["S1"]), benchmarks=(OLD,))
    [of] = risk(panel, [Unit(1000.0, ())])
    assert by_name(of, "active") == {"Energy": -0.3, "Financials": -0.7}


def test_no_digit_depends_on_the_batch() -> None:
    panel = replace(cases.panel(["S1", "S2"], sessions=3), benchmarks=(OLD, NEW))
    assert panel.sessions[0] == date(2020, 1, 1)
    units = [
        Unit(1000.0 + 7 * p + s, (Lot("S1", 301.7 + p), Lot("S2", -99.3, sector=GICS[p])), portfolio=p, session=s)
        for p in range(3)
        for s in range(3)
    ]
    together = risk(panel, units)
    for unit, of in zip(units, together, strict=True):
        [alone] = risk(panel, [unit])
        assert alone["sectors"] == of["sectors"]
