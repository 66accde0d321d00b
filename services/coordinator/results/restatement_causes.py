"""Why figures were restated: replacements of a portfolio's results grouped by the revision that replaced them, each with its causes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid
from services.coordinator.results.portfolios import require_portfolio
from services.coordinator.results.values import UNKNOWN_CURSOR, to_json

# Of a symbol whose whole history was replaced, some examples and the count say enough.
SHOWN = 5
_RUNS = {
    "settings": "an edit of the portfolio, or a calculation asked for",
    "admin": "a rerun asked for",
    "cli": "a rerun asked for",
    "reconciler": "a new release, model version, benchmark or calendar",
    "onboarding": "the portfolio was created",
    "cron": "a session fell due",
}
# Each replaced row with the revision that took its place, oldest revision of the pair first.
_PAIRS = """
    SELECT phase, session, old_revision, new_revision, old_nav, new_nav, replaced_at FROM (
        SELECT phase, session, revision AS old_revision, nav AS old_nav, replaced_at,
               lead(revision) OVER versions AS new_revision, lead(nav) OVER versions AS new_nav
        FROM (
            SELECT 'snapshots' AS phase, session, revision, nav, replaced_at FROM snapshots.snapshots_history
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
            UNION ALL
            SELECT 'snapshots', session, revision, nav, NULL FROM snapshots.snapshots
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
            UNION ALL
            SELECT 'risk', session, revision, NULL, replaced_at FROM risk.results_history
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
            UNION ALL
            SELECT 'risk', session, revision, NULL, NULL FROM risk.results
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
        ) v WINDOW versions AS (PARTITION BY phase, session ORDER BY revision)
    ) w WHERE replaced_at IS NOT NULL
"""


async def page(
    conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None, *, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Groups, newest revision first. What was withdrawn without a successor is the group whose revision is null, last.

    The causes of a group are what was written after the replaced results and is among what the new ones were computed from.
    """
    await require_portfolio(conn, portfolio)
    window = {"id": portfolio, "first": first or date.min, "last": last or date.max}
    groups = (
        (
            await conn.execute(
                text(f"""
                    SELECT new_revision, min(old_revision) AS oldest, min(session) AS first, max(session) AS last,
                           count(DISTINCT session) AS sessions, max(replaced_at) AS replaced_at,
                           array_agg(DISTINCT phase ORDER BY phase) AS phases,
                           max(abs(new_nav - old_nav)) AS nav_moved
                    FROM ({_PAIRS}) p
                    WHERE CAST(:before AS bigint) IS NULL OR new_revision IS NULL OR new_revision < :before
                    GROUP BY new_revision ORDER BY new_revision DESC NULLS LAST LIMIT :limit
                """),
                {**window, "before": _parse(cursor), "limit": limit + 1},
            )
        )
        .mappings()
        .all()
    )
    shown = groups[:limit]
    prices, runs = await _prices(conn, window, shown), await _runs(conn, portfolio, shown)
    more = len(groups) > limit and shown[-1]["new_revision"] is not None
    return {
        "portfolio_id": str(portfolio),
        "items": [_group(row, prices, runs) for row in shown],
        "next": str(shown[-1]["new_revision"]) if more else None,
    }


