"""Where a range's return came from, worked out from stored snapshots, exposures and proxies when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.attribution import ByFactor, add_up, brinson_fachler, by_factor, linking_coefficients
from services.coordinator.errors import NotFound
from services.coordinator.results import attribution_inputs
from services.coordinator.results.attribution_inputs import Inputs
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import FloatVector
from shared.market.reasons import ReasonCode
from shared.market.registry import FACTOR_NAMES, REPORTED_FACTOR
from shared.work import Phase

LINKING = "carino"
_CASH = "cash"


async def read(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> dict[str, Any]:
    """The answer: parts of the return of the sessions in [first, last]; by default of all that there are."""
    of = await attribution_inputs.read(conn, portfolio, first, last)
    return await asyncio.to_thread(_answer, portfolio, of)


async def document(conn: AsyncConnection, portfolio: UUID, session: date) -> dict[str, Any]:
    """The figures of one session: what is explained."""
    of = await attribution_inputs.read(conn, portfolio, session, session)
    [(_, found)] = await asyncio.to_thread(_by_session, of)
    return found


async def series(conn: AsyncConnection, portfolio: UUID, first: date, last: date) -> list[tuple[date, dict[str, Any]]]:
    """The documents, each with its `reasons`, of all sessions in [first, last] that have a snapshot."""
    try:
        of = await attribution_inputs.read(conn, portfolio, first, None if last == date.max else last)
    except NotFound:
        return []
    return await asyncio.to_thread(_by_session, of)


def _by_session(of: Inputs) -> list[tuple[date, dict[str, Any]]]:
    """By session what each part earned, and its share of the session's capital."""
    found, part, held, base = of.found, of.part, of.held, of.base
    split = by_factor(np.nan_to_num(found.pnl[part]), of.exposure, of.slopes, of.returns)
    one = np.ones(1)
    documents_: list[tuple[date, dict[str, Any]]] = []
    for t, session in enumerate(found.sessions[part]):
        at = slice(t, t + 1)
        if not found.there[part][t]:
            continue
        own = ByFactor(split.factors[at], split.known[at], split.rest[at], split.untold[at])
        moved = np.flatnonzero((held.pnl[t] != 0.0) | (held.before[t] != 0.0))
        symbols = [held.symbols[n] for n in moved.tolist()]
        positions = add_up(held.pnl[at][:, moved], base[at], one)
        factors, why = _factors(own, base[at], one)
        now = slice(part.start + t, part.start + t + 1)
        if (broken := found.range(now, np.zeros(1)).broken_by()) is not None:
            why.append(_entry("total_return", broken))
        lines = [{key: value for key, value in line.items() if key != "sessions"} for line in factors]
        documents_.append(
            (
                session.astype(date),
                {
                    "pnl": _money(found.pnl[part][t]),
                    "total_return": to_json(float(found.returns[part][t])),
                    "factors": lines,
                    "reasons": [entry | {"figure": f"attribution.{entry['figure']}"} for entry in why],
                    "sectors": _by_sector(symbols, of.sectors, positions.money, positions.contribution),
                    "positions": [
                        {
                            "symbol": symbol,
                            "sector": of.sectors[symbol],
                            "pnl": _money(money),
                            "contribution": to_json(float(share)),
                        }
                        for symbol, money, share in zip(symbols, positions.money, positions.contribution, strict=True)
                    ],
                },
            )
        )
    return documents_


def _answer(portfolio: UUID, of: Inputs) -> dict[str, Any]:
    found, part, held = of.found, of.part, of.held
    returns, pnl = found.returns[part], found.pnl[part]
    link, base = linking_coefficients(returns), of.base
    broken = found.range(part, np.zeros_like(returns)).broken_by()
    entries = [] if broken is None else [_entry("total_return", broken)]
    positions = add_up(held.pnl, base, link)
    split = by_factor(np.nan_to_num(pnl), of.exposure, of.slopes, of.returns)
    factors, why = _factors(split, base, link)
    whole = float(np.prod(1.0 + returns) - 1.0)
    effects, against = _brinson(of, base, returns)
    return {
        "portfolio_id": str(portfolio),
        "from": str(found.sessions[part][0]),
        "to": str(found.sessions[part][-1]),
        "sessions": len(returns),
        "stale": bool(found.stale[part].any()),
        "linking": LINKING,
        "pnl": _money(float(np.nansum(pnl))),
        "total_return": to_json(whole),
        "items": [
            {
                "symbol": symbol,
                "sector": of.sectors[symbol],
                "pnl": _money(money),
                "contribution": to_json(float(share)),
            }
            for symbol, money, share in zip(held.symbols, positions.money, positions.contribution, strict=True)
        ],
        "sectors": _by_sector(held.symbols, of.sectors, positions.money, positions.contribution),
        "factors": factors,
        "brinson": effects,
        "reasons": documents(entries + why + against, (), phase=Phase.SNAPSHOTS.value),
    }


