"""The options of a session's book with what revalues them: risk's implied volatility, both closes, the rate to expiry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import history
from shared.market import layouts
from shared.market.curve import before, continuous_rate
from shared.market.option_terms import Terms
from shared.market.registry import OPTION_DAYS_A_YEAR, OPTION_RATE
from shared.market.symbols import parse_occ


def implied_volatilities(row: Mapping[str, Any]) -> dict[str, float]:
    """By symbol of a row of `risk.results`, of the options that have one."""
    width = len(layouts.GREEKS)
    at = layouts.element(layouts.GREEKS, "implied_volatility")
    values = (row["greeks"] or [])[at::width]
    return {symbol: value for symbol, value in zip(row["symbols"], values, strict=False) if np.isfinite(value)}


async def read(
    conn: AsyncConnection, session: date, roots: Mapping[str, str], volatilities: Mapping[str, float]
) -> dict[str, Terms]:
    """By option symbol. roots : of each symbol its underlying"""
    contracts = {symbol: parse_occ(symbol) for symbol in volatilities}
    if not contracts:
        return {}
    curve = before(await history.curves(conn, session, session), session)
    closes = await _closes(conn, [*contracts, *(roots[symbol] for symbol in contracts if symbol in roots)], session)
    found = {}
    for symbol, contract in contracts.items():
        price, spot = closes.get(symbol), closes.get(roots.get(symbol, ""))
        if contract is not None and price and spot:
            years = (contract.expiration - session).days / OPTION_DAYS_A_YEAR
            rate = OPTION_RATE if curve is None else continuous_rate(curve, years)
            sign = 1 if contract.option_type == "CALL" else -1
            strike = float(contract.strike)
            found[symbol] = Terms(sign, spot, strike, years, rate, volatilities[symbol], price)
    return found


async def _closes(conn: AsyncConnection, symbols: Sequence[str], session: date) -> dict[str, float]:
    rows = await conn.execute(
        text("""
            SELECT s.symbol, p.close FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id AND p.session = :session
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.close IS NOT NULL
        """),
        {"symbols": sorted(set(symbols)), "session": session},
    )
    return {row.symbol: float(row.close) for row in rows}
