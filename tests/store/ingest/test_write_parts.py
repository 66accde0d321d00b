"""Many prices are written in several transactions, so that nobody waits long for the commit-order lock, and completion is the last."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from services.ingest.compute.write_parts import in_transactions
from services.ingest.workflow import worker
from services.ingest.workflow.write import write_rows
from tests.store.ingest.conftest import LAST, Ingest

SYMBOLS = ("P1", "P2", "P3")


@pytest.fixture(autouse=True)
def one_symbol_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "in_transactions", partial(in_transactions, most=1))


async def changes(ingest: Ingest) -> list[set[Any]]:
    """By symbol the numbers of the transactions that wrote its prices."""
    return [{row.change for row in (await ingest.prices(symbol)).values()} for symbol in SYMBOLS]


async def test_each_part_is_a_transaction_and_the_unit_is_completed_once_all_are_there(ingest: Ingest) -> None:
    ingest.market.quote(*SYMBOLS)
    portfolio = await ingest.portfolio(*((symbol, LAST) for symbol in SYMBOLS))
    [done] = await ingest.run(portfolio)
    assert [key.session for key in done.keys] == [LAST]
    written = await changes(ingest)
    assert [len(each) for each in written] == [1, 1, 1], "all of a symbol together"
    assert len(set.union(*written)) == 3, "and no two of them"
    events = await ingest.rows("SELECT type FROM bus.outbox")
    assert [event.type for event in events] == ["leadline.PricesIngested.v1"]


async def test_a_death_between_two_parts_loses_nothing(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest.market.quote(*SYMBOLS)
    portfolio = await ingest.portfolio(*((symbol, LAST) for symbol in SYMBOLS))
    written_symbols = set[str]()

    async def dies_after_the_first(conn: Any, asks: Any, *given: Any, **named: Any) -> int:
        if not written_symbols.isdisjoint(SYMBOLS):
            raise RuntimeError("the process is gone")
        written_symbols.update(ask.symbol for ask in asks)
        return await write_rows(conn, asks, *given, **named)

    monkeypatch.setattr(worker, "write_rows", dies_after_the_first)
    with pytest.raises(RuntimeError):
        await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == [LAST]
    [first] = [each for each in await changes(ingest) if each]
    monkeypatch.setattr(worker, "write_rows", write_rows)
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    written = await changes(ingest)
    assert first in written, "what was there stays as it was written"
    assert len(set.union(*written)) == 3
