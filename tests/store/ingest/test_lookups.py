"""What a preview asks the price file: known or not and what is meant, the company, the closes of the day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from sqlalchemy import text

from services.ingest.providers.file.provider import FileProvider
from services.ingest.workflow.lookups import answer_open
from shared.db.engine import create_engine
from shared.market.calendar import exchange_calendar
from tests.support.databases import Database

PRICES = "symbol,date,close\nKO,2020-12-18,30\nKO,2020-12-21,31\nPEP,2020-12-21,140\n"
ACTIONS = "symbol,ex_date,type,value\nKO,2020-12-28,split,2\n"


async def test_questions_are_answered_from_the_file(database: Database, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES)
    (tmp_path / "corporate_actions.csv").write_text(ACTIONS)
    (tmp_path / "symbols.csv").write_text("symbol,asset_type,name\nKO,stock,Coca-Cola\n")
    coordinator = create_engine(database.url("coordinator"), application="test")
    ingest = create_engine(database.url("ingest"), application="test")
    try:
        async with coordinator.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO coordinator.lookups (symbol, session) SELECT * FROM unnest(CAST(:s AS text[]), CAST(:d AS date[]))"
                ),
                {"s": ["KO", "KOO", "PEP"], "d": [date(2020, 12, 22), date(2020, 12, 22), date(2020, 6, 1)]},
            )
        assert await answer_open(ingest, FileProvider(tmp_path / "prices.csv", exchange_calendar)) == 3
        assert await answer_open(ingest, FileProvider(tmp_path / "prices.csv", exchange_calendar)) == 0
        async with coordinator.connect() as conn:
            rows = await conn.execute(
                text(
                    "SELECT symbol, found, company, close, adjusted, suggestions, provider FROM ingest.lookups ORDER BY symbol"
                )
            )
            assert [tuple(row) for row in rows] == [
                ("KO", True, "Coca-Cola", 62.0, 31.0, [], "file"),
                ("KOO", False, None, None, None, ["KO"], "file"),
                ("PEP", True, None, None, None, [], "file"),
            ]
    finally:
        await coordinator.dispose()
        await ingest.dispose()
