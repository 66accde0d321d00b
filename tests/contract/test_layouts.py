"""Arrays that another service reads are written and read by one layout."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from services.coordinator.compute import scorecard as judged
from services.coordinator.results import risk as answered
from services.factors.compute import regression
from services.risk.store.inputs import _FACT_COLUMNS
from shared.market import layouts
from shared.market.option_greeks import Greeks
from shared.market.registry import FACTOR_NAMES, JOINT_FACTORS, SPREAD_NAMES

ROOT = Path(__file__).resolve().parents[2]


def test_an_element_is_found_by_name_in_python_and_in_sql() -> None:
    assert layouts.element(layouts.MARKET, "stderr_hac") == 4
    assert layouts.sql_element("joint_fit", layouts.JOINT_FIT, "resid_sd") == "joint_fit[3]"
    assert layouts.sql_element("spreads", layouts.SPREAD, "beta", block=1) == "spreads[4]"
    with pytest.raises(ValueError, match="tuple"):
        layouts.element(layouts.MARKET, "gamma")


def test_what_risk_reads_of_the_factors() -> None:
    assert _FACT_COLUMNS[0] == "market[1]"
    assert _FACT_COLUMNS[3 : 3 + len(SPREAD_NAMES)] == tuple(f"spreads[{3 * k + 1}]" for k in range(len(SPREAD_NAMES)))
    assert _FACT_COLUMNS[-2] == "joint_fit[3]"


def test_figures_are_laid_out_by_name_whatever_order_they_are_given_in() -> None:
    one = np.ones((2, 3))
    laid = regression._laid_out(layouts.JOINT_FIT, resid_sd=3 * one, r2=one, condition=2 * one)
    assert laid.shape == (2, 3, 3)
    assert laid[0, 0].tolist() == [1.0, 2.0, 3.0]


def test_the_greeks_that_are_stored_are_those_that_are_answered() -> None:
    stored = tuple("implied_volatility" if field.name == "volatility" else field.name for field in fields(Greeks))
    assert stored == layouts.GREEKS == answered.GREEKS


def test_forecasts_and_exposures() -> None:
    assert layouts.FORECASTS[:5] == ("har", "har_variance", "ewma_variance", "var_historical", "var_normal"), (
        "as it is stored since ever"
    )
    assert layouts.FORECASTS[judged.NORMAL] == "var_normal"
    assert layouts.FORECASTS[judged.EWMA_VARIANCE] == "ewma_variance"
    assert layouts.scored_var("filtered", 0.975) == "var_filtered_97.5"
    assert [name for name, of in answered.FIGURES if of == "joint"] == [
        name for name, joint in zip(FACTOR_NAMES, JOINT_FACTORS, strict=True) if joint
    ], "growth is reported"


def test_no_service_lists_the_elements_of_such_an_array_itself() -> None:
    """A tuple or list of literals that equals a layout is a second copy of it."""
    known = {
        getattr(layouts, name)
        for name in ("MARKET", "SPREAD", "JOINT_FIT", "REPORTED", "EXPOSURES", "EXPOSURE", "GREEKS", "FORECASTS")
    }
    copies = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "services").rglob("*.py"))
        if any(f'"{layout[0]}"' in (text := path.read_text()) for layout in known)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Tuple | ast.List)
        and tuple(each.value for each in node.elts if isinstance(each, ast.Constant)) in known
    ]
    assert [copy for copy in copies if "coordinator/compute/scorecard.py" not in copy] == []
