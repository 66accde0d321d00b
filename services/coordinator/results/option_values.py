"""The options of a session's book with what revalues them: risk's implied volatility, both closes, the rate to expiry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import history
from shared.market import layouts, option_greeks
from shared.market.curve import Curve
from shared.market.option_terms import Terms
from shared.market.symbols import Occ, parse_occ


def implied_volatilities(row: Mapping[str, Any]) -> dict[str, float]:
    """By symbol of a row of `risk.results`, of the options that have one."""
    width = len(layouts.GREEKS)
    at = layouts.element(layouts.GREEKS, "implied_volatility")
    values = (row["greeks"] or [])[at::width]
    return {symbol: value for symbol, value in zip(row["symbols"], values, strict=False) if np.isfinite(value)}


async def read(
    conn: AsyncConnection, session: date, roots: Mapping[str, str], volatilities: Mapping[str, float]
) -> dict[str, Terms]:
    """By option symbol, of those with a volatility. roots : of each symbol its underlying"""
    wanted = {symbol: roots[symbol] for symbol in volatilities if symbol in roots}
    known, closes = await _inputs(conn, session, wanted)
    return {
        symbol: option_greeks.terms(contract, session, *closes[symbol], volatilities[symbol], known)
        for symbol, contract in _contracts(closes).items()
    }


async def imply(conn: AsyncConnection, session: date, roots: Mapping[str, str]) -> dict[str, Terms]:
    """By option symbol, of contracts that no risk was stored of, at the volatility that their closes imply, as risk has it.

    roots : of each contract its underlying. One without both closes, or at whose price no volatility arrives, is not there.
    """
    known, closes = await _inputs(conn, session, roots)
    found = {}
    for symbol, contract in _contracts(closes).items():
        of = option_greeks.greeks(contract, session, *closes[symbol], known)
        if of is not None:
            found[symbol] = option_greeks.terms(contract, session, *closes[symbol], of.volatility, known)
    return found


def _contracts(symbols: Iterable[str]) -> dict[str, Occ]:
    return {symbol: contract for symbol in symbols if (contract := parse_occ(symbol)) is not None}


async def _inputs(
    conn: AsyncConnection, session: date, roots: Mapping[str, str]
) -> tuple[list[Curve], dict[str, tuple[float, float]]]:
    """(curves up to the session, both closes of each option that has them)."""
    if not roots:
        return [], {}
    closes = await _closes(conn, [*roots, *roots.values()], session)
    both = {symbol: (closes.get(symbol, 0.0), closes.get(root, 0.0)) for symbol, root in roots.items()}
    return await history.curves(conn, session, session), {
        symbol: (price, spot) for symbol, (price, spot) in both.items() if price > 0.0 and spot > 0.0
    }


async def _closes(conn: AsyncConnection, symbols: Sequence[str], session: date) -> dict[str, float]:
    rows = await conn.execute(
        text("""
            SELECT s.symbol, p.close FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id AND p.session = :session
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.close IS NOT NULL
        """),
        {"symbols": sorted(set(symbols)), "session": session},
    )
    return {row.symbol: float(row.close) for row in rows}
