"""An edit raises exactly what depends on it, from the first affected session on."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

PHASES = ("ingest", "factors", "snapshots", "risk")


def units(first: date, *phases: str, last: date = AS_OF) -> set[tuple[str, date]]:
    return {(phase, session) for phase in phases for session in calendar().between(first, last)}


async def created(api: Api, **form: str) -> tuple[str, str, dict[str, Any]]:
    answer = await api.create(**form)
    await api.complete(answer["id"])
    assert await api.missing(answer["id"]) == set()
    read = (await api.client.get(f"{PREFIX}/portfolios/{answer['id']}")).json()
    return answer["id"], f"{PREFIX}/portfolios/{answer['id']}", {p["symbol"]: p["id"] for p in read["positions"]}


async def test_a_lot_added_later_raises_from_its_entry_on(api: Api) -> None:
    identity, url, _ = await created(api)
    lot = {"symbol": "KO", "quantity": 10, "entry_date": "2020-12-28", "entry_price": 54}
    answer = await api.client.post(f"{url}/positions", json=lot)
    assert answer.status_code == 201, answer.text
    assert await api.missing(identity) == units(date(2020, 12, 28), *PHASES)
    run = (await api.client.get(f"{PREFIX}/admin/runs/{answer.json()['run_id']}")).json()
    assert (run["source"], run["units"], run["state"]) == ("settings", 12, "running")
    events = await api.rows("SELECT type, payload FROM bus.outbox ORDER BY id")
    assert [event.type for event in events] == ["leadline.PortfolioCreated.v1", "leadline.PortfolioChanged.v1"]
    assert '"from":"2020-12-28"' in events[1].payload
    again = await api.client.post(f"{url}/positions", json=lot)
    assert again.json()["position_id"] != answer.json()["position_id"]


async def test_a_lot_added_earlier_adds_units_and_raises_all(api: Api) -> None:
    identity, url, _ = await created(api)
    lot = {"symbol": "KO", "quantity": 10, "entry_date": "2020-12-17", "entry_price": 54}
    answer = await api.client.post(f"{url}/positions", json=lot)
    assert answer.json()["first_session"] == "2020-12-17"
    assert await api.missing(identity) == units(date(2020, 12, 17), *PHASES)


async def test_deleting_the_first_lot_removes_its_units(api: Api) -> None:
    identity, url, lots = await created(api)
    answer = await api.client.delete(f"{url}/positions/{lots['AAPL']}")
    assert answer.json()["first_session"] == "2020-12-23"
    assert await api.missing(identity) == units(date(2020, 12, 23), *PHASES)
    sessions = await api.rows("SELECT min(session) FROM ledger.units")
    assert sessions[0][0] == date(2020, 12, 23)


async def test_deleting_the_last_lot_leaves_an_empty_complete_portfolio(api: Api) -> None:
    identity, url, lots = await created(api)
    for lot in lots.values():
        assert (await api.client.delete(f"{url}/positions/{lot}")).status_code == 200
    status = (await api.client.get(f"{url}/status")).json()
    assert (status["state"], status["expected"]) == ("complete", 0)
    assert await api.rows("SELECT 1 FROM ledger.units") == []
    lot = {"symbol": "KO", "quantity": 10, "entry_date": "2020-12-28", "entry_price": 54}
    assert (await api.client.post(f"{url}/positions", json=lot)).status_code == 201
    assert await api.missing(identity) == units(date(2020, 12, 28), *PHASES)


async def test_editing_a_lot_keeps_what_is_not_named_and_null_clears(api: Api) -> None:
    identity, url, lots = await created(api)
    answer = await api.client.patch(f"{url}/positions/{lots['MSFT']}", json={"exit_date": None, "exit_price": None})
    assert answer.status_code == 200, answer.text
    read = (await api.client.get(url)).json()
    lot = next(p for p in read["positions"] if p["symbol"] == "MSFT")
    assert (lot["quantity"], lot["entry_price"], lot["exit_date"], lot["exit_session"]) == (-50.0, 221.02, None, None)
    assert await api.missing(identity) == units(date(2020, 12, 29), *PHASES)
    bad = await api.client.patch(f"{url}/positions/{lots['MSFT']}", json={"quantity": 0, "entry_date": "soon"})
    assert [error["code"] for error in bad.json()["errors"]] == ["ERR_POS_006", "ERR_POS_013"]


@pytest.mark.parametrize(
    ("edit", "raised"),
    [
        ({"exit_price": 225}, units(date(2020, 12, 29), "snapshots", "risk")),
        ({"exit_date": "2020-12-28"}, units(date(2020, 12, 28), *PHASES)),
        ({"sector": "Energy"}, units(date(2020, 12, 23), "risk")),
        ({"quantity": -60}, units(date(2020, 12, 23), *PHASES)),
        ({"name": "A label"}, set()),
        ({"quantity": -50, "exit_price": 224.15}, set()),
    ],
)
async def test_an_edit_raises_exactly_what_differs(
    api: Api, edit: dict[str, Any], raised: set[tuple[str, date]]
) -> None:
    identity, url, lots = await created(api)
    answer = await api.client.patch(f"{url}/positions/{lots['MSFT']}", json=edit)
    assert answer.status_code == 200, answer.text
    assert await api.missing(identity) == raised
    assert (answer.json()["run_id"] is not None) == bool(raised)


async def test_an_edit_that_says_nothing_starts_nothing(api: Api) -> None:
    identity, url, lots = await created(api)
    before = await api.rows("SELECT count(*) FROM coordinator.runs")
    answer = await api.client.patch(f"{url}/positions/{lots['MSFT']}", json={})
    assert (answer.status_code, answer.json()["run_id"], answer.json()["unchanged"]) == (200, None, 1)
    assert answer.json()["position_id"] == lots["MSFT"]
    assert await api.missing(identity) == set()
    assert await api.rows("SELECT count(*) FROM coordinator.runs") == before


async def test_when_a_lot_was_edited_is_noted_and_is_no_edit(api: Api) -> None:
    identity, url, lots = await created(api)
    noted = f"SELECT updated_at IS NOT NULL FROM coordinator.positions WHERE id = '{lots['MSFT']}'"
    for body, edited in (({}, False), ({"name": "A label"}, True), ({"name": "A label"}, True)):
        answer = await api.client.patch(f"{url}/positions/{lots['MSFT']}", json=body)
        assert answer.json()["run_id"] is None
        assert [tuple(row) for row in await api.rows(noted)] == [(edited,)]
    assert answer.json()["unchanged"] == 1
    assert await api.missing(identity) == set()


async def test_a_flow_raises_snapshots_and_risk_from_its_session_on(api: Api) -> None:
    identity, url, _ = await created(api)
    answer = await api.client.post(f"{url}/flows", json={"date": "2020-12-27", "amount": 500})
    assert answer.status_code == 201
    assert await api.missing(identity) == units(date(2020, 12, 28), "snapshots", "risk")
    await api.complete(identity)
    gone = await api.client.delete(f"{url}/flows/{answer.json()['flow_id']}")
    assert gone.status_code == 200
    assert await api.missing(identity) == units(date(2020, 12, 28), "snapshots", "risk")


async def test_an_edit_that_would_orphan_a_flow_is_refused_whole(api: Api) -> None:
    identity, url, lots = await created(api)
    await api.client.post(f"{url}/flows", json={"date": "2020-12-22", "amount": 500})
    await api.complete(identity)
    answer = await api.client.delete(f"{url}/positions/{lots['AAPL']}")
    assert answer.status_code == 409
    assert "2020-12-22" in answer.json()["detail"]
    assert await api.missing(identity) == set()
    assert len((await api.client.get(url)).json()["positions"]) == 2


@pytest.mark.parametrize(
    ("patch", "phases"), [({"name": "Other"}, ()), ({"equity_balance": 5000}, ("snapshots", "risk"))]
)
async def test_only_the_equity_of_the_header_moves_numbers(
    api: Api, patch: dict[str, object], phases: tuple[str, ...]
) -> None:
    identity, url, _ = await created(api)
    answer = await api.client.patch(url, json=patch)
    assert answer.status_code == 200
    assert answer.json() | patch == answer.json()
    assert await api.missing(identity) == units(date(2020, 12, 21), *phases)


async def test_a_deleted_portfolio_is_gone_at_once(api: Api) -> None:
    _, url, lots = await created(api)
    assert (await api.client.delete(url)).status_code == 204
    assert await api.rows("SELECT 1 FROM ledger.units") == []
    assert await api.rows("SELECT 1 FROM ledger.schedule") == []
    for method, path in (
        ("GET", url), ("GET", f"{url}/status"), ("GET", f"{url}/risk"), ("GET", f"{url}/snapshots"), ("DELETE", url),
        ("POST", f"{url}/calculate"), ("DELETE", f"{url}/positions/{lots['AAPL']}"),
    ):  # fmt: skip
        answer = await api.client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    assert (await api.client.get(f"{PREFIX}/portfolios")).json()["items"] == []
    types = [row.type for row in await api.rows("SELECT type FROM bus.outbox ORDER BY id")]
    assert types[-1] == "leadline.PortfolioDeleted.v1"
    assert len(await api.rows("SELECT 1 FROM coordinator.portfolios")) == 1


async def test_the_basis_can_be_settled_once_prices_are_there(api: Api) -> None:
    identity, url, _ = await created(api)
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')")
    await api.run(
        """
        INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
        SELECT id, '2020-12-21', 256.46, 'as_traded', 'test', now(), 1 FROM ingest.symbols
        """
    )
    await api.run(
        """
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, '2020-12-24', 'split', 2, '2020-12-24', 'test', now(), 1 FROM ingest.symbols
        """
    )
    looked = (await api.client.post(f"{url}/price-basis?dry_run=true")).json()
    assert [(line["symbol"], line["price_basis"]) for line in looked["preview"]] == [("AAPL", "split_adjusted")]
    assert await api.missing(identity) == set()
    settled = (await api.client.post(f"{url}/price-basis")).json()
    assert (settled["positions"], settled["unchanged"]) == (1, 1)
    lot = next(p for p in (await api.client.get(url)).json()["positions"] if p["symbol"] == "AAPL")
    assert (lot["quantity"], lot["entry_price"], lot["stated_quantity"]) == (50.0, 256.46, 100.0)
    assert await api.missing(identity) == units(date(2020, 12, 21), "snapshots", "risk")
    again = (await api.client.post(f"{url}/price-basis")).json()
    assert (again["positions"], again["run_id"]) == (0, None)
    stated = await api.client.post(f"{url}/price-basis?basis=split_adjusted")
    assert stated.status_code == 200
    lots = (await api.client.get(url)).json()["positions"]
    assert {lot["basis_reason"] for lot in lots} == {"stated"}
    assert [lot["basis_assumed"] for lot in lots if lot["symbol"] != "AAPL"] == [True], (
        "converted once its splits are known"
    )
