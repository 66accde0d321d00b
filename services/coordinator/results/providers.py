"""The chain of providers: how much of each quota is used, who is being left alone for a while, and how old the yield curve is."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.values import to_json
from shared.db.statements import statement


async def chain(conn: AsyncConnection) -> dict[str, Any]:
    """Providers in the order they are asked. Quotas are of the account: [calls, seconds, used] by window."""
    rows = await conn.execute(
        statement("""
            SELECT c.rank, c.provider, c.account IS NOT NULL AS metered, c.limits, c.seconds,
                   ARRAY(SELECT (SELECT coalesce(sum(calls), 0) FROM ingest.quota_uses
                                 WHERE account = c.account AND at > clock_timestamp() - make_interval(secs => w.s))
                         FROM unnest(c.seconds) WITH ORDINALITY AS w (s, n) ORDER BY w.n) AS used,
                   p.failures, p.probe_until, p.last_fault, p.last_fault_at, p.last_success_at,
                   CASE WHEN p.closed_until > clock_timestamp() THEN p.closed_until END AS closed_until,
                   CASE WHEN p.closed_until > clock_timestamp() THEN p.closed_by END AS closed_by
            FROM ingest.chain c LEFT JOIN ingest.providers p ON p.provider = c.provider AND p.account = c.account
            ORDER BY c.rank
        """)
    )
    return {
        "items": [
            {
                "provider": row["provider"],
                "rank": row["rank"],
                "metered": row["metered"],
                "windows": [
                    {"calls": int(calls), "seconds": float(seconds), "used": int(used)}
                    for calls, seconds, used in zip(row["limits"], row["seconds"], row["used"], strict=True)
                ],
                "state": "paused" if row["closed_until"] else "asked",
                "closed_until": to_json(row["closed_until"]),
                "closed_by": row["closed_by"],
                "failures": row["failures"] or 0,
                "last_fault": row["last_fault"],
                "last_fault_at": to_json(row["last_fault_at"]),
                "last_success_at": to_json(row["last_success_at"]),
            }
            for row in rows.mappings()
        ]
    }


async def refusals(conn: AsyncConnection) -> list[dict[str, Any]]:
    """Providers of the chain that are not asked at the moment: why, in whose words, and until when."""
    rows = await conn.execute(
        statement("""
            SELECT c.provider, p.closed_by, p.closed_until, p.last_fault, p.last_fault_at
            FROM ingest.chain c JOIN ingest.providers p ON p.provider = c.provider AND p.account = c.account
            WHERE p.closed_until > clock_timestamp() ORDER BY c.rank
        """)
    )
    return [
        {
            "provider": row["provider"],
            "reason": row["closed_by"],
            "until": to_json(row["closed_until"]),
            "said": row["last_fault"],
            "said_at": to_json(row["last_fault_at"]),
        }
        for row in rows.mappings()
    ]


async def curve(conn: AsyncConnection) -> dict[str, Any] | None:
    """The newest yield curve there is, and why there is no newer one; None where nobody has been asked for curves."""
    row = (
        (
            await conn.execute(
                statement("""
                SELECT y.date, y.provider, y.fetched_at, n.asked_at, n.fault
                FROM (SELECT asked_at, fault FROM ingest.yield_years WHERE asked_at IS NOT NULL ORDER BY year DESC LIMIT 1) n
                LEFT JOIN LATERAL (SELECT date, provider, fetched_at FROM ingest.yields ORDER BY date DESC LIMIT 1) y ON true
            """)
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else {key: to_json(value) for key, value in row.items()}
