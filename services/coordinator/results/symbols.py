"""Symbol facts: the same for every portfolio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results.reasons import describe_reasons, gap_document
from services.coordinator.results.values import document, name_values, to_json
from shared.market import layouts
from shared.market.calendar import calendar, closures
from shared.market.reasons import ReasonCode
from shared.market.registry import (
    BETA_FLAG,
    FACT_LOOKBACK,
    FACTOR_NAMES,
    SPREAD_NAMES,
)
from shared.market.symbols import normalise
from shared.work import Phase

NO_PROVIDER = ReasonCode.NO_PROVIDER.value
_PRICE = "session, open, high, low, close, adj_close, volume, total_return, return_basis, return_remark, basis, provider, fetched_at"
_ACTION = "ex_session, ex_date, type, value, provider"


async def symbol_id(conn: AsyncConnection, symbol: str) -> tuple[int, str]:
    name = normalise(symbol)
    if not name.isprintable():
        raise NotFound("This is not a valid symbol. Use letters, digits, dot and hyphen, such as BRK.B.")
    found = await conn.scalar(text("SELECT id FROM ingest.symbols WHERE symbol = :symbol"), {"symbol": name})
    if found is None:
        raise NotFound(f"Symbol {name} is not in the universe: no portfolio has held it, and it is not a factor proxy.")
    return int(found), name


async def facts(
    conn: AsyncConnection, table: str, columns: str, symbol: str, session: date | None
) -> tuple[str, Row[Any]]:
    """The row of one symbol and session, or of the newest session there is."""
    identity, name = await symbol_id(conn, symbol)
    row = (
        await conn.execute(
            text(f"""
                SELECT session, model_version, price_version, {columns}, quality, CAST(reasons AS text) AS reasons
                FROM factors.{table}
                WHERE symbol_id = :id AND (CAST(:session AS date) IS NULL OR session = :session)
                  AND session <> ALL (CAST(:closed AS date[]))
                ORDER BY session DESC LIMIT 1
            """),
            {"id": identity, "session": session, "closed": closures().closed_days},
        )
    ).one_or_none()
    if row is None:
        await _refuse_without_price(conn, identity, name, table, session)
        when = "any session" if session is None else f"session {session}"
        raise NotFound(
            f"There are no {table} of {name} for {when}: no portfolio held it then, or its factors are not done."
        )
    return name, row


async def _refuse_without_price(
    conn: AsyncConnection, identity: int, name: str, table: str, session: date | None
) -> None:
    """Say why, where a symbol has no facts because it has no price in their whole window (by a gap that is known)."""
    last = session or await conn.scalar(
        text("SELECT max(last) FROM ingest.gaps WHERE symbol_id = :id"), {"id": identity}
    )
    if last is None:
        return
    days = calendar()
    last = days.on_or_before(min(max(last, days.first), days.horizon))
    reason = await conn.scalar(
        text("""
            SELECT g.reason FROM ingest.gaps g WHERE g.symbol_id = :id AND :last BETWEEN g.first AND g.last
              AND NOT EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = :id AND p.session BETWEEN :first AND :last)
            LIMIT 1
        """),
        {"id": identity, "first": days.back(last, FACT_LOOKBACK), "last": last},
    )
    if reason is not None:
        raise NotFound(
            f"There are no {table} of {name} for {last}: it has no price then or in the {FACT_LOOKBACK} sessions before "
            f"({reason}).",
            code="no_price",
        )


async def factors(conn: AsyncConnection, symbol: str, session: date | None) -> dict[str, Any]:
    columns = "market, market_shrunk, ir_beta, spreads, joint, joint_stderr, joint_fit, n_obs"
    name, row = await facts(conn, "exposures", columns, symbol, session)
    proxies = await conn.scalar(
        text("SELECT proxies FROM factors.proxies WHERE session = :session"), {"session": row.session}
    )
    reasons: dict[str, str] = document(row.reasons)
    market = name_values(layouts.MARKET, row.market)
    n_obs = dict(zip(layouts.OBSERVATIONS, row.n_obs, strict=True))
    return {
        "symbol": name,
        "session": row.session.isoformat(),
        "model_version": row.model_version,
        "price_version": row.price_version,
        "proxies": dict(zip(FACTOR_NAMES, proxies or [None] * len(FACTOR_NAMES), strict=True)),
        "market_beta": {
            **market,
            "n_obs": n_obs["market"],
            "quality": row.quality,
            "flagged": _is_suspicious(market["beta"]),
            "reason": reasons.get("market_beta") or reasons.get("alpha"),
        },
        "market_beta_shrunk": {"beta": to_json(row.market_shrunk), "flagged": _is_suspicious(row.market_shrunk)},
        "ir_beta": {
            "beta": to_json(row.ir_beta),
            "flagged": _is_suspicious(row.ir_beta),
            "reason": reasons.get("ir_beta"),
        },
        "spreads": {
            spread: {
                **figures,
                "n_obs": n_obs[f"spread_{spread}"],
                "flagged": _is_suspicious(figures["beta"]),
                "reason": reasons.get(f"spread_{spread}"),
            }
            for spread, figures in _spreads(row.spreads)
        },
        "joint": {
            "n_obs": n_obs["joint"],
            **name_values(layouts.JOINT_FIT, row.joint_fit),
            "betas": name_values(layouts.JOINT, row.joint),
            # Null in facts from before they were stored.
            "stderr_hac": name_values(layouts.JOINT_STDERR, row.joint_stderr or [math.nan] * len(layouts.JOINT_STDERR)),
            "flagged": [name for name, beta in zip(FACTOR_NAMES, row.joint, strict=True) if _is_suspicious(beta)],
            "reasons": {key: reasons[key] for key in ("joint", *FACTOR_NAMES) if key in reasons},
        },
        "reasons": await _reasons(conn, name, reasons, row.session),
        "provider_beta": _provider_beta(await _vendor_beta(conn, symbol, row.session, ("beta",))),
    }


def _spreads(values: Sequence[float]) -> Iterator[tuple[str, dict[str, float | None]]]:
    width = len(layouts.SPREAD)
    for index, spread in enumerate(SPREAD_NAMES):
        yield spread, name_values(layouts.SPREAD, values[width * index : width * (index + 1)])


async def _reasons(conn: AsyncConnection, symbol: str, of: Mapping[str, str], session: date) -> list[dict[str, Any]]:
    entries = [{"figure": figure, "symbol": symbol, "reason": reason} for figure, reason in sorted(of.items())]
    return await describe_reasons(conn, entries, phase=Phase.FACTORS, session=session)


def _is_suspicious(beta: float | None) -> bool:
    """Beyond ±5, which is almost always bad data. Each beta for itself: another one's says nothing of it."""
    return beta is not None and abs(beta) > BETA_FLAG