def _parse(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Invalid(UNKNOWN_CURSOR, code="unknown_cursor")
    return int(cursor)


def _group(
    row: RowMapping, prices: Mapping[int, Sequence[RowMapping]], runs: Mapping[int, Sequence[RowMapping]]
) -> dict[str, Any]:
    revision = row["new_revision"]
    causes = (
        [] if revision is None else [*_price_causes(prices.get(revision, ())), *_run_causes(runs.get(revision, ()))]
    )
    summary = "; ".join(cause["summary"] for cause in causes) or (
        "sessions that are no longer the portfolio's" if revision is None else "not known"
    )
    return {
        "revision": revision,
        "replaced_at": to_json(row["replaced_at"]),
        "from": to_json(row["first"]),
        "to": to_json(row["last"]),
        "sessions": row["sessions"],
        "phases": list(row["phases"]),
        "nav_moved": to_json(row["nav_moved"]),
        "summary": summary,
        "causes": causes,
    }


async def _prices(
    conn: AsyncConnection, window: Mapping[str, Any], groups: Sequence[RowMapping]
) -> dict[int, list[RowMapping]]:
    """Closes, splits and dividends of the portfolio's symbols that changed between the old and the new results, by new revision."""
    revisions = [row["new_revision"] for row in groups if row["new_revision"] is not None]
    if not revisions:
        return {}
    rows = await conn.execute(
        text(f"""
            WITH spans AS MATERIALIZED (
                SELECT new_revision, old_revision, max(session) AS last FROM ({_PAIRS}) p
                WHERE new_revision = ANY (CAST(:revisions AS bigint[])) GROUP BY new_revision, old_revision
            ), held AS MATERIALIZED (
                SELECT s.id, s.symbol FROM ingest.symbols s WHERE s.symbol IN (
                    SELECT symbol FROM coordinator.positions WHERE portfolio_id = :id
                    UNION SELECT underlying_symbol FROM coordinator.positions WHERE portfolio_id = :id)
            ), written AS (
                SELECT h.symbol, 'close' AS what, p.session, p.close, p.adj_close, p.change, p.provider, p.known_from, p.symbol_id
                FROM held h JOIN ingest.prices p ON p.symbol_id = h.id
                WHERE p.change > CAST(:oldest AS bigint)
                UNION ALL
                SELECT h.symbol, 'close', p.session, p.close, p.adj_close, p.change, p.provider, p.known_from, p.symbol_id
                FROM held h JOIN ingest.prices_history p ON p.symbol_id = h.id WHERE p.change > CAST(:oldest AS bigint)
            ), moved AS (
                SELECT w.symbol, w.what, w.session, coalesce(old.close, old.adj_close) AS old,
                       coalesce(w.close, w.adj_close) AS new, w.change, w.provider, w.known_from
                FROM written w LEFT JOIN LATERAL (
                    SELECT close, adj_close FROM ingest.prices_history x
                    WHERE x.symbol_id = w.symbol_id AND x.session = w.session AND x.known_until <= w.known_from
                    ORDER BY x.known_until DESC LIMIT 1
                ) old ON true
                WHERE (old.close, old.adj_close) IS DISTINCT FROM (w.close, w.adj_close)
                UNION ALL
                SELECT h.symbol, a.type, a.ex_session, NULL, a.value, a.change, a.provider, a.known_from
                FROM held h JOIN ingest.actions a ON a.symbol_id = h.id WHERE a.change > CAST(:oldest AS bigint)
            )
            SELECT DISTINCT s.new_revision, m.symbol, m.what, m.session, m.old, m.new, m.provider, m.known_from
            FROM spans s JOIN moved m ON m.change > s.old_revision AND m.change <= s.new_revision AND m.session <= s.last
            ORDER BY s.new_revision, m.symbol, m.what, m.session, m.known_from
        """),
        {**window, "revisions": revisions, "oldest": min(row["oldest"] for row in groups)},
    )
    found: dict[int, list[RowMapping]] = defaultdict(list)
    for row in rows.mappings():
        found[row["new_revision"]].append(row)
    return found


def _price_causes(rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    """One a symbol and kind: in full where they are few, the first ones and the span where a history was replaced."""
    kinds: dict[tuple[str, str], list[RowMapping]] = defaultdict(list)
    for row in rows:
        kinds[row["symbol"], row["what"]].append(row)
    return [
        {
            "kind": what,
            "symbol": symbol,
            "from": to_json(found[0]["session"]),
            "to": to_json(found[-1]["session"]),
            "count": len(found),
            "source": None,
            "run_id": None,
            "changes": [
                {
                    "session": to_json(row["session"]),
                    "old": to_json(row["old"]),
                    "new": to_json(row["new"]),
                    "provider": row["provider"],
                    "known_from": to_json(row["known_from"]),
                }
                for row in found[:SHOWN]
            ],
            "summary": _sentence(symbol, what, found),
        }
        for (symbol, what), found in kinds.items()
    ]


def _sentence(symbol: str, what: str, rows: Sequence[RowMapping]) -> str:
    """Such as: close of JPM on 2020-03-12: 79.10 → 80.68 (file, 2026-11-28 18:36)."""
    row = rows[0]
    written = f"({row['provider']}, {_minute(row['known_from'])})"
    if len(rows) > 1:
        noun = {"close": "closes", "split": "splits", "dividend": "dividends"}[what]
        return f"{len(rows)} {noun} of {symbol} from {row['session']} to {rows[-1]['session']} {written}"
    moved = f"{row['new']:,.4g}" if what != "close" else f"{_price(row['old'])} → {_price(row['new'])}"
    return f"{what} of {symbol} on {row['session']}: {moved} {written}"


def _price(value: float | None) -> str:
    return "none" if value is None else f"{value:,.2f}"


def _minute(moment: datetime) -> str:
    return f"{to_json(moment)[:16].replace('T', ' ')}"


async def _runs(conn: AsyncConnection, portfolio: UUID, groups: Sequence[RowMapping]) -> dict[int, list[RowMapping]]:
    """Runs that required a group's revision, or one between the old and the new."""
    rows = await conn.execute(
        text("""
            SELECT DISTINCT g.revision, r.id, r.source, r.what, r.requested_at
            FROM unnest(CAST(:revisions AS bigint[]), CAST(:oldest AS bigint[])) AS g (revision, oldest)
            JOIN coordinator.run_units u ON u.portfolio_id = :id AND u.required_revision > g.oldest
                AND u.required_revision <= g.revision
            CROSS JOIN LATERAL coordinator.tell_run(u.run_id) r
            ORDER BY g.revision, r.requested_at
        """),
        {
            "id": portfolio,
            "revisions": [row["new_revision"] for row in groups if row["new_revision"] is not None],
            "oldest": [row["oldest"] for row in groups if row["new_revision"] is not None],
        },
    )
    found: dict[int, list[RowMapping]] = defaultdict(list)
    for row in rows.mappings():
        found[row["revision"]].append(row)
    return found


def _run_causes(rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    return [
        {
            "kind": "run",
            "symbol": None,
            "from": None,
            "to": None,
            "count": 1,
            "source": row["source"],
            "changes": [],
            "run_id": str(row["id"]),
            "summary": f"{_RUNS.get(row['source'], row['source'])} ({_minute(row['requested_at'])})",
        }
        for row in rows
    ]
