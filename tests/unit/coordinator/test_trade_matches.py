"""A list of trades beside those that are kept: once, corrected, and the same trade named otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer.model import Issues
from services.coordinator.importer.parse import parse_csv
from services.coordinator.importer.presets import presets
from services.coordinator.importer.reading import Layout
from services.coordinator.importer.rules import Rules
from services.coordinator.importer.trade_matches import Comparison, compare, warn_similar
from services.coordinator.importer.trades import Trade, assign_keys
from shared.market.calendar import calendar

DAY = date(2020, 3, 4)
OWN = Layout("trades", presets()["trades"].dialect, 0, {}, 0, presets()["trades"])


def trade(quantity: str = "10", price: str = "50", **other: object) -> Trade:
    found = Trade(2, "buy", "KO", DAY, Decimal(quantity), Decimal(price))
    return replace(found, **other)  # type: ignore[arg-type]


def against(kept: list[Trade], listed: list[Trade]) -> tuple[Comparison, list[tuple[int | None, str | None]]]:
    kept, issues = assign_keys(kept, OWN), Issues()
    found = compare(kept, assign_keys(listed, OWN))
    warn_similar(kept, found, issues)
    return found, [(each.row, each.column) for each in issues.warnings if each.code == "similar_trade"]


@pytest.mark.parametrize(
    ("kept", "listed"),
    [
        (trade(), trade(broker_id="7")), (trade(broker_id="7"), trade()), (trade(), trade(time="093001")),
        (trade(time="0930"), trade(time="093001", broker_id="7")), (trade(broker_id="7", time="0930"), trade()),
    ],
)  # fmt: skip
def test_a_trade_that_one_file_names_by_an_id_or_a_time_and_the_other_does_not_counts_once(
    kept: Trade, listed: Trade
) -> None:
    found, similar = against([kept], [listed])
    assert (found.fresh, found.differences, similar) == ([], [], [])
    # Under the key that is kept: taking either file back leaves it to the other.
    assert [each.key for each in found.as_kept(update=False)] == [assign_keys([kept], OWN)[0].key]


def test_equal_fills_are_as_many_as_the_fuller_file_has() -> None:
    found, similar = against([trade()], [trade(broker_id="7"), trade(broker_id="8")])
    assert ([each.broker_id for each in found.fresh], similar) == (["8"], [])
    found, similar = against([trade(broker_id="7"), trade(broker_id="8")], [trade(broker_id="9")])
    assert (len(found.fresh), similar) == (1, []), "three executions"
    found, _ = against([trade(), trade()], [trade(time="0930"), trade(time="0931")])
    assert found.fresh == []


@pytest.mark.parametrize(
    ("listed", "column"),
    [
        (trade(quantity="12"), "quantity"), (trade(price="51"), "price"), (trade(day=date(2020, 3, 6)), "date"),
        (trade(quantity="12", price="51"), None), (trade(quantity="12", kind="sell"), None), (trade(price="51", symbol="PEP"), None),
    ],
)  # fmt: skip
def test_a_corrected_trade_is_asked_about_and_another_one_is_not(listed: Trade, column: str | None) -> None:
    found, similar = against([trade()], [listed])
    assert (len(found.fresh), similar) == (1, [] if column is None else [(2, column)])
    # Beside the kept one in the same file it is another fill.
    assert against([trade()], [trade(), listed])[1] == []


def test_an_order_and_its_executions_are_asked_about() -> None:
    parts = [trade("60", "50.1", broker_id="1"), trade("40", "49.85", broker_id="2", row=3)]
    assert against([trade("100")], parts)[1] == [(2, "quantity"), (3, "quantity")]
    assert against([trade("101")], parts)[1] == []


def test_an_id_with_other_content_is_a_difference_that_an_update_takes() -> None:
    found, similar = against([trade(broker_id="7")], [trade("12", broker_id="7", day=date(2020, 3, 5))])
    [difference] = found.differences
    assert dict(difference.changes) == {"day": ("2020-03-04", "2020-03-05"), "quantity": ("10", "12")}
    assert (found.fresh, similar) == ([], [])
    assert [each.quantity for each in found.as_kept(update=False)] == [10]
    assert [(each.day.day, int(each.quantity or 0)) for each in found.as_kept(update=True)] == [(5, 12)]


def test_an_id_that_came_later_is_known_from_then_on() -> None:
    first, _ = against([trade()], [trade(broker_id="7")])
    kept = first.as_kept(update=False)
    later = compare(kept, assign_keys([trade("12", broker_id="7")], OWN))
    assert [dict(each.changes) for each in later.differences] == [{"quantity": ("10", "12")}]


def test_numbers_on_another_basis_are_no_correction() -> None:
    found, _ = against([trade(broker_id="7")], [trade("40", "12.5", broker_id="7", price_basis="split_adjusted")])
    assert (found.fresh, found.differences) == ([], [])
    assert [each.quantity for each in found.as_kept(update=True)] == [10]


def test_a_statement_and_a_query_of_the_same_trades_meet() -> None:
    """The one names no trade, the other each by its id: both counted."""
    activity = (
        "Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Comm/Fee,Code\n"
        'Trades,Data,Order,Stocks,USD,KO,"2020-03-04, 09:30:01",10,50.0,50,-1,O\n'
        'Trades,Data,Order,Stocks,USD,KO,"2020-03-05, 10:00:00",-4,51.25,51,-1,C\n'
    )
    flex = (
        '"AssetClass","Symbol","CurrencyPrimary","DateTime","Quantity","TradePrice","Buy/Sell","TradeID","LevelOfDetail"\n'
        '"STK","KO","USD","20200304;093001","10","50","BUY","71","EXECUTION"\n'
        '"STK","KO","USD","20200305;100000","-4","51.25","SELL","72","EXECUTION"\n'
    )
    rules = Rules(calendar(), date(2020, 12, 30))
    one, other = (parse_csv(text.encode(), "a.csv", rules).trades or () for text in (activity, flex))
    for kept, listed in ((one, other), (other, one)):
        found = compare(kept, listed)
        assert (len(found.known), found.fresh, found.differences) == (2, [], [])
