"""What a portfolio holds on a session, by symbol, with the exposures that risk stored: for figures worked out from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import option_values, portfolios, thinned
from services.coordinator.results.portfolios import Session
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.reasons import ReasonCode
from shared.market.registry import FACTOR_NAMES
from shared.market.symbols import SymbolKind, classify, is_cash_like, parse_occ
from shared.work import Phase

UNITS = 10_000  # of money in the arrays of holdings
OLD_REASONS = (ReasonCode.AMOUNT_TOO_LARGE.value, ReasonCode.UNPRICEABLE.value)


@dataclass(frozen=True, slots=True)
class Holding:
    """What is said of a symbol beside its numbers."""

    kind: SymbolKind
    cash: bool
    root: str
    """Of an option the underlying; else the symbol."""


@dataclass(frozen=True, slots=True)
class Book:
    """K symbols in their order; NaN unknown. Money in the portfolio's currency."""

    envelope: dict[str, Any]
    session: date
    nav: float
    cash: float
    symbols: list[str]
    holdings: list[Holding]
    quantity: FloatVector
    value: FloatVector
    bought: FloatVector
    """(K,) quantity of the long lots, >= 0; those of the short ones are `quantity` less it."""
    gross_value: FloatVector
    """(K,) long value less short value: of a symbol held long and short, more than |value|."""
    old: BoolMatrix
    """(K,) whether the value is at a price that is no evidence any more."""
    exposure: FloatVector
    """(K,) money that moves with the symbol's betas: of an option delta times as much; NaN where uncovered."""
    betas: FloatMatrix
    """(K, F) of the joint set."""
    proxies: list[str | None]
    terms: dict[int, Terms] = field(default_factory=dict)
    """By place, of the options that can be revalued in full."""

    @property
    def gross(self) -> float:
        return float(np.abs(self.value).sum())

    @property
    def price(self) -> FloatVector:
        """(K,) of a share or contract, its multiplier included."""
        return self.gross_value / (2.0 * self.bought - self.quantity)

    @property
    def moves(self) -> FloatVector:
        """(K,) money that moves for each unit of value: of what is held long and short alike too, where the value says nothing of it."""
        ratio = self.exposure / np.where(self.value == 0.0, np.nan, self.value)
        for k in np.flatnonzero(self.value == 0.0).tolist():
            of_option = self.terms[k].leverage if k in self.terms else np.nan
            ratio[k] = of_option if self.holdings[k].kind is SymbolKind.OPTION else 1.0
        return ratio


async def read(conn: AsyncConnection, portfolio: UUID, session: date | None, *, phase: Phase = Phase.RISK) -> Book:
    """The book of a session, by default the newest one that is complete. `NotFound` where there are no such figures, or no more.

    phase : with `Phase.SNAPSHOTS` without exposures, and so also where there is no risk yet
    """
    chosen = await portfolios.choose(conn, portfolio, phase, session)
    risk = await _risk(conn, portfolio, chosen.session) if phase is Phase.RISK else None
    if risk is not None and risk["thinned"]:
        raise thinned.ThinnedOut(chosen.session)
    snapshot = await _snapshot(conn, portfolio, chosen.session)
    if snapshot is None or (phase is Phase.RISK and (risk is None or risk["proxies"] is None or risk["betas"] is None)):
        raise NotFound(f"Portfolio {portfolio} has no {phase.value} figures of session {chosen.session}.")
    envelope = await portfolios.envelope(conn, portfolio, risk or snapshot, chosen, phase)
    return await _book(conn, portfolio, chosen, envelope, snapshot, risk)


async def _risk(conn: AsyncConnection, portfolio: UUID, session: date) -> RowMapping | None:
    rows = await conn.execute(
        text(f"""
            SELECT session, revision, model_version, computed_at, quality, coverage, provisional, CAST(reasons AS text) AS reasons,
                   exposures, symbols, exposure_values, betas, proxies, greeks, {thinned.COLUMN}
            FROM risk.results WHERE portfolio_id = :id AND session = :session
        """),
        {"id": portfolio, "session": session},
    )
    return rows.mappings().one_or_none()


