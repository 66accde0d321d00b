"""An explanation reads of the lots what it tells of them, and no more: of fifty thousand on five hundred sessions that is half a minute."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from services.coordinator.api import representation
from services.coordinator.explain import portfolios as explain
from services.coordinator.explain import scopes, sources
from services.coordinator.explain.formulas.model import Source
from services.coordinator.results import valued_lots
from services.coordinator.web.views import explain as views
from shared import offloading
from shared.db.engine import snapshot
from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_beside_the_loop import Threads
from tests.store.coordinator.test_reads import complete_with_results


async def _refused(*_given: Any, **_named: Any) -> Any:
    raise AssertionError("lots are read that nothing is told of")


@pytest.mark.parametrize("figure", ["snapshots.cash", "performance.total_return", "liquidity.days", "attribution.pnl"])
async def test_a_figure_of_no_lot_is_explained_without_their_values(
    api: Api, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    identity = await complete_with_results(api)
    monkeypatch.setattr(valued_lots, "read", _refused)
    answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/explain?figure={figure}&session=2020-12-30")
    assert answer.status_code == 200, answer.text


async def test_where_no_price_enters_nobody_asks_which_of_every_lot_and_session(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await complete_with_results(api)
    # A lot of another symbol, on a session before: what was realised of it is in the account.
    await api.run("""
        INSERT INTO snapshots.holdings
        SELECT portfolio_id, '2020-12-29', 1, position_ids, '{AAPL,OLD}', quantity, price, price_session, price_basis, stale,
               market_value, daily_pnl, cumulative_pnl, realized_pnl, dividends, reason FROM snapshots.holdings
    """)
    await api.run("UPDATE coordinator.positions SET symbol = 'OLD' WHERE symbol = 'MSFT'")
    path = f"{PREFIX}/portfolios/{identity}/explain?session=2020-12-30&figure=snapshots."

    async def told(figure: str) -> list[str]:
        inputs = (await api.client.get(path + figure)).json()["inputs"]
        return [each["symbol"] for each in inputs if each["kind"] == "lot"]

    # Of the account's value prices enter, and every lot is looked at; of money they do not.
    expected = await told("nav")
    assert expected == ["AAPL", "OLD"]
    monkeypatch.setattr(scopes, "_price_spans", _refused)
    assert await told("cash") == expected
    # Of the session alone, and only what was held or earned.
    assert await told("positions") == ["AAPL"]


async def test_a_page_builds_the_inputs_that_it_shows(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = await complete_with_results(api)
    path = f"/p/{identity}/explain?figure=snapshots.cash&session=2020-12-30"
    whole = (await api.client.get(path)).text
    assert "/symbols/MSFT" in whole
    assert "the API has all" not in whole
    built: list[str] = []
    entry = sources.entry

    def noted(source: Source, **values: Any) -> sources.Entry:
        built.append(source.kind)
        return entry(source, **values)

    monkeypatch.setattr(sources, "entry", noted)
    monkeypatch.setattr(views, "SHOWN", 1)
    cut = (await api.client.get(path)).text
    assert built.count("lot") == 1
    inputs = (await api.client.get(f"{PREFIX}/portfolios/{identity}{path.removeprefix(f'/p/{identity}')}")).json()[
        "inputs"
    ]
    assert f"The first 1 of {len(inputs)}; the API has all." in cut


@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_the_list_of_names_is_sent_as_it_would_be_encoded(
    api: Api, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    identity = await complete_with_results(api)
    monkeypatch.setattr(explain, "_IN_A_PART", size)
    sent = await api.client.get(f"{PREFIX}/portfolios/{identity}/explain")
    async with snapshot(api.context.engine) as conn:
        listed = await explain.names(conn, UUID(identity), None)
    assert len(listed["figures"]) > 100
    assert sent.content == representation.encode(listed)


async def test_names_are_listed_without_an_object_each(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = await complete_with_results(api)
    monkeypatch.setattr(explain, "list_figures", _refused)
    assert (await api.client.get(f"{PREFIX}/portfolios/{identity}/explain")).status_code == 200


async def test_a_page_of_a_lot_says_its_symbol(api: Api) -> None:
    identity = await complete_with_results(api)
    [(lot,)] = await api.rows("SELECT id FROM coordinator.positions WHERE symbol = 'AAPL'")
    for figure in (f"positions.{lot}.market_value", "positions.coverage"):
        page = await api.client.get(f"/p/{identity}/explain?figure={figure}&session=2020-12-30")
        assert page.status_code == 200, page.text
        assert ("AAPL · market value" in page.text) is (str(lot) in figure)


async def test_inputs_are_put_together_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = await complete_with_results(api)
    monkeypatch.setattr(offloading, "FEW", 0)
    threads = Threads(monkeypatch)
    threads.watch(sources, "entry")
    path = f"{PREFIX}/portfolios/{identity}/explain?figure=snapshots.cash&session={date(2020, 12, 30)}"
    assert (await api.client.get(path)).status_code == 200
    assert threads.seen["entry"]
    assert not any(threads.seen["entry"])
