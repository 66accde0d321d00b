"""How symbols move that a question brings in and no stored risk knows: betas fitted on stored returns, options by their closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.joint_fit import joint_betas, shrunk_beta
from services.coordinator.results import factor_returns, history, option_values
from services.coordinator.results.book import Book, Holding
from shared.arrays import FloatVector
from shared.market.option_terms import Terms
from shared.market.reasons import ReasonCode
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, REPORTED_FACTOR
from shared.market.symbols import SymbolKind


@dataclass(frozen=True, slots=True)
class Moves:
    """Of one symbol."""

    leverage: float
    """Money that moves for each unit of value; NaN of an option without a delta."""
    betas: FloatVector
    """(F,) of the symbol, of an option of its underlying; NaN unknown."""
    terms: Terms | None
    reason: ReasonCode | None
    """Why something of it is unknown."""


async def read(
    conn: AsyncConnection,
    of: Book,
    new: Mapping[str, Holding],
    ids: Mapping[str, int],
    joint: Mapping[str, FloatVector],
) -> dict[str, Moves]:
    """By symbol of `new`, which the book does not hold. ids : ingest's numbers of their roots. joint : stored betas of the session"""
    roots = {symbol: holding.root for symbol, holding in new.items() if holding.kind is SymbolKind.OPTION}
    terms = await option_values.imply(conn, of.session, roots)
    wanted = [holding.root for holding in new.values() if holding.kind is not SymbolKind.PRIVATE]
    betas = await _betas(conn, of, list(dict.fromkeys(wanted)), ids, joint)
    found = {}
    for symbol, holding in new.items():
        option = holding.kind is SymbolKind.OPTION
        own = betas.get(holding.root, np.full(len(FACTOR_NAMES), np.nan))
        leverage = 1.0 if not option else terms[symbol].leverage if symbol in terms else np.nan
        reason = None
        if holding.kind is SymbolKind.PRIVATE:
            reason = ReasonCode.PRIVATE
        elif np.isnan(leverage):
            reason, own = ReasonCode.NO_DELTA, np.full_like(own, np.nan)
        elif np.isnan(own[0]):
            reason = ReasonCode.NO_PROXY if of.proxies[0] is None else ReasonCode.NOT_HELD
        found[symbol] = Moves(leverage, own, terms.get(symbol), reason)
    return found


async def shrunk(
    conn: AsyncConnection, of: Book, symbols: Sequence[str | None], ids: Mapping[str, int]
) -> dict[str, float]:
    """The beta that stands in for a missing return, of symbols that no exposures were stored of."""
    market, names = of.proxies[0], [symbol for symbol in symbols if symbol is not None]
    if market is None or market not in ids or not names:
        return {}
    sessions = history.window(BETA_WINDOW, of.session, of.session)
    *own, proxy = await history.of_prices(
        conn, "total_return", [*(ids[symbol] for symbol in names), ids[market]], sessions
    )
    return {symbol: shrunk_beta(series, proxy) for symbol, series in zip(names, own, strict=True)}


async def _betas(
    conn: AsyncConnection, of: Book, symbols: Sequence[str], ids: Mapping[str, int], joint: Mapping[str, FloatVector]
) -> dict[str, FloatVector]:
    """(F,) by symbol: as risk has them where it is held, as stored, of a factor's own fund what it stands for, else fitted."""
    held = {
        symbol: of.betas[k]
        for k, symbol in enumerate(of.symbols)
        if of.holdings[k].kind is SymbolKind.PUBLIC and np.isfinite(of.betas[k, 0])
    }
    found = {symbol: known for symbol in symbols if (known := held.get(symbol, joint.get(symbol))) is not None}
    unknown = [symbol for symbol in symbols if symbol not in found and symbol in ids]
    if not unknown:
        return found
    [_], slopes = await factor_returns.find_proxies(conn, np.array([of.session], dtype="datetime64[D]"))
    sessions = history.window(BETA_WINDOW, of.session, of.session)
    returns = await factor_returns.of_proxies(conn, {proxy for proxy in of.proxies if proxy is not None}, sessions)
    nothing = np.full(len(sessions), np.nan)
    proxies = np.array([nothing if proxy is None else returns.get(proxy, nothing) for proxy in of.proxies])
    own = await history.of_prices(conn, "total_return", [ids[symbol] for symbol in unknown], sessions)
    for symbol, series in zip(unknown, own, strict=True):
        standing = _of_proxy(symbol, of.proxies, slopes[0])
        found[symbol] = standing if np.isfinite(standing[0]) else joint_betas(series, proxies)
    return found


def _of_proxy(symbol: str, proxies: Sequence[str | None], slopes: FloatVector) -> FloatVector:
    """The betas of a fund that stands for a factor and is held by nobody: its slope on the market, and 1 on its own factor."""
    found = np.full(len(FACTOR_NAMES), np.nan)
    alone = FACTOR_NAMES.index(REPORTED_FACTOR)
    if symbol in proxies and (k := list(proxies).index(symbol)) != alone:
        found[[proxy is not None and f != alone for f, proxy in enumerate(proxies)]] = 0.0
        found[0] = slopes[k]
        found[k] = 1.0
    return found
