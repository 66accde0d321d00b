"""Who is enabled, what each plan covers, and whether the chain serves anything at all."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Link, Unpriced

# A plan may have been changed; one refused call a week tells.
PLAN_LASTS = timedelta(days=7)


async def plan_years(conn: AsyncConnection, provider: str, account: str) -> int | None:
    """How many years back the account's plan reaches, if a refusal of the last week told."""
    years: int | None = await conn.scalar(
        text("""
            SELECT plan_years FROM ingest.providers
            WHERE provider = :provider AND account = :account AND plan_learnt_at > clock_timestamp() - CAST(:lasts AS interval)
        """),
        {"provider": provider, "account": account, "lasts": PLAN_LASTS},
    )
    return years


async def learn_plan(conn: AsyncConnection, provider: str, account: str, years: int) -> None:
    await conn.execute(
        text("""
            INSERT INTO ingest.providers (provider, account, plan_years, plan_learnt_at)
            VALUES (:provider, :account, :years, clock_timestamp())
            ON CONFLICT (provider, account) DO UPDATE SET plan_years = excluded.plan_years, plan_learnt_at = excluded.plan_learnt_at
        """),
        {"provider": provider, "account": account, "years": years},
    )


async def write_chain(conn: AsyncConnection, links: Sequence[Link]) -> None:
    """Who is enabled now. The last service that started has its word: all replicas are configured alike."""
    await conn.execute(text("LOCK TABLE ingest.chain IN SHARE ROW EXCLUSIVE MODE"))
    before = {
        (row.provider, row.account) for row in await conn.execute(text("SELECT provider, account FROM ingest.chain"))
    }
    if before and {(link.provider, link.account) for link in links} - before:
        # Another key may have another plan: what the last one did not cover is asked for now.
        await conn.execute(text("UPDATE ingest.gaps SET retry_at = clock_timestamp() WHERE reason = 'plan_limit'"))
    await conn.execute(text("DELETE FROM ingest.chain"))
    for rank, link in enumerate(links):
        await conn.execute(
            text("""
                INSERT INTO ingest.chain (rank, provider, account, limits, seconds, calls_each, calls_fifty)
                VALUES (:rank, :provider, :account, :limits, :seconds, :each, :fifty)
            """),
            {
                "rank": rank,
                "provider": link.provider,
                "account": link.account,
                "limits": [window[0] for window in link.windows],
                "seconds": [float(window[1]) for window in link.windows],
                "each": link.calls_each,
                "fifty": link.calls_fifty,
            },
        )


async def read_chain(conn: AsyncConnection) -> list[Link]:
    """Who was enabled when the service last started, in order."""
    rows = await conn.execute(
        text("SELECT provider, account, limits, seconds, calls_each, calls_fifty FROM ingest.chain ORDER BY rank")
    )
    return [
        Link(
            row.provider, row.account, list(zip(row.limits, row.seconds, strict=True)), row.calls_each, row.calls_fifty
        )
        for row in rows
    ]


async def find_unpriced(conn: AsyncConnection, recent: timedelta) -> Unpriced | None:
    """None if anything has a price within `recent` of the newest session that was asked for, or nothing was asked for."""
    row = (
        await conn.execute(
            text("""
                SELECT count(*) AS symbols, max(s.covered_to) - CAST(:recent AS interval) AS since,
                       -- The reason of most days: beside a plan's years its newest session is late, for each symbol too.
                       (SELECT g.reason FROM ingest.gaps g
                        GROUP BY g.reason ORDER BY sum(g.last - g.first + 1) DESC, g.reason LIMIT 1) AS reason
                FROM ingest.symbols s WHERE s.covered_to IS NOT NULL
            """),
            {"recent": recent},
        )
    ).one()
    if not row.symbols or row.reason is None:
        return None
    since = row.since.date()
    priced = await conn.scalar(
        text("SELECT EXISTS (SELECT 1 FROM ingest.prices WHERE session >= :since)"), {"since": since}
    )
    return None if priced else Unpriced(row.symbols, since, row.reason)