def _factors(
    split: ByFactor, base: FloatVector, link: FloatVector
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line a factor, then what is left; together the whole P&L and return."""
    sessions = len(base)
    columns = np.column_stack([split.factors, split.rest, split.untold])
    parts = add_up(columns, base, link)
    told = int(split.known[:, 0].sum())
    counts = [*split.known.sum(axis=0).tolist(), told, sessions - told]
    lines, why = [], []
    for k, name in enumerate((*FACTOR_NAMES, "specific_and_trading", "untold")):
        if name == REPORTED_FACTOR:
            continue
        count = int(counts[k])
        unknown = k < len(FACTOR_NAMES) and count == 0
        lines.append(
            {
                "factor": name,
                "pnl": None if unknown else _money(parts.money[k]),
                "contribution": None if unknown else to_json(float(parts.contribution[k])),
                "sessions": count,
            }
        )
        if unknown:
            why.append(_entry(f"factors.{name}", (ReasonCode.NO_PROXY if told else ReasonCode.SHORT_HISTORY).value))
    return lines, why


def _by_sector(
    symbols: Sequence[str], sectors: Mapping[str, str], money: FloatVector, contribution: FloatVector
) -> list[dict[str, Any]]:
    sums: dict[str, list[float]] = {}
    for symbol, pnl, share in zip(symbols, money.tolist(), contribution.tolist(), strict=True):
        own = sums.setdefault(sectors[symbol], [0.0, 0.0])
        own[0] += pnl
        own[1] += share
    return [
        {"sector": name, "pnl": _money(pnl), "contribution": to_json(share)}
        for name, (pnl, share) in sorted(sums.items())
    ]


def _brinson(of: Inputs, base: FloatVector, returns: FloatVector) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Brinson-Fachler against the benchmark of sectors, or why not."""
    against = of.benchmark
    if against is None:
        return None, [_entry("brinson", ReasonCode.NO_BENCHMARK.value)]
    # While nothing was in the account no benchmark was beaten or missed.
    weights = np.where(of.found.idle()[of.part][:, None], 0.0, against.weights)
    without = [
        name for s, name in enumerate(against.sectors) if np.isnan(against.returns[weights[:, s] > 0.0, s]).any()
    ]
    if without:
        return None, [_entry(f"brinson.{name}", ReasonCode.NO_SECTOR_FUND.value) for name in without]
    names = sorted({*against.sectors, *of.sectors.values()})
    place = {name: at for at, name in enumerate(names)}
    capital = np.where(base == 0.0, 1.0, base)[:, None]
    weight, part, compared, sector = (np.zeros((len(base), len(names))) for _ in range(4))
    sector[:] = np.nan
    for n, symbol in enumerate(of.held.symbols):
        s = place[of.sectors[symbol]]
        weight[:, s] += of.held.before[:, n] / capital[:, 0]
        part[:, s] += of.held.pnl[:, n] / capital[:, 0]
    for b, name in enumerate(against.sectors):
        compared[:, place[name]], sector[:, place[name]] = weights[:, b], against.returns[:, b]
    found = brinson_fachler(weight, part, compared, sector, returns)
    lines = [
        {
            "sector": name,
            "allocation": to_json(float(found.allocation[s])),
            "selection": to_json(float(found.selection[s])),
        }
        for s, name in enumerate((*names, _CASH))
    ]
    return {
        "benchmark": against.code,
        "return": to_json(found.other),
        "active_return": to_json(found.active),
        "sectors": lines,
    }, []


def _entry(figure: str, code: str) -> dict[str, Any]:
    return {"figure": figure, "symbol": None, "reason": code}


def _money(value: float) -> float:
    """Sums of ten-thousandths, without the rounding of a sum of doubles."""
    return round(float(value), 4)
