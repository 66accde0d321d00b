"""Creating a portfolio: its rows, units, run and event come together or not at all."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, CSV, PREFIX, Api

SESSIONS = calendar().between(date(2020, 12, 21), AS_OF)


async def test_an_import_creates_units_run_and_event_together(api: Api) -> None:
    answer = await api.create()

    assert answer["positions"] == 2
    assert (answer["first_session"], answer["last_session"]) == ("2020-12-21", "2020-12-30")
    identity = UUID(answer["id"])
    units = await api.rows(
        "SELECT session, CAST(phase AS text) FROM ledger.units WHERE portfolio_id = :id", id=identity
    )
    assert len(units) == 4 * len(SESSIONS)
    assert {session for session, _ in units} == set(SESSIONS)
    assert {phase for _, phase in units} == {"ingest", "factors", "snapshots", "risk"}
    schedule = await api.rows("SELECT phase FROM ledger.schedule WHERE portfolio_id = :id", id=identity)
    assert len(schedule) == 4
    events = await api.rows("SELECT type, payload FROM bus.outbox")
    assert [event.type for event in events] == ["leadline.PortfolioCreated.v1"]
    assert answer["id"] in events[0].payload
    assert '"from":"2020-12-21"' in events[0].payload
    assert '"to":"2020-12-30"' in events[0].payload
    assert api.woken == ["relay"]

    run = (await api.client.get(f"{PREFIX}/admin/runs/{answer['run_id']}")).json()
    assert run["source"] == "onboarding"
    assert (run["units"], run["done"], run["state"]) == (len(units), 0, "running")
    assert set(run["phases"]) == {"ingest", "factors", "snapshots", "risk"}
    await api.complete(answer["id"])
    run = (await api.client.get(f"{PREFIX}/admin/runs/{answer['run_id']}")).json()
    assert (run["done"], run["state"]) == (len(units), "complete")


async def test_without_prices_the_basis_is_said_to_be_assumed(api: Api) -> None:
    answer = await api.create()
    warnings = [warning for warning in answer["warnings"] if warning["code"] == "price_basis_assumed"]
    assert len(warnings) == 1
    assert "AAPL" in warnings[0]["message"]
    assert "MSFT" in warnings[0]["message"]


async def test_a_dry_run_saves_nothing_and_shows_what_it_would_do(api: Api) -> None:
    answer = await api.create(dry_run="true")
    assert answer["id"] is None
    assert answer["run_id"] is None
    assert [line["price_basis"] for line in answer["preview"]] == ["as_traded", "as_traded"]
    assert [line["price_basis_known"] for line in answer["preview"]] == [False, False]
    for table in ("coordinator.portfolios", "coordinator.positions", "coordinator.runs", "ledger.units", "bus.outbox"):
        assert await api.rows(f"SELECT 1 FROM {table}") == [], table


async def test_every_error_of_a_file_comes_at_once_and_nothing_is_saved(api: Api) -> None:
    csv = "symbol,quantity,entry_date,entry_price\n,1,2020-01-02,5\nAAPL,zero,2030-01-02,-1\n"
    answer = await api.client.post(
        f"{PREFIX}/portfolios/import",
        data={"name": "", "equity_balance": "0", "account_type": "piggy"},
        files={"file": ("p.csv", csv.encode(), "text/csv")},
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    errors = answer.json()["errors"]
    assert [(error["row"], error["code"]) for error in errors] == [
        (2, "ERR_POS_001"),
        (3, "ERR_POS_005"),
        (3, "ERR_POS_010"),
        (3, "ERR_POS_014"),
        (None, "ERR_PORT_002"),
        (None, "ERR_PORT_009"),
        (None, "ERR_PORT_006"),
    ]
    assert all(set(error) == {"row", "column", "code", "message", "value"} for error in errors)
    assert await api.rows("SELECT 1 FROM coordinator.portfolios") == []


async def test_json_positions_obey_the_same_rules_as_the_file(api: Api) -> None:
    body = {
        "name": "J",
        "equity_balance": 1000,
        "positions": [{"symbol": "AAPL", "quantity": 0, "entry_date": "2020-12-21", "entry_price": 12.5}],
        "flows": [{"date": "2020-12-22", "amount": None}],
    }
    answer = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert answer.status_code == 422
    assert [(error["column"], error["code"]) for error in answer.json()["errors"]] == [
        ("quantity", "ERR_POS_006"),
        ("amount", "ERR_FLOW_004"),
    ]
    body["positions"][0]["quantity"] = 3  # type: ignore[index]
    body["flows"][0]["amount"] = -50.25  # type: ignore[index]
    created = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert created.status_code == 201, created.text
    read = (await api.client.get(f"{PREFIX}/portfolios/{created.json()['id']}")).json()
    assert [(p["symbol"], p["quantity"], p["entry_price"]) for p in read["positions"]] == [("AAPL", 3.0, 12.5)]
    assert [(f["date"], f["session"], f["amount"]) for f in read["flows"]] == [("2020-12-22", "2020-12-22", -50.25)]


async def test_a_flow_before_the_first_session_is_refused(api: Api) -> None:
    body = {
        "name": "J",
        "equity_balance": 1000,
        "positions": [{"symbol": "AAPL", "quantity": 1, "entry_date": "2020-12-21", "entry_price": 12.5}],
        "flows": [{"date": "2020-12-18", "amount": 5}],
    }
    answer = await api.client.post(f"{PREFIX}/portfolios", json=body)
    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == ["ERR_FLOW_003"]


async def test_an_empty_portfolio_is_complete_with_nothing_expected(api: Api) -> None:
    created = await api.client.post(f"{PREFIX}/portfolios", json={"name": "E", "equity_balance": 10})
    assert created.status_code == 201
    body = created.json()
    assert (body["positions"], body["first_session"], body["last_session"]) == (0, None, None)
    status = (await api.client.get(f"{PREFIX}/portfolios/{body['id']}/status")).json()
    assert (status["state"], status["expected"], status["completed"], status["holes"]) == ("complete", 0, 0, [])
    run = (await api.client.get(f"{PREFIX}/admin/runs/{body['run_id']}")).json()
    assert (run["state"], run["units"]) == ("complete", 0)


async def test_an_entry_on_a_weekend_counts_from_the_next_session(api: Api) -> None:
    answer = await api.create("symbol,quantity,entry_date,entry_price\nSPY,5,2020-12-26,370\n")
    assert answer["first_session"] == "2020-12-28"


async def test_a_repeated_request_with_a_key_changes_nothing(api: Api) -> None:
    async def send(name: str) -> tuple[int, dict[str, object], str | None]:
        answer = await api.client.post(
            f"{PREFIX}/portfolios/import",
            data={"name": name, "equity_balance": "1000"},
            files={"file": ("p.csv", CSV.encode(), "text/csv")},
            headers={"Idempotency-Key": "k-1"},
        )
        return answer.status_code, answer.json(), answer.headers.get("idempotency-replayed")

    first, second = await send("A"), await send("A")
    assert first[:2] == second[:2]
    assert (first[2], second[2]) == (None, "true")
    assert len(await api.rows("SELECT 1 FROM coordinator.portfolios")) == 1
    status, body, _ = await send("B")
    assert (status, body["code"]) == (422, "idempotency_key_reused")


async def test_the_same_file_again_adds_nothing_and_a_longer_one_adds_the_rest(api: Api) -> None:
    created = await api.create()
    url = f"{PREFIX}/portfolios/{created['id']}/import"
    before = await api.missing(created["id"])
    again = await api.client.post(url, files={"file": ("p.csv", CSV.encode(), "text/csv")})
    assert again.status_code == 200
    assert (again.json()["positions"], again.json()["unchanged"], again.json()["run_id"]) == (0, 2, None)
    assert len(await api.rows("SELECT 1 FROM bus.outbox")) == 1
    await api.complete(created["id"])
    # The same fill a second time in the file is a second lot.
    longer = CSV + "AAPL,100.0,2020-12-21,128.2300,,\n"
    more = await api.client.post(url, files={"file": ("p.csv", longer.encode(), "text/csv")})
    assert (more.json()["positions"], more.json()["unchanged"]) == (1, 2)
    assert [warning["code"] for warning in more.json()["warnings"]] == ["ERR_POS_023", "price_basis_assumed"]
    assert await api.missing(created["id"]) == before
    third = await api.client.post(url, files={"file": ("p.csv", longer.encode(), "text/csv")})
    assert (third.json()["positions"], third.json()["unchanged"]) == (0, 3)


@pytest.mark.parametrize(
    ("entry_price", "basis", "quantity", "stored_price"),
    [(499.0, "as_traded", 10.0, 499.0), (125.0, "split_adjusted", 2.5, 500.0), (1.0, "split_adjusted", 2.5, 4.0)],
)
async def test_the_basis_is_decided_by_the_closes_of_the_day(
    api: Api, entry_price: float, basis: str, quantity: float, stored_price: float
) -> None:
    """AAPL closed at 499.23 on 2020-08-28, and split 4:1 on the 31st: 124.81 on today's basis."""
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')")
    await api.run(
        """
        INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
        SELECT id, '2020-08-28', 499.23, 'as_traded', 'test', now(), 1 FROM ingest.symbols
        """
    )
    await api.run(
        """
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, '2020-08-31', 'split', 4, '2020-08-31', 'test', now(), 1 FROM ingest.symbols
        """
    )
    created = await api.create(f"symbol,quantity,entry_date,entry_price\nAAPL,10,2020-08-28,{entry_price}\n")
    read = (await api.client.get(f"{PREFIX}/portfolios/{created['id']}")).json()["positions"][0]
    assert (read["price_basis"], read["quantity"], read["entry_price"]) == (basis, quantity, stored_price)
    assert (read["stated_quantity"], read["stated_entry_price"]) == (10.0, entry_price)
    said = {"price_basis_mismatch": entry_price == 1.0, "price_basis_converted": basis == "split_adjusted"}
    assert [warning["code"] for warning in created["warnings"]] == [code for code, due in said.items() if due]