async def _vendor_beta(conn: AsyncConnection, symbol: str, session: date, figures: tuple[str, ...]) -> Row[Any] | None:
    """What a vendor said last, on or before the session, of at least one of the figures. Figures of two vendors are not mixed."""
    identity, _ = await symbol_id(conn, symbol)
    known = " OR ".join(f"{figure} IS NOT NULL" for figure in figures)
    return (
        await conn.execute(
            text(f"""
                SELECT as_of, provider, {", ".join(figures)} FROM ingest.symbol_profiles
                WHERE symbol_id = :id AND as_of <= :session AND ({known})
                ORDER BY as_of DESC, provider LIMIT 1
            """),
            {"id": identity, "session": session},
        )
    ).one_or_none()


def _provider_beta(said: Row[Any] | None) -> dict[str, Any]:
    """The vendor's beta with its date; ours is never put in its place."""
    if said is None:
        return {"value": None, "date": None, "provider": None, "reason": NO_PROVIDER}
    return {"value": to_json(said.beta), "date": to_json(said.as_of), "provider": said.provider, "reason": None}


async def metrics(conn: AsyncConnection, symbol: str, session: date | None) -> dict[str, Any]:
    columns = "price, price_basis, price_return, total_return, volatility"
    name, row = await facts(conn, "metrics", columns, symbol, session)
    reasons: dict[str, str] = document(row.reasons)
    said = await _vendor_beta(conn, symbol, row.session, ("market_cap", "pe"))
    for figure in ("market_cap", "pe"):
        if said is None or getattr(said, figure) is None:
            reasons[f"fundamentals.{figure}"] = NO_PROVIDER
    return {
        "symbol": name,
        "session": row.session.isoformat(),
        "price": to_json(row.price),
        "price_basis": row.price_basis,
        "price_return": name_values(layouts.RETURNS, row.price_return),
        "total_return": name_values(layouts.RETURNS, row.total_return),
        "volatility": name_values(layouts.VOLATILITY, row.volatility),
        "fundamentals": {
            "market_cap": None if said is None else to_json(said.market_cap),
            "pe": None if said is None else to_json(said.pe),
            "as_of": None if said is None else to_json(said.as_of),
            "provider": None if said is None else said.provider,
        },
        "quality": row.quality,
        "reasons": await _reasons(conn, name, reasons, row.session),
    }


