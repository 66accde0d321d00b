"""What is computed is shown: the tables of computed answers, with every part and without anything that is no number."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from leadline.tables import correlations
from leadline.tables import risk as risk_tables
from leadline.tables.text import DASH
from services.coordinator.compute.scorecard import Record, score
from services.coordinator.results import scorecard
from services.coordinator.web.views import factors as factor_views
from services.coordinator.web.views import risk as risk_views
from services.coordinator.web.views.figures import Figures
from tests.unit.coordinator.test_scorecard import made
from tests.unit.risk.cases import Unit
from tests.unit.risk.test_options import CALL, PUT, contracts, market, one, picture

COVERAGES = ("coverage_21", "coverage_63", "coverage_252", "coverage_var")


def shown(draw: Any, document: Any) -> str:
    out = io.StringIO()
    draw(Console(file=out, width=160), document)
    text = out.getvalue()
    assert "None" not in text
    assert re.search(r"\bnan\b", text.lower()) is None
    return text


@pytest.fixture(scope="module")
def of() -> Any:
    return one(market(), {"AAPL": 300.0, CALL: 2.0, PUT: -1.0, "BBB": 400.0})


def test_risk_shows_every_part_of_its_answer(of: Any) -> None:
    risk = of.risk | {"scorecard": scorecard.summary(score(made()))}
    text = shown(risk_tables.risk, risk)
    for part in (
        "volatility of NAV", "percentile", "trend", "forecast", "har", "beta realized", "R²", "expected shortfall", "historical",
        "contribution", "holdings' own", "volatility of the factor model", "with underlying", "diversification ratio",
        "effective bets", "HHI of risk", "Energy", "active", "QLIKE of HAR", "QLIKE of EWMA", "Kupiec",
    ):  # fmt: skip
        assert part in text, part
    assert f"{100 * risk['volatility']['realized_252']:.1f} %" in text
    assert f"{risk['decomposition']['effective_bets']:.1f}" in text
    assert f"{risk['scorecard']['har_qlike']:.4f}" in text
    assert f"{risk['scorecard']['var_95']['exceedances']} of 399" in text


def test_what_is_not_covered_has_its_figures_beside_and_what_is_repeats_nothing(of: Any) -> None:
    title = "Of covered value alone"
    whole = of.risk | {"covered_only": of.risk["covered_only"] | dict.fromkeys(COVERAGES, 1.0)}
    assert title not in shown(risk_tables.risk, whole | {"scorecard": {}})
    assert not risk_views._figures(Figures("p", "2020-12-30"), whole)[3:]
    holed = of.risk | {
        "covered_only": of.risk["covered_only"] | dict.fromkeys(COVERAGES, 0.9) | {"realized_252": 0.1234}
    }
    text = shown(risk_tables.risk, holed | {"scorecard": {}})
    assert (title in text, "12.3 %" in text, "90.0 %" in text) == (True, True, True)
    [(name, figures)] = risk_views._figures(Figures("p", "2020-12-30"), holed)[3:]
    assert name == title
    assert {figure.text for _, figure in figures} >= {"12.34%", "90.00%"}
    assert "Three volatilities" in text


def test_the_page_calls_size_what_it_is_and_shows_what_is_not_told_from_0_quieter(of: Any) -> None:
    names = [factor["factor"] for factor in of.exposures["factors"]]
    size = names.index("size")
    changed = [dict(factor) for factor in of.exposures["factors"]]
    changed[size] |= {"label": "low-size tilt", "t_hac": -1.9}
    changed[0] |= {"t_hac": 40.0}
    document = of.exposures | {"session": "2020-12-30", "factors": changed}
    view = factor_views.view("p", document)
    row = view["joint"][[r["name"] for r in view["joint"]].index("Low-size tilt")]
    assert (row["weak"], row["t"].text) == (True, "-1.9")
    assert view["joint"][0]["weak"] is False
    assert "Low-size tilt" in view["columns"]
    plain = factor_views.view("p", of.exposures | {"session": "2020-12-30"})
    assert "Size" in plain["columns"]


def test_exposures_show_both_sets_and_the_greeks(of: Any) -> None:
    text = shown(risk_tables.factors, of.exposures)
    assert "joint" in text
    assert "market beta shrunk" in text
    assert "spread growth value" in text
    [call] = [row for row in of.exposures["positions"] if row["symbol"] == CALL]
    assert f"{call['greeks']['delta']:.3f}" in text
    assert f"{call['exposure_value']:,.2f}" in text


def test_correlations_and_stress_are_shown(of: Any) -> None:
    assert f"{of.correlations['shrinkage']:.3f}" in shown(correlations.correlations, of.correlations)
    text = shown(risk_tables.stress, of.stress["scenarios"])
    for scenario in of.stress["scenarios"]:
        assert scenario["name"] in text
        assert f"{100 * scenario['propagated']['fraction']:.1f} %" in text


def test_what_is_withheld_is_a_dash() -> None:
    panel = market()
    [empty] = picture(panel, Unit(0.0, contracts(panel, {CALL: 1.0})))
    none = scorecard.summary(score(Record(made().forecasts[:1], made().realized[:1])))
    text = shown(risk_tables.risk, empty.risk | {"scorecard": none})
    assert DASH in text
    assert "nav not positive" in shown(risk_tables.factors, empty.exposures)
    assert shown(risk_tables.stress, empty.stress["scenarios"])


def test_a_matrix_of_many_holdings_is_named_in_the_short_form_and_whole_in_the_full_one() -> None:
    labels = [f"S{n:02}" for n in range(40)]
    value = {(i, j): (40 * i + j) / 10_000 for i in range(40) for j in range(40)}
    document = {
        "labels": labels, "matrix": [[value[i, j] for j in range(40)] for i in range(40)],
        "n_obs": [[1000 + 40 * i + j for j in range(40)] for i in range(40)], "shrinkage": 0.1, "mean_abs": 0.2,
        "clusters": [[label] for label in labels], "excluded": [], "factors": {"labels": [], "matrix": [], "n_obs": 252},
    }  # fmt: skip
    short = shown(correlations.correlations, document)
    assert "S39" not in short
    assert "40 holdings" in short
    out = io.StringIO()
    correlations.correlations(Console(file=out, width=140), document, full=True)
    page = out.getvalue()
    assert "…" not in page
    for i in range(40):
        for j in range(40):
            assert (f"{value[i, j]:.2f}" if i > j else f"{1000 + 40 * i + j:,}") in page
    assert page.count("39 S38") == 3, "a block for each 14 columns"
