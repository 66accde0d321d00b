"""A price that stands still is known: no beta, no residual, no part in any risk. Money stands still without a price source."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from uuid import UUID

import numpy as np
import pytest

from services.risk.compute.inputs import Kind, Panel
from services.risk.compute.report import build_reports
from services.risk.store.holdings import HeldRow, LotList, UserClassification
from services.risk.workflow.assemble import build_panel
from services.risk.workflow.lots import merge_lots
from shared.market.registry import FACTORS, LOOKBACK
from tests.support.risk import Answered, answered
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

MIXED = Unit(1000.0, (Lot("FUND", 250.0), Lot("S0", 450.0), Lot("S1", 300.0)))


def standing_still(*, kind: Kind = Kind.PUBLIC, level: float = 0.0) -> Panel:
    """S0 and S1 move; FUND earns the same every session, with the facts that the factors service stores of it."""
    of = cases.panel(["FUND", "S0", "S1"], kinds={"FUND": kind})
    row = of.symbols.index("FUND")
    returns, joint, shrunk, resid_sd = of.returns.copy(), of.joint.copy(), of.shrunk.copy(), of.resid_sd.copy()
    returns[row], joint[:, row], shrunk[:, row], resid_sd[:, row] = level, 0.0, 0.0, 0.0
    reported = of.reported.copy()
    reported[:, row] = 0.0
    return replace(of, returns=returns, joint=joint, shrunk=shrunk, resid_sd=resid_sd, reported=reported)


def picture(of: Panel, unit: Unit) -> Answered:
    return answered(build_reports(of, cases.book(of, [unit]), cases.SCENARIOS)[0], cases.SCENARIOS)


@pytest.mark.parametrize(("kind", "level"), [(Kind.PUBLIC, 0.0), (Kind.PUBLIC, 0.0001), (Kind.CASH, 0.0)])
def test_a_quarter_in_a_fund_that_stands_still_takes_a_quarter_of_the_beta_and_nothing_else(
    kind: Kind, level: float
) -> None:
    panel = standing_still(kind=kind, level=level)
    of = picture(panel, MIXED)
    market = panel.joint[0, [panel.symbols.index("S0"), panel.symbols.index("S1")], 0]
    assert of.risk["beta"]["aggregated"] == pytest.approx(0.45 * market[0] + 0.30 * market[1], rel=1e-12)
    assert of.quality == "complete"
    assert [reason for reason in of.reasons if reason["symbol"]] == []
    assert None not in [factor["beta"] for factor in of.exposures["factors"]]
    scenario = of.stress["scenarios"][0]
    assert scenario["uncovered_value"] == 0.0
    assert scenario["direct"]["by_position"]["FUND"] == 0.0
    assert of.correlations["excluded"] == [{"symbol": "FUND", "reason": "zero_variance"}]
    assert of.correlations["mean_abs"] is not None
    assert of.risk["concentration"]["risk_hhi"] is not None
    # By hand: the volatility of what moves, with the weights it has of the whole.
    moving = (
        0.45 * panel.returns[panel.symbols.index("S0"), -252:] + 0.30 * panel.returns[panel.symbols.index("S1"), -252:]
    )
    assert of.risk["volatility"]["realized_252"] == pytest.approx(moving.std(ddof=1) * np.sqrt(252), rel=1e-9)
    assert of.risk["decomposition"]["volatility"] == pytest.approx(moving.std(ddof=1) * np.sqrt(252), rel=0.1)


def test_with_nothing_else_the_risk_is_none_and_known() -> None:
    of = picture(standing_still(), Unit(1000.0, (Lot("FUND", 1000.0),)))
    assert (of.risk["beta"]["aggregated"], of.risk["beta"]["realized"]) == (0.0, 0.0)
    assert of.risk["volatility"]["realized_252"] == 0.0
    assert (of.risk["decomposition"]["volatility"], of.risk["decomposition"]["model_vol"]) == (0.0, 0.0)
    assert of.quality == "complete"
    assert "low_coverage" not in {reason["reason"] for reason in of.reasons}


def test_a_lot_of_a_money_market_fund_is_money_and_another_lot_of_the_symbol_is_not() -> None:
    lots = [UUID(int=k) for k in (1, 2)]
    listed = LotList.of(lots, ["FUND", "FUND"])
    held = HeldRow(UUID(int=9), date(2020, 12, 31), 1000.0, listed, np.ones(2), np.array([5, 7]))
    said = {
        lots[0].bytes: UserClassification("PUBLIC", None, None, "MONEY_MARKET"),
        lots[1].bytes: UserClassification("PUBLIC", None, None, "ETF"),
    }
    assert [(lot.row, lot.long) for lot in merge_lots(held, said)] == [
        (("FUND", Kind.PUBLIC), 7),
        (("FUND", Kind.CASH), 5),
    ]


def test_money_needs_no_prices() -> None:
    day = date(2020, 12, 31)
    window = np.datetime64(day, "D") - np.arange(LOOKBACK - 1, -1, -1)
    none: list[str | None] = [None] * len(FACTORS)
    panel = build_panel(
        (day,), window, [("CASH", Kind.CASH)], {}, {day: (none, [float("nan")] * len(FACTORS))},
        returns={}, facts={}, missing=[], gaps=[],
    )  # fmt: skip
    assert (panel.returns == 0.0).all()
    assert (panel.joint == 0.0).all()
    assert panel.fact_reasons == {}
