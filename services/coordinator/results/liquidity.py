"""How long a session's holdings take to sell, from stored volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.liquidity import HORIZONS, DailyVolume, Profile, daily_volume, days_to_sell, profile
from services.coordinator.results import book, history, lot_sums, sector_names
from services.coordinator.results.book import UNITS, Book, Holding
from services.coordinator.results.held import one_document
from services.coordinator.results.lot_sums import Sums
from services.coordinator.results.reasons import documents
from services.coordinator.results.sector_names import OPEN_END_TYPES
from services.coordinator.results.values import to_json
from shared.arrays import DateVector, FloatMatrix, FloatVector
from shared.market.reasons import ReasonCode
from shared.market.registry import ADV_SHARE, ADV_WINDOW
from shared.market.symbols import SymbolKind
from shared.work import Phase

_OF_A_SYMBOL = "liquidity.positions."
_FIGURES = ("adv", "days", "n_obs")
_OF_ALL = ("liquidity.days", "liquidity.unknown_share", *(f"liquidity.within.{horizon}" for horizon in HORIZONS))


@dataclass(frozen=True, slots=True)
class _Market:
    """Volumes of n symbols on T sessions as traded, the splits among them, and which symbols are mutual funds since when."""

    row: Mapping[str, int]
    sessions: DateVector
    volumes: FloatMatrix
    splits: Sequence[tuple[str, date, float]]
    types: Mapping[str, Sequence[tuple[date, str]]]

    def window(self, symbols: Sequence[str], session: date) -> tuple[FloatMatrix, FloatMatrix]:
        """(volumes, new shares per old of all later splits), both (K, 63) up to the session."""
        end = int(np.searchsorted(self.sessions, np.datetime64(session, "D"), side="right"))
        part = slice(max(0, end - ADV_WINDOW), end)
        found = np.full((len(symbols), part.stop - part.start), np.nan)
        known = [k for k, symbol in enumerate(symbols) if symbol in self.row]
        if known:
            found[known] = self.volumes[[self.row[symbols[k]] for k in known], part]
        splits = np.ones_like(found)
        for symbol, ex_session, value in self.splits:
            if symbol in symbols and ex_session <= session:
                splits[symbols.index(symbol), self.sessions[part] < np.datetime64(ex_session, "D")] *= value
        return found, splits

    def is_open_end(self, symbol: str, session: date) -> bool:
        said = [kind for as_of, kind in self.types.get(symbol, ()) if as_of <= session]
        return bool(said) and said[-1] in OPEN_END_TYPES


@dataclass(frozen=True, slots=True)
class _Figures:
    """By K symbols; `reasons` says why a symbol's days are unknown."""

    volume: DailyVolume
    adv: FloatVector
    days: FloatVector
    reasons: list[str | None]
    whole: Profile


async def read(
    conn: AsyncConnection, portfolio: UUID, session: date | None, share: float = ADV_SHARE
) -> dict[str, Any]:
    """The answer. share : of the mean daily volume that is sold a session"""
    of = await book.read(conn, portfolio, session, phase=Phase.SNAPSHOTS)
    market = await _market(conn, of.symbols, of.session, of.session)
    return await asyncio.to_thread(_answer, of, market, share)


async def document(conn: AsyncConnection, portfolio: UUID, session: date) -> dict[str, Any]:
    """The figures of one session at the usual share: what is explained."""
    return one_document(await series(conn, portfolio, session, session), portfolio, session, "holdings")


async def series(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, names: Collection[str] | None = None
) -> list[tuple[date, dict[str, Any]]]:
    """The documents, each with its `reasons`, of all sessions in [first, last] that have a snapshot.

    names : the figures that are wanted; of single symbols there are then those alone, unless there is one that no session has
    """
    books = await lot_sums.read(conn, portfolio, first, last)
    if not books:
        return []
    symbols = sorted({symbol for held in books for symbol in held.symbols})
    market = await _market(conn, symbols, books[0].session, books[-1].session)
    shown = _symbols_to_show(symbols, names)
    return await asyncio.to_thread(lambda: [(held.session, _document(held, market, shown)) for held in books])


def _symbols_to_show(symbols: Sequence[str], names: Collection[str] | None) -> Collection[str]:
    """The symbols whose own figures are wanted. Of a name that there is not all are: those that are close are named."""
    there, asked = set(symbols), set()
    for name in [_OF_A_SYMBOL] if names is None else names:
        symbol, _, figure = name.removeprefix(_OF_A_SYMBOL).rpartition(".")
        if name.startswith(_OF_A_SYMBOL) and symbol in there and figure in _FIGURES:
            asked.add(symbol)
        elif name not in _OF_ALL:
            return there
    return asked


