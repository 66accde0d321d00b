"""What a lot's numbers mean is settled once, when its entry day's closes are known; what the user said is never touched."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.coordinator.control.reconciler import Reconciler
from services.coordinator.portfolios.price_basis import decide_price_basis
from shared.db import migrations
from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

ENTRY = date(2020, 8, 28)
SQL = Path(next(iter(migrations.__path__))) / "sql"


def csv(*rows: str, header: str = "symbol,quantity,entry_date,entry_price") -> str:
    return "\n".join((header, *rows, ""))


async def quote(
    api: Api,
    symbol: str,
    close: float | None,
    *splits: tuple[str, float],
    adjusted: float | None = None,
    day: date = ENTRY,
) -> None:
    """A stored price of the day, and splits."""
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES (:symbol) ON CONFLICT DO NOTHING", symbol=symbol)
    await api.run(
        """
        INSERT INTO ingest.prices (symbol_id, session, close, adj_close, basis, provider, fetched_at, change)
        SELECT id, :day, :close, :adjusted, 'as_traded', 'test', now(), 1 FROM ingest.symbols WHERE symbol = :symbol
        """,
        symbol=symbol,
        day=day,
        close=close,
        adjusted=adjusted,
    )
    for ex, ratio in splits:
        await split(api, symbol, ex, ratio)


async def split(api: Api, symbol: str, ex: str, ratio: float) -> None:
    await api.run(
        """
        INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
        SELECT id, :ex, 'split', :ratio, :ex, 'test', now(), 1 FROM ingest.symbols WHERE symbol = :symbol
        """,
        symbol=symbol,
        ex=date.fromisoformat(ex),
        ratio=ratio,
    )


async def settled(api: Api) -> int:
    return await decide_price_basis(api.context.engine, api.context.clock, wake=api.context.wake_relay)


async def lots(api: Api, portfolio: str) -> list[dict[str, Any]]:
    read = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}")).json()
    return list(read["positions"])


async def one(api: Api, portfolio: str) -> tuple[Any, ...]:
    """(basis, reason, assumed, quantity, entry price) of the only lot."""
    (lot,) = await lots(api, portfolio)
    return tuple(lot[k] for k in ("price_basis", "basis_reason", "basis_assumed", "quantity", "entry_price"))


async def events(api: Api) -> list[tuple[str, str | None]]:
    """(type, phase) of what was announced since the portfolio was created."""
    rows = await api.rows("SELECT type, payload FROM bus.outbox ORDER BY id")
    return [(row.type.split(".")[1], json.loads(row.payload).get("phase")) for row in rows[1:]]


FORWARD = (499.23, ("2020-08-31", 4.0))
REVERSE = (5.0, ("2020-09-01", 0.125))
AFTER_AS_OF = (200.0, ("2021-03-01", 2.0))


@pytest.mark.parametrize(
    ("market", "quantity", "price", "expected"),
    [
        (FORWARD, 40, 499.0, ("as_traded", 40.0, 499.0)),
        (FORWARD, 40, 124.81, ("split_adjusted", 10.0, 499.24)),
        (REVERSE, -10, 5.1, ("as_traded", -10.0, 5.1)),
        (REVERSE, -10, 40.0, ("split_adjusted", -80.0, 5.0)),
        (AFTER_AS_OF, 20, 199.0, ("as_traded", 20.0, 199.0)),
        (AFTER_AS_OF, 20, 101.0, ("split_adjusted", 10.0, 202.0)),
    ],
)
async def test_it_is_settled_by_the_closes_once_the_entry_day_is_ingested(
    api: Api, market: tuple[float, tuple[str, float]], quantity: float, price: float, expected: tuple[str, float, float]
) -> None:
    portfolio = (await api.create(csv(f"AAPL,{quantity},{ENTRY},{price}")))["id"]
    assert await one(api, portfolio) == ("as_traded", None, True, quantity, price)
    await quote(api, "AAPL", market[0], market[1])
    assert await settled(api) == 0, "a price may be there before the splits are"
    await api.complete(portfolio)

    assert await settled(api) == 1

    basis, stored_quantity, stored_price = expected
    assert await one(api, portfolio) == (basis, "compared", False, stored_quantity, stored_price)
    (lot,) = await lots(api, portfolio)
    assert (lot["stated_quantity"], lot["stated_entry_price"]) == (quantity, price)
    moved = basis == "split_adjusted"
    due = {(phase, day) for phase in ("snapshots", "risk") for day in calendar().between(ENTRY, AS_OF)}
    assert await api.missing(portfolio) == (due if moved else set())
    assert await events(api) == [("PortfolioChanged", None) if moved else ("PhaseRequested", "snapshots")]
    assert api.woken == ["relay", "relay"]
    assert await settled(api) == 0
    assert len(await events(api)) == 1


async def test_the_exit_is_converted_too(api: Api) -> None:
    header = "symbol,quantity,entry_date,entry_price,exit_date,exit_price"
    rows = [f"AAPL,40,{ENTRY},124.81,2020-08-28,125", f"AAPL,40,{ENTRY},124.81,2020-09-01,130"]
    portfolio = (await api.create(csv(*rows, header=header)))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 2
    assert [lot["exit_price"] for lot in await lots(api, portfolio)] == [500.0, 130.0]


async def test_where_only_adjusted_closes_exist_the_lot_stays_as_stated(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await quote(api, "AAPL", None, FORWARD[1], adjusted=123.0)
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("adjusted", "compared", False, 40.0, 124.81)


async def test_a_price_far_from_both_closes_stays_marked(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},2000")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("as_traded", "mismatch", False, 40.0, 2000.0)


async def test_without_any_close_as_traded_stands_marked_until_a_close_arrives_after_all(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await api.complete(portfolio)
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("as_traded", "no_close", False, 40.0, 124.81)
    assert await events(api) == [("PhaseRequested", "snapshots")]
    assert await settled(api) == 0
    again = await api.client.post(f"{PREFIX}/portfolios/{portfolio}/price-basis")
    assert (again.json()["positions"], again.json()["unchanged"]) == (0, 1)
    assert await one(api, portfolio) == ("as_traded", "no_close", False, 40.0, 124.81)

    await quote(api, "AAPL", *FORWARD)
    (lot,) = await lots(api, portfolio)
    renamed = await api.client.patch(f"{PREFIX}/portfolios/{portfolio}/positions/{lot['id']}", json={"name": "Apple"})
    assert renamed.status_code == 200
    assert await one(api, portfolio) == ("as_traded", "no_close", False, 40.0, 124.81), "a label compares nothing"
    assert await api.missing(portfolio) == set()
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("split_adjusted", "compared", False, 10.0, 499.24)
    assert ("snapshots", ENTRY) in await api.missing(portfolio)


async def test_an_entry_on_a_weekend_is_compared_with_the_session_before(api: Api) -> None:
    portfolio = (await api.create(csv("AAPL,40,2020-08-29,124.81")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("split_adjusted", "compared", False, 10.0, 499.24)
    assert (await lots(api, portfolio))[0]["entry_session"] == "2020-08-31"


async def test_options_and_private_holdings_have_nothing_to_settle(api: Api) -> None:
    header = "symbol,quantity,entry_date,entry_price,investment_class,underlying_symbol,strike_price,expiration_date,option_type"
    rows = [f"HOME,1,{ENTRY},20000,PRIVATE,,,,", f"AAPL,2,{ENTRY},3,OPTIONS,AAPL,500,2021-01-15,CALL"]
    portfolio = (await api.create(csv(*rows, header=header)))["id"]
    await api.complete(portfolio, phase="ingest")
    assert {(lot["basis_assumed"], lot["basis_reason"]) for lot in await lots(api, portfolio)} == {(False, None)}
    assert await settled(api) == 0


async def test_the_users_word_at_import_is_never_decided_again(api: Api) -> None:
    answer = await api.create(csv(f"AAPL,40,{ENTRY},124.81"), price_basis="as_traded")
    assert [w["code"] for w in answer["warnings"]] == []
    assert await one(api, answer["id"]) == ("as_traded", "stated", False, 40.0, 124.81)
    await quote(api, "AAPL", *FORWARD)
    await api.complete(answer["id"])
    assert await settled(api) == 1, "it is compared, once"
    assert await one(api, answer["id"]) == ("as_traded", "stated_mismatch", False, 40.0, 124.81)
    assert await settled(api) == 0
    status = (await api.client.get(f"{PREFIX}/portfolios/{answer['id']}/status")).json()
    assert [lot["basis_reason"] for lot in status["price_basis"]] == ["stated_mismatch"]
    # Lots that were believed unseen before are compared after the upgrade.
    await api.run("UPDATE coordinator.positions SET basis_reason = 'stated'")
    upgrade = (SQL / "0034_shares_received.sql").read_text()
    await api.run(upgrade[upgrade.index("UPDATE coordinator.positions") :])
    assert await settled(api) == 1
    assert await one(api, answer["id"]) == ("as_traded", "stated_mismatch", False, 40.0, 124.81)


async def test_the_users_word_by_the_endpoint_ends_the_wait(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    url = f"{PREFIX}/portfolios/{portfolio}/price-basis"
    await api.client.post(url)
    assert await one(api, portfolio) == ("as_traded", None, True, 40.0, 124.81), "nothing is known yet"
    assert (await api.client.post(url, params={"basis": "as_traded"})).status_code == 200
    assert await one(api, portfolio) == ("as_traded", "stated", False, 40.0, 124.81)
    assert await events(api) == [("PhaseRequested", "snapshots")]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio)
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("as_traded", "stated_mismatch", False, 40.0, 124.81)
    assert (await api.client.post(url, params={"basis": "split_adjusted"})).json()["positions"] == 1
    assert await one(api, portfolio) == ("split_adjusted", "stated", False, 10.0, 499.24)


async def test_a_lot_added_or_moved_to_what_is_not_known_waits_again(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio)
    await settled(api)
    (lot,) = await lots(api, portfolio)
    url = f"{PREFIX}/portfolios/{portfolio}/positions"
    assert (await api.client.patch(f"{url}/{lot['id']}", json={"symbol": "GE", "entry_price": 40})).status_code == 200
    assert await one(api, portfolio) == ("as_traded", None, True, 40.0, 40.0)
    body = {"symbol": "GE", "quantity": 8, "entry_date": str(ENTRY), "entry_price": 41}
    assert (await api.client.post(url, json=body)).status_code == 201
    await quote(api, "GE", *REVERSE)
    assert await settled(api) == 0, "the edit demanded its ingest anew"
    await api.complete(portfolio)
    assert await settled(api) == 2
    assert sorted((lot["quantity"], lot["entry_price"]) for lot in await lots(api, portfolio)) == [
        (64.0, 5.125),
        (320.0, 5.0),
    ]


async def test_an_edit_of_something_else_leaves_the_decision_alone(api: Api) -> None:
    """A split after the decision is in neither the file nor the decision: converting again would be wrong by its ratio."""
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    (lot,) = await lots(api, portfolio)
    url = f"{PREFIX}/portfolios/{portfolio}/positions/{lot['id']}"
    await api.client.patch(url, json={"name": "Apple"})
    assert await one(api, portfolio) == ("as_traded", None, True, 40.0, 124.81)
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio)
    assert await settled(api) == 1
    await split(api, "AAPL", "2020-12-15", 2.0)
    for body in ({"name": "Apple Inc."}, {"quantity": 40}, {"exit_date": "2020-12-16", "exit_price": 128}):
        assert (await api.client.patch(url, json=body)).status_code == 200
        assert await one(api, portfolio) == ("split_adjusted", "compared", False, 10.0, 499.24)
    assert (await lots(api, portfolio))[0]["exit_price"] == 128.0
    await api.client.patch(url, json={"entry_price": 500})
    assert await one(api, portfolio) == ("as_traded", "compared", False, 40.0, 500.0)


async def test_the_reconciler_alone_settles(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio, phase="ingest")
    await Reconciler(api.context.engine, api.context.clock, wake=api.context.wake_relay).run_once()
    assert await one(api, portfolio) == ("split_adjusted", "compared", False, 10.0, 499.24)
    assert ("PortfolioChanged", None) in await events(api)


async def test_one_that_cannot_be_settled_holds_up_nobody_and_is_not_published(api: Api) -> None:
    """A ten-thousand-millionth of a share is, before the split, too little to store."""
    stuck = (await api.create(csv(f"AAPL,0.0000000001,{ENTRY},124.81"), name="A"))["id"]
    fine = (await api.create(csv(f"AAPL,40,{ENTRY},124.81"), name="B"))["id"]
    await quote(api, "AAPL", *FORWARD)
    for portfolio in (stuck, fine):
        await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 1
    assert (await one(api, fine))[0] == "split_adjusted"
    assert (await one(api, stuck))[2] is True
    status = (await api.client.get(f"{PREFIX}/portfolios/{stuck}/status")).json()
    holes = {hole["phase"]: (hole["reason"], hole["symbols"]) for hole in status["holes"]}
    assert holes["snapshots"] == ("basis_undecided: AAPL", ["AAPL"])


async def test_a_deleted_portfolio_or_lot_is_left_alone(api: Api) -> None:
    gone = (await api.create(csv(f"AAPL,40,{ENTRY},124.81"), name="A"))["id"]
    kept = (await api.create(csv(f"AAPL,40,{ENTRY},124.81", f"AAPL,8,{ENTRY},499"), name="B"))["id"]
    await quote(api, "AAPL", *FORWARD)
    for portfolio in (gone, kept):
        await api.complete(portfolio, phase="ingest")
    await api.client.delete(f"{PREFIX}/portfolios/{gone}")
    rest = await lots(api, kept)
    await api.client.delete(f"{PREFIX}/portfolios/{kept}/positions/{rest[0]['id']}")
    await api.complete(kept, phase="ingest")
    assert await settled(api) == 1


# --- one basis for a file ----------------------------------------------------------------------------------------------

TWENTIETH = (100.0, ("2020-11-02", 1.05))


async def test_all_lots_of_a_file_are_settled_on_one_basis(api: Api) -> None:
    rows = [f"STKX,100,{ENTRY},{price}" for price in ("109", "97", "94")]
    portfolio = (await api.create(csv(*rows)))["id"]
    await quote(api, "STKX", *TWENTIETH)
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 3
    found = {(lot["price_basis"], lot["quantity"]) for lot in await lots(api, portfolio)}
    assert found == {("as_traded", 100.0)}, "109 can only be as traded"


async def test_lots_that_are_ingested_later_follow_the_rest_of_their_file(api: Api) -> None:
    later = date(2020, 9, 15)
    content = csv(f"STKX,105,{ENTRY},82", f"STKX,105,{later},95.2")
    portfolio = (await api.create(content))["id"]
    other = (await api.create(csv(f"STKX,105,{later},95.2"), name="Another file"))["id"]
    await quote(api, "STKX", *TWENTIETH)
    await quote(api, "STKX", 100.0, day=later)
    await api.run(
        "UPDATE ledger.units SET completed_revision = required_revision, completed_at = now()"
        " WHERE phase = 'ingest' AND session < :later",
        later=later,
    )
    assert await settled(api) == 1
    await api.complete(portfolio, phase="ingest")
    await api.complete(other, phase="ingest")
    assert await settled(api) == 2
    assert {lot["price_basis"] for lot in await lots(api, portfolio)} == {"split_adjusted"}
    assert {lot["quantity"] for lot in await lots(api, portfolio)} == {100.0}
    assert (await one(api, other))[:2] == ("as_traded", "ambiguous")


async def test_a_basis_that_is_stated_first_is_carried_out_once_the_splits_are_known(api: Api) -> None:
    answer = await api.create(csv(f"AAPL,40,{ENTRY},124.81"), price_basis="split_adjusted")
    portfolio = answer["id"]
    assert await one(api, portfolio) == ("split_adjusted", "stated", True, 40.0, 124.81)
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio)
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("split_adjusted", "stated", False, 10.0, 499.24)
    assert ("snapshots", ENTRY) in await api.missing(portfolio)
    assert await settled(api) == 0
    status = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    (lot,) = status["price_basis"]
    assert (lot["stated_quantity"], lot["stored_quantity"], lot["basis_reason"]) == (40.0, 10.0, "stated")


async def test_a_stated_basis_without_any_close_is_carried_out_by_the_splits_there_are(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81"), price_basis="split_adjusted"))["id"]
    await quote(api, "AAPL", 500.0, *FORWARD[1:], day=date(2020, 9, 1))
    await api.complete(portfolio)
    assert await settled(api) == 1
    assert await one(api, portfolio) == ("split_adjusted", "stated", False, 10.0, 499.24)
    assert await settled(api) == 0


async def test_an_edit_before_the_splits_are_known_still_waits_for_them(api: Api) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81"), price_basis="split_adjusted"))["id"]
    (lot,) = await lots(api, portfolio)
    await api.client.patch(f"{PREFIX}/portfolios/{portfolio}/positions/{lot['id']}", json={"name": "Apple"})
    assert await one(api, portfolio) == ("split_adjusted", "stated", True, 40.0, 124.81)


async def test_a_conversion_is_said_when_the_closes_are_known_at_import(api: Api) -> None:
    first = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(first)
    answer = await api.create(csv(f"AAPL,80,{ENTRY},124.81"), name="Second")
    (said,) = answer["warnings"]
    assert said["code"] == "price_basis_converted"
    assert "80 at 124.81 as 20 at 499.24" in said["message"]


async def test_a_lot_that_costs_nothing_is_stored(api: Api) -> None:
    header = "symbol,quantity,entry_date,entry_price,exit_date,exit_price"
    portfolio = (await api.create(csv(f"AAPL,10,{ENTRY},0,2020-09-01,0", header=header)))["id"]
    (lot,) = await lots(api, portfolio)
    assert (lot["entry_price"], lot["exit_price"]) == (0.0, 0.0)


async def test_what_is_said_to_be_as_traded_is_doubtful_no_more_and_published_anew(api: Api) -> None:
    portfolio = (await api.create(csv(f"STKX,100,{ENTRY},97")))["id"]
    await quote(api, "STKX", *TWENTIETH)
    await api.complete(portfolio)
    assert await settled(api) == 1
    assert (await one(api, portfolio))[:2] == ("as_traded", "ambiguous")
    await api.complete(portfolio)
    url = f"{PREFIX}/portfolios/{portfolio}/price-basis"
    assert (await api.client.post(url, params={"basis": "as_traded"})).status_code == 200
    assert (await one(api, portfolio))[:2] == ("as_traded", "stated")
    assert ("snapshots", ENTRY) in await api.missing(portfolio)


async def test_an_exit_far_from_its_close_is_said_as_an_entry_is(api: Api) -> None:
    leave = date(2020, 9, 15)
    await quote(api, "AAPL", 499.0, ("2020-08-31", 4.0))
    await quote(api, "AAPL", 115.0, day=leave)
    header = "symbol,quantity,entry_date,entry_price,exit_date,exit_price"
    rows = [f"AAPL,40,{ENTRY},124.8,{leave},{price}" for price in ("1150", "11.5", "114", "0")]
    told = await api.create(csv(*rows, header=header), dry_run="true")
    far = [(w["row"], w["column"]) for w in told["warnings"] if w["code"] == "exit_price_mismatch"]
    assert far == [(2, "exit_price"), (3, "exit_price")], "compared after conversion, and 0 is meant so"
