"""No number that can not be is stored, whatever let it through."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from tests.store.ingest.conftest import LAST, Ingest

BAD = ("0", "-1", "'Infinity'", "'-Infinity'", "'NaN'")


@pytest.mark.parametrize("value", BAD)
async def test_an_action_is_above_zero_and_finite(ingest: Ingest, value: str) -> None:
    await ingest.execute("INSERT INTO ingest.symbols (symbol) VALUES ('AAA')")
    with pytest.raises(IntegrityError, match="actions_"):
        await ingest.execute(f"""
            INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
            SELECT id, :day, 'split', {value}, :day, 'file', now(), 1 FROM ingest.symbols
        """, day=LAST)  # fmt: skip


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "adj_close", "volume", "total_return"])
@pytest.mark.parametrize("value", BAD)
async def test_a_price_is_above_zero_and_finite(ingest: Ingest, column: str, value: str) -> None:
    insert = f"""
        INSERT INTO ingest.prices (symbol_id, session, close, adj_close, basis, provider, fetched_at, change)
        VALUES (1, :day, 1, 1, 'as_traded', 'file', now(), 1)
        ON CONFLICT (symbol_id, session) DO UPDATE SET {column} = {value}
    """
    await ingest.execute(insert, day=LAST)
    if (column, value) in {("volume", "0"), ("total_return", "0"), ("total_return", "-1")}:
        await ingest.execute(insert, day=LAST)
        return
    with pytest.raises(IntegrityError, match="prices_are_finite"):
        await ingest.execute(insert, day=LAST)
