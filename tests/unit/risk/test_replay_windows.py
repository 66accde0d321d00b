"""Windows that a scenario file states without returns: what stored prices make of them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from services.risk.compute.factor_model import factor_model
from services.risk.compute.replay_windows import Daily, returns_of, sessions_of
from services.risk.compute.scenario_file import parse
from services.risk.compute.scenarios import BadScenarios
from services.risk.compute.scripts import scripts
from shared.market.calendar import calendar
from tests.unit.risk import cases

WINDOW = (date(2020, 2, 22), date(2020, 2, 28))
"""From a Saturday: the close of Friday."""
OWN = {"id": "week", "replay": {"from": WINDOW[0], "to": WINDOW[1]}}


def days(*moves: float | None, closes: tuple[float | None, float | None] = (None, None)) -> list[Daily]:
    sessions = sessions_of(WINDOW, calendar())
    ends = {sessions[0]: closes[0], sessions[-1]: closes[1]}
    return [Daily(day, move, ends.get(day)) for day, move in zip(sessions, (0.5, *moves), strict=True)]


def test_the_window_begins_at_the_close_on_or_before_and_holds_the_returns_after_it() -> None:
    assert sessions_of(WINDOW, calendar())[0] == date(2020, 2, 21)
    assert len(sessions_of(WINDOW, calendar())) == 6
    assert sessions_of((date(2020, 2, 22), date(2020, 2, 23)), calendar()) == ()
    assert sessions_of((date(1980, 1, 2), date(2020, 2, 23)), calendar()) == ()


def test_returns_are_compounded_else_the_ratio_of_adjusted_closes_else_absent() -> None:
    moves = (-0.03, -0.02, 0.01, -0.04, -0.01)
    whole = float(np.prod([1 + move for move in moves]) - 1)
    sessions = sessions_of(WINDOW, calendar())
    found = returns_of(
        {
            "SPY": days(*moves),
            "TLT": days(0.01, None, 0.01, 0.01, 0.01, closes=(100.0, 104.0)),
            "VUG": days(0.01, None, 0.01, 0.01, 0.01),
            "MTUM": days(*moves)[:-1],
        },
        sessions,
    )
    assert found == {"SPY": round(whole, 4), "TLT": 0.04}


def test_a_proxy_that_more_than_doubled_is_in_the_window_and_one_that_lost_all_is_not() -> None:
    """Windows may be years long: SPY tripled from 2009 to 2014."""
    sessions = sessions_of(WINDOW, calendar())
    found = returns_of(
        {
            "SPY": days(0.5, 0.4, 0.3, 0.2, 0.1),
            "VTV": days(0.5, None, 0.3, 0.2, 0.1, closes=(40.0, 140.0)),
            "TLT": days(-1.0, 0.1, 0.0, 0.0, 0.0),
        },
        sessions,
    )
    assert found == {"SPY": round(1.5 * 1.4 * 1.3 * 1.2 * 1.1 - 1, 4), "VTV": 2.5}
    filled = parse({"scenarios": [OWN]}).with_returns({WINDOW: found})
    moved = scripts(filled, filled.scenarios, factor_model(cases.panel(["AAA"])), cases.panel(["AAA"]).sessions)
    assert moved.value[0, 0, 0] == found["SPY"]


def test_a_window_alone_is_read_filled_and_known_by_what_is_written() -> None:
    read = parse({"scenarios": [OWN]})
    assert read.windows() == (WINDOW,)
    filled = read.with_returns({WINDOW: {"SPY": -0.11, "TLT": 0.02}})
    assert filled.digest() != read.digest()
    assert filled.as_written() == read.as_written() == read.digest()
    assert filled.with_returns({}) == read
    of = filled.scenarios[0].replay
    assert of is not None
    assert of.to_document() == {
        "from": "2020-02-22", "to": "2020-02-28", "returns": {"SPY": -0.11, "TLT": 0.02}, "from_prices": True,
    }  # fmt: skip
    # Stated returns are nobody's to fill.
    assert cases.SCENARIOS.with_returns({}) == cases.SCENARIOS
    with pytest.raises(BadScenarios, match="leave `returns` out"):
        parse({"scenarios": [{"id": "x", "replay": OWN["replay"] | {"returns": {}}}]})  # type: ignore[operator]


def test_without_prices_it_is_withheld_as_not_fetched_and_with_them_it_moves_the_factors() -> None:
    panel = cases.panel(["AAA"])
    model = factor_model(panel)
    read = parse({"scenarios": [OWN]})
    session = panel.sessions
    bare = scripts(read, read.scenarios, model, session)
    assert bare.reasons == (("not_fetched",),)
    assert not bare.good.any()
    filled = read.with_returns({WINDOW: {"SPY": -0.11, "TLT": 0.02}})
    moved = scripts(filled, filled.scenarios, model, session)
    assert moved.reasons == ((None,),)
    assert moved.value[0, 0, 0] == -0.11
    assert moved.value[0, 0, -1] == 0.02