async def _market(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> _Market:
    """What sessions of [first, last] look at."""
    sessions = history.window(ADV_WINDOW, first, last)
    ids = await history.find_symbol_ids(conn, symbols)
    names = {identity: symbol for symbol, identity in ids.items()}
    volumes = await history.of_prices(conn, "volume", list(ids.values()), sessions)
    splits = await conn.execute(
        text("""
            SELECT symbol_id, ex_session, value FROM ingest.actions
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND type = 'split' AND ex_session > :first AND ex_session <= :last
        """),
        {"ids": list(names), "first": sessions[0].astype(date), "last": last},
    )
    return _Market(
        {symbol: row for row, symbol in enumerate(ids)},
        sessions,
        volumes,
        [(names[identity], ex_session, float(value)) for identity, ex_session, value in splits],
        await sector_names.asset_types_until(conn, symbols, last),
    )


def _figures(
    symbols: Sequence[str], holdings: Iterable[Holding], quantity: FloatVector, value: FloatVector, market: _Market, session: date,
    share: float,
) -> _Figures:  # fmt: skip
    volume = daily_volume(*market.window(symbols, session))
    adv, reasons = volume.mean.copy(), []
    cash = np.zeros(len(symbols), dtype=np.bool_)
    for k, (symbol, holding) in enumerate(zip(symbols, holdings, strict=True)):
        cash[k] = holding.cash
        if holding.kind is not SymbolKind.PUBLIC or holding.cash or market.is_open_end(symbol, session):
            adv[k] = np.nan
            # Money is there at once.
            reasons.append(None if holding.cash else ReasonCode.NOT_EXCHANGE_TRADED.value)
        else:
            reasons.append(None if np.isfinite(adv[k]) else ReasonCode.NO_VOLUME.value)
    days = np.where(cash, 0.0, days_to_sell(quantity, adv, share))
    return _Figures(volume, adv, days, reasons, profile(value, days))


def _document(held: Sums, market: _Market, shown: Collection[str]) -> dict[str, Any]:
    value = np.array([units / UNITS for units in held.value], dtype=np.float64)
    found = _figures(held.symbols, held.holdings, held.quantity, value, market, held.session, ADV_SHARE)
    return {
        "days": to_json(found.whole.days),
        "within": {str(horizon): to_json(part) for horizon, part in zip(HORIZONS, found.whole.within, strict=True)},
        "unknown_share": found.whole.unknown,
        "positions": [
            {
                "symbol": symbol,
                "adv": to_json(float(found.adv[k])),
                "days": to_json(float(found.days[k])),
                "n_obs": int(found.volume.n_obs[k]),
            }
            for k, symbol in enumerate(held.symbols)
            if symbol in shown
        ],
        "reasons": _entries(held.symbols, found),
    }


def _entries(symbols: Sequence[str], found: _Figures) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"figure": "liquidity.days", "symbol": symbol, "reason": reason}
        for symbol, reason in zip(symbols, found.reasons, strict=True)
        if reason is not None
    ]
    if not symbols:
        entries.append({"figure": "liquidity.days", "symbol": None, "reason": ReasonCode.NO_HOLDINGS.value})
    return entries


def _answer(of: Book, market: _Market, share: float) -> dict[str, Any]:
    found = _figures(of.symbols, of.holdings, of.quantity, of.value, market, of.session, share)
    price = np.divide(of.value, of.quantity, out=np.full_like(of.value, np.nan), where=of.quantity != 0.0)
    return {
        **of.envelope,
        "share": share,
        "days": to_json(found.whole.days),
        "within": [
            {"sessions": horizon, "share": to_json(part)}
            for horizon, part in zip(HORIZONS, found.whole.within, strict=True)
        ],
        "unknown_share": found.whole.unknown,
        "items": [
            {
                "symbol": symbol,
                "quantity": float(of.quantity[k]),
                "market_value": float(of.value[k]),
                "weight": float(of.value[k] / of.nav) if of.nav > 0 else None,
                "adv": to_json(float(found.adv[k])),
                "adv_value": to_json(float(found.adv[k] * price[k])),
                "share_of_adv": to_json(float(abs(of.quantity[k]) / found.adv[k])),
                "days": to_json(float(found.days[k])),
                "n_obs": int(found.volume.n_obs[k]),
                "reason": found.reasons[k],
            }
            for k, symbol in enumerate(of.symbols)
        ],
        "reasons": of.envelope["reasons"] + documents(_entries(of.symbols, found), (), phase=Phase.SNAPSHOTS.value),
    }
