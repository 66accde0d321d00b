"""The portfolio of 2020 through all five services: what is stored is what the computing layers alone say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from services.coordinator.importer.model import Position
from services.snapshots.compute import from_units
from tests.realdata.portfolios import decided, lot, positions, world
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pricefiles import grid
from tests.support.worlds import run

BOUGHT, AS_OF = date(2019, 7, 1), date(2020, 9, 30)
SPLIT = date(2020, 8, 31)
EQUITY = 400_000


def still_held(position: Position) -> bool:
    return position.exit_date is not None and position.exit_date > AS_OF


async def test_the_split_adjusted_file_of_2020_imported_on_a_fresh_install(
    prices: Path, server: Server, broker: TestBroker
) -> None:
    """Nothing is known when the file comes in: its basis is settled after the prices, and AAPL's split and USO's move nothing."""
    file = prices.parent / "portfolios" / "covid_2020_corporate_actions.csv"
    stated = positions(file)
    # The exit of November is still to come.
    text = file.read_text(encoding="utf-8").replace(",2020-11-09,169.55,", ",,,")
    database = await databases.create(server)
    try:
        async with pipeline.running(database, broker, as_of=AS_OF, data=prices) as leadline:
            portfolio = await leadline.import_csv(text, equity=EQUITY)
            await leadline.complete(portfolio, within=100)
            stored = await leadline.query(
                "SELECT session, nav, daily_pnl, coverage FROM snapshots.snapshots WHERE portfolio_id = :id ORDER BY session",
                id=portfolio,
            )
    finally:
        await databases.drop(database)

    of = grid(prices, sorted({position.symbol for position in stated}), BOUGHT, AS_OF)
    later = grid(prices, of.symbols, BOUGHT, date(2020, 12, 31))
    lots = [
        lot(
            replace(position, exit_date=None, exit_price=None) if still_held(position) else position,
            decided(position, later),
            k,
        )
        for k, position in enumerate(stated, start=1)
    ]
    pure = run(world(of, BOUGHT, [lots], Decimal(EQUITY))).snapshots
    assert [row.session for row in stored] == [day.item() for day in of.sessions]
    assert [row.nav for row in stored] == [from_units(nav) for nav in pure.nav[:, 0]]
    assert [row.daily_pnl for row in stored] == [from_units(pnl) for pnl in pure.daily_pnl[:, 0]]
    assert {row.coverage for row in stored} == {1.0}
    on_split = next(row for row in stored if row.session == SPLIT)
    assert abs(on_split.daily_pnl) < on_split.nav / 50