async def prices(
    conn: AsyncConnection, symbol: str, first: date | None, last: date | None, known_at: datetime | None = None
) -> dict[str, Any]:
    """Prices as traded, actions, and the reason for each range without a price; with `known_at` prices and actions as known then."""
    identity, name = await symbol_id(conn, symbol)
    window = {"id": identity, "first": first or date.min, "last": last or date.max}
    if known_at is not None:
        return {"symbol": name, "known_at": known_at.isoformat(), **await _valid_prices(conn, window, known_at)}
    rows = await conn.execute(
        text(f"""
            SELECT {_PRICE}, change AS price_version FROM ingest.prices
            WHERE symbol_id = :id AND session BETWEEN :first AND :last ORDER BY session
        """),
        window,
    )
    actions = await conn.execute(
        text(f"""
            SELECT {_ACTION} FROM ingest.actions
            WHERE symbol_id = :id AND ex_session BETWEEN :first AND :last ORDER BY ex_session, type
        """),
        window,
    )
    gaps = await conn.execute(
        text("""
            SELECT first AS "from", last AS "to", reason, terminal, provider, checked_at, retry_at FROM ingest.gaps
            WHERE symbol_id = :id AND first <= :last AND last >= :first ORDER BY first
        """),
        window,
    )
    return {
        "symbol": name,
        "items": [to_json(dict(row)) for row in rows.mappings()],
        "actions": [to_json(dict(row)) for row in actions.mappings()],
        "gaps": [gap_document(name, row) for row in gaps.mappings()],
    }


async def _valid_prices(conn: AsyncConnection, window: dict[str, Any], known_at: datetime) -> dict[str, list[Any]]:
    """The prices and actions that stood at an instant: written by then, and not yet replaced. Histories are append-only.

    A write is dated by the instant it began under the commit-order lock, which a reader notices when it commits.
    """

    async def stood(table: str, session: str, key: str, columns: str) -> list[Any]:
        held = f"symbol_id = :id AND {session} BETWEEN :first AND :last AND known_from <= :known_at"
        rows = await conn.execute(
            text(f"""
                SELECT {columns} FROM ingest.{table} WHERE {held}
                UNION ALL
                SELECT {columns} FROM ingest.{table}_history WHERE {held} AND known_until > :known_at
                ORDER BY {key}
            """),
            {**window, "known_at": known_at},
        )
        return [to_json(dict(row)) for row in rows.mappings()]

    return {
        "items": await stood("prices", "session", "session", f"{_PRICE}, change AS price_version"),
        "actions": await stood("actions", "ex_session", "ex_session, type", _ACTION),
    }