async def _snapshot(conn: AsyncConnection, portfolio: UUID, session: date) -> RowMapping | None:
    rows = await conn.execute(
        text("""
            SELECT session, revision, model_version, computed_at, quality, coverage, provisional, CAST(reasons AS text) AS reasons,
                   CAST(nav AS float8) AS nav, CAST(cash AS float8) AS cash
            FROM snapshots.snapshots WHERE portfolio_id = :id AND session = :session
        """),
        {"id": portfolio, "session": session},
    )
    return rows.mappings().one_or_none()


async def _book(
    conn: AsyncConnection,
    portfolio: UUID,
    chosen: Session,
    envelope: dict[str, Any],
    snapshot: RowMapping,
    risk: RowMapping | None,
) -> Book:
    found = (
        await conn.execute(
            text("""
                SELECT l.symbol, sum(l.quantity) AS quantity, sum(l.value) AS value,
                       coalesce(sum(l.quantity) FILTER (WHERE l.quantity > 0), 0) AS bought, sum(abs(l.value)) AS gross,
                       bool_or(l.reason = ANY (CAST(:old AS text[]))) AS old,
                       max(p.investment_class) AS class, max(p.investment_subtype) AS subtype, max(p.underlying_symbol) AS underlying
                FROM snapshots.holdings h
                CROSS JOIN LATERAL unnest(h.position_ids, h.symbols, h.quantity, h.market_value, h.reason)
                    AS l (id, symbol, quantity, value, reason)
                LEFT JOIN coordinator.positions p ON p.id = l.id
                WHERE h.portfolio_id = :id AND h.session = :session AND l.quantity <> 0 GROUP BY l.symbol ORDER BY l.symbol
            """),
            {"id": portfolio, "session": chosen.session, "old": list(OLD_REASONS)},
        )
    ).mappings()
    rows = found.all()
    symbols = [row["symbol"] for row in rows]
    exposure, betas = exposures_of(symbols, risk)
    holdings = [holding(row["symbol"], dict(row)) for row in rows]
    roots = {symbol: each.root for symbol, each in zip(symbols, holdings, strict=True)}
    volatilities = {} if risk is None else option_values.implied_volatilities(dict(risk))
    terms = await option_values.read(conn, chosen.session, roots, volatilities)
    return Book(
        envelope=envelope,
        session=chosen.session,
        nav=snapshot["nav"],
        cash=snapshot["cash"],
        symbols=symbols,
        holdings=holdings,
        quantity=np.array([float(row["quantity"]) for row in rows]),
        value=np.array([float(row["value"]) / UNITS for row in rows]),
        bought=np.array([float(row["bought"]) for row in rows]),
        gross_value=np.array([float(row["gross"]) / UNITS for row in rows]),
        old=np.array([bool(row["old"]) for row in rows], dtype=np.bool_),
        exposure=exposure,
        betas=betas,
        proxies=list(risk["proxies"]) if risk is not None else [None] * len(FACTOR_NAMES),
        terms={at: terms[symbol] for at, symbol in enumerate(symbols) if symbol in terms},
    )


def holding(symbol: str, stated: Mapping[str, Any]) -> Holding:
    """stated : class, subtype and underlying as the user has them, each of which may be null"""
    kind = classify(symbol, stated.get("class"))
    contract = parse_occ(symbol) if kind is SymbolKind.OPTION else None
    root = stated.get("underlying") or (symbol if contract is None else contract.underlying)
    return Holding(kind, is_cash_like(stated.get("subtype")), root if kind is SymbolKind.OPTION else symbol)


def exposures_of(symbols: list[str], risk: RowMapping | None) -> tuple[FloatVector, FloatMatrix]:
    """((K,) money that moves, (K, F) betas) of a row of `risk.results`; NaN uncovered."""
    exposure, betas = np.full(len(symbols), np.nan), np.full((len(symbols), len(FACTOR_NAMES)), np.nan)
    if risk is None:
        return exposure, betas
    place = {symbol: at for at, symbol in enumerate(symbols)}
    width = len(FACTOR_NAMES)
    for k, (symbol, value) in enumerate(zip(risk["symbols"], risk["exposure_values"], strict=True)):
        if (at := place.get(symbol)) is not None:
            # Lots of one symbol in two classes are two lines of risk, and the private one has no betas.
            own = np.array(risk["betas"][k * width : (k + 1) * width], dtype=np.float64)
            if np.isfinite(own[0]) or not np.isfinite(betas[at, 0]):
                exposure[at], betas[at] = value, own
    return exposure, betas
