"""Who holds what: the symbols that are known, and the portfolios behind one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.values import to_json
from shared.db.tenancy import only_own, tenant_filter


async def universe(conn: AsyncConnection) -> list[dict[str, Any]]:
    """Every symbol, with its name, its newest price's session, how many portfolios hold it and what is missing of it."""
    rows = await conn.execute(
        text(f"""
            SELECT s.symbol,
                   (SELECT p.name FROM ingest.symbol_profiles p WHERE p.symbol_id = s.id AND p.name IS NOT NULL
                    ORDER BY as_of DESC, provider LIMIT 1) AS name,
                   (SELECT max(session) FROM ingest.prices x WHERE x.symbol_id = s.id) AS priced_to,
                   (SELECT count(DISTINCT h.portfolio_id) FROM coordinator.positions h
                    JOIN coordinator.portfolios o ON o.id = h.portfolio_id AND o.deleted_at IS NULL AND {only_own("o")}
                    WHERE h.symbol = s.symbol AND h.deleted_at IS NULL) AS portfolios,
                   (SELECT g.reason FROM ingest.gaps g WHERE g.symbol_id = s.id ORDER BY g.last DESC LIMIT 1) AS reason
            FROM ingest.symbols s ORDER BY s.symbol
        """),
        {"tenant": tenant_filter()},
    )
    return [to_json(dict(row)) for row in rows.mappings()]


async def holders(conn: AsyncConnection, symbol: str) -> list[dict[str, Any]]:
    """Portfolios with a lot of the symbol: how many lots, and shares by their sign."""
    rows = await conn.execute(
        text(f"""
            SELECT o.id, o.name, count(*) AS lots, sum(h.quantity) FILTER (WHERE h.exit_date IS NULL) AS quantity,
                   min(h.entry_date) AS since
            FROM coordinator.positions h JOIN coordinator.portfolios o ON o.id = h.portfolio_id AND o.deleted_at IS NULL AND {only_own("o")}
            WHERE h.symbol = :symbol AND h.deleted_at IS NULL GROUP BY o.id, o.name ORDER BY o.name, o.id
        """),
        {"symbol": symbol, "tenant": tenant_filter()},
    )
    return [to_json(dict(row)) for row in rows.mappings()]
