"""The lots of one portfolio are settled in slices, so that nobody waits long for the commit-order lock, and none on what is old."""

from __future__ import annotations

from typing import Any

import pytest

from services.coordinator.portfolios import price_basis, undecided_lots
from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_price_basis import AFTER_AS_OF, ENTRY, FORWARD, csv, events, lots, quote, settled


async def kept(api: Api, portfolio: str) -> list[tuple[object, ...]]:
    return sorted(
        (lot["symbol"], lot["price_basis"], lot["basis_assumed"], lot["quantity"]) for lot in await lots(api, portfolio)
    )


async def test_each_slice_holds_whole_symbols_and_is_a_transaction(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undecided_lots, "LOTS_A_SLICE", 2)
    rows = [f"AAPL,{number},{ENTRY},124.81" for number in (4, 8, 12)]
    portfolio = (await api.create(csv(*rows, f"KO,1,{ENTRY},199.0", f"MSFT,20,{ENTRY},101.0")))["id"]
    await quote(api, "AAPL", *FORWARD)
    for symbol in ("KO", "MSFT"):
        await quote(api, symbol, *AFTER_AS_OF)
    await api.complete(portfolio, phase="ingest")
    before = list(api.woken)
    assert await settled(api) == 5
    assert await kept(api, portfolio) == [
        *(("AAPL", "split_adjusted", False, quantity) for quantity in (1.0, 2.0, 3.0)),
        ("KO", "as_traded", False, 1.0),
        ("MSFT", "split_adjusted", False, 10.0),
    ]
    assert len(api.woken) - len(before) == 2, "the three of AAPL together, then KO and MSFT"
    assert await settled(api) == 0


async def test_what_is_compared_together_is_written_in_parts_of_whole_symbols(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing reads once, and nobody waits for it; for what is written others wait."""
    monkeypatch.setattr(price_basis, "LOTS_A_WRITE", 2)
    rows = [f"KO,{number},{ENTRY},199.0" for number in (4, 8, 12)]
    portfolio = (await api.create(csv(*rows, f"MSFT,20,{ENTRY},101.0")))["id"]
    for symbol in ("KO", "MSFT"):
        await quote(api, symbol, *AFTER_AS_OF)
    await api.complete(portfolio, phase="ingest")
    sizes, write = [], price_basis._write

    async def count(engine: Any, clock: Any, of: Any, part: Any) -> int:
        sizes.append([lot.position.symbol for lot in part])
        return await write(engine, clock, of, part)

    monkeypatch.setattr(price_basis, "_write", count)
    assert await settled(api) == 4
    assert sizes == [["KO"] * 3, ["MSFT"]]
    assert all(not lot["basis_assumed"] for lot in await lots(api, portfolio))


async def test_a_lot_edited_while_it_is_compared_is_compared_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81")))["id"]
    await quote(api, "AAPL", *FORWARD)
    await api.complete(portfolio, phase="ingest")
    (lot,) = await lots(api, portfolio)
    write = price_basis._write

    async def edit_first(*arguments: object) -> int:
        body = {"quantity": 80}
        answer = await api.client.patch(f"{PREFIX}/portfolios/{portfolio}/positions/{lot['id']}", json=body)
        assert answer.status_code == 200, answer.text
        return await write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(price_basis, "_write", edit_first)
    assert await settled(api) == 0, "what was compared is no longer there"
    monkeypatch.setattr(price_basis, "_write", write)
    await api.complete(portfolio, phase="ingest")
    await settled(api)
    assert await kept(api, portfolio) == [("AAPL", "split_adjusted", False, 20.0)]


async def test_closes_that_come_late_one_by_one_are_taken_up_with_the_portfolio(api: Api) -> None:
    """What is settled without a close holds nothing up: nobody is woken for it, and it waits as long as the other arrivals."""
    portfolio = (await api.create(csv(f"AAPL,40,{ENTRY},124.81", f"KO,1,{ENTRY},199.0")))["id"]
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 2
    schedule = "UPDATE ledger.schedule SET withheld_until = now() + interval '{}' WHERE phase = 'snapshots'"
    await api.run(schedule.format("15 minutes"))
    told = len(await events(api))
    for symbol, market in (("KO", AFTER_AS_OF), ("AAPL", FORWARD)):
        await quote(api, symbol, *market)
        assert await settled(api) == 0
    await api.run(schedule.format("-1 second"))
    assert await settled(api) == 2
    assert await kept(api, portfolio) == [("AAPL", "split_adjusted", False, 10.0), ("KO", "as_traded", False, 1.0)]
    assert (await events(api))[told:] == [("PortfolioChanged", None)], "the numbers of AAPL moved"


async def test_a_late_close_that_changes_no_number_wakes_nobody(api: Api) -> None:
    portfolio = (await api.create(csv(f"KO,1,{ENTRY},199.0")))["id"]
    await api.complete(portfolio, phase="ingest")
    assert await settled(api) == 1
    told = await events(api)
    await quote(api, "KO", *AFTER_AS_OF)
    assert await settled(api) == 1
    assert await events(api) == told
