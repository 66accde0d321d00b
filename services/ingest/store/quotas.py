"""Quotas and circuit breakers of providers, on the database's clock: what replicas share and a restart keeps."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Health, Standing, Taken
from shared.db import locks

# How long calls taken by a process that died count as being made. Longer than a call's deadline and the time between renewals.
LEASE = timedelta(seconds=120)


async def reserve_calls(
    conn: AsyncConnection,
    provider: str,
    account: str,
    windows: Sequence[tuple[int, float]],
    *,
    wanted: int,
    least: int,
    share: float,
    trip: int,
) -> Taken:
    """See `ingest.take_calls`. Atomic across processes; counts are of the moment the account's lock was had.

    An adapter that asks for the first time begins as closed as the others of its account: the vendor counts them together.
    """
    await conn.execute(
        text("""
            INSERT INTO ingest.providers (provider, account, closed_until, closed_by, last_fault, last_fault_at)
            SELECT :provider, :account, closed_until, closed_by, last_fault, last_fault_at FROM ingest.providers
            WHERE account = :account AND closed_by IN ('rate_limited', 'auth') AND closed_until > clock_timestamp()
            ORDER BY closed_until DESC LIMIT 1
            ON CONFLICT DO NOTHING
        """),
        {"provider": provider, "account": account},
    )
    rows = await conn.execute(
        text("""
            SELECT t.use_id, t.granted, t.retry_at, t.reason, t.fault,
                   t.retry_at IS NULL AND EXISTS (
                       SELECT 1 FROM ingest.providers p
                       WHERE p.provider = :provider AND p.account = :account AND p.failures >= :trip)
            FROM ingest.take_calls(
                :provider, :account, :wanted, :least, :share, CAST(:limits AS integer[]), CAST(:seconds AS float8[]), :trip, :lease) t
        """),
        {
            "provider": provider,
            "account": account,
            "wanted": wanted,
            "least": least,
            "share": share,
            "limits": [window[0] for window in windows],
            "seconds": [window[1] for window in windows],
            "trip": trip,
            "lease": LEASE,
        },
    )
    return Taken(*rows.one())


async def renew(conn: AsyncConnection, uses: Sequence[int]) -> None:
    await conn.execute(
        text("UPDATE ingest.quota_uses SET at = clock_timestamp() + :lease WHERE id = ANY (CAST(:uses AS bigint[]))"),
        {"uses": list(uses), "lease": LEASE},
    )


async def release(conn: AsyncConnection, uses: Sequence[int], unused: int) -> None:
    """From now on the calls grow old. `unused` of them were not made; they go back, the newest uses first."""
    await conn.execute(
        text("""
            WITH uses AS (
                SELECT id, calls, sum(calls) OVER (ORDER BY id DESC) - calls AS newer
                FROM ingest.quota_uses WHERE id = ANY (CAST(:uses AS bigint[]))
            ), kept AS (
                SELECT id, calls - greatest(0, least(calls, :unused - newer)) AS calls FROM uses
            ), gone AS (
                DELETE FROM ingest.quota_uses q USING kept k WHERE q.id = k.id AND k.calls = 0
            )
            UPDATE ingest.quota_uses q SET calls = k.calls, at = clock_timestamp()
            FROM kept k WHERE q.id = k.id AND k.calls > 0
        """),
        {"uses": list(uses), "unused": unused},
    )


async def record_success(conn: AsyncConnection, provider: str, account: str) -> None:
    """Resets the breaker. A limit the vendor told somebody else meanwhile stands."""
    await conn.execute(
        text("""
            UPDATE ingest.providers SET failures = 0, probe_until = NULL, last_success_at = clock_timestamp()
            WHERE provider = :provider AND account = :account
        """),
        {"provider": provider, "account": account},
    )


async def record_limit(
    conn: AsyncConnection, provider: str, account: str, wait: timedelta, fault: str
) -> datetime | None:
    """The vendor said to come back after `wait`: it alone is delayed, for every replica and every adapter that asks it."""
    return await _close(
        conn,
        """
        closed_until = greatest(closed_until, clock_timestamp() + :wait), closed_by = 'rate_limited'
        """,
        {"provider": provider, "account": account, "wait": wait, "fault": fault},
    )


async def record_failure(
    conn: AsyncConnection,
    provider: str,
    account: str,
    fault: str,
    *,
    trip: int,
    pause: timedelta,
    longest: timedelta,
    wait: timedelta | None,
    shared: bool,
    confirmed: bool = False,
) -> datetime | None:
    """A failure more. From the `trip`th in a row on the provider is closed, each time twice as long, up to `longest`.

    shared    : it is the vendor's and so every adapter's that asks it, and not this adapter's own
    confirmed : it stands for a whole row of failures
    """
    return await _close(
        conn,
        """
        failures = greatest(failures + 1, CAST(:least AS integer)), probe_until = NULL,
        closed_by = CASE WHEN CAST(:wait AS interval) IS NOT NULL OR greatest(failures + 1, CAST(:least AS integer)) >= :trip
                         THEN 'provider_down' ELSE closed_by END,
        closed_until = CASE
            WHEN CAST(:wait AS interval) IS NOT NULL THEN greatest(closed_until, clock_timestamp() + :wait)
            WHEN greatest(failures + 1, CAST(:least AS integer)) >= :trip
                THEN greatest(closed_until, clock_timestamp() + least(
                    CAST(:longest AS interval), CAST(:pause AS interval) * power(2, greatest(0, least(failures + 1 - :trip, 20)))))
            ELSE closed_until END
        """,
        {
            "provider": provider,
            "account": account,
            "fault": fault,
            "trip": trip,
            "pause": pause,
            "longest": longest,
            "wait": wait,
            "least": trip if confirmed else 0,
        },
        shared=shared,
    )


async def record_refusal(
    conn: AsyncConnection, provider: str, account: str, fault: str, *, trip: int, wait: timedelta
) -> datetime | None:
    """The key is refused: closed, and then one call at a time is tried. Another key is another account."""
    return await _close(
        conn,
        """
        failures = greatest(failures + 1, :trip), probe_until = NULL, closed_by = 'auth',
        closed_until = clock_timestamp() + :wait
        """,
        {"provider": provider, "account": account, "fault": fault, "trip": trip, "wait": wait},
    )


async def _close(
    conn: AsyncConnection, change: str, parameters: dict[str, object], *, shared: bool = True
) -> datetime | None:
    """Until when the provider is closed now, if it is. shared: with all others of its account."""
    # As `take_calls` does: several rows, always after the account's lock.
    await conn.execute(
        text("SELECT pg_advisory_xact_lock(:class, hashtext(:account))"),
        {"class": locks.PROVIDER_ACCOUNT, "account": parameters["account"]},
    )
    value: datetime | None = await conn.scalar(
        text(f"""
            WITH closed AS (
                UPDATE ingest.providers SET last_fault = :fault, last_fault_at = clock_timestamp(), {change}
                WHERE account = :account AND (provider = :provider OR :shared)
                RETURNING provider, closed_until
            )
            SELECT closed_until FROM closed WHERE provider = :provider AND closed_until > clock_timestamp()
        """),
        parameters | {"shared": shared},
    )
    return value


async def standing(
    conn: AsyncConnection, provider: str, account: str, windows: Sequence[tuple[int, float]]
) -> tuple[Health | None, list[Standing]]:
    """How a provider is doing and what is used of its quota."""
    row = (
        await conn.execute(
            text("""
                SELECT failures, closed_until, closed_by, last_fault, last_fault_at, last_success_at
                FROM ingest.providers WHERE provider = :provider AND account = :account
            """),
            {"provider": provider, "account": account},
        )
    ).one_or_none()
    used = await conn.execute(
        text("""
            SELECT (SELECT coalesce(sum(calls), 0) FROM ingest.quota_uses
                    WHERE account = :account AND at > clock_timestamp() - make_interval(secs => w.seconds))
            FROM unnest(CAST(:seconds AS float8[])) WITH ORDINALITY AS w (seconds, n) ORDER BY w.n
        """),
        {"account": account, "seconds": [window[1] for window in windows]},
    )
    standings = [Standing(calls, seconds, int(count)) for (calls, seconds), (count,) in zip(windows, used, strict=True)]
    return (Health(*row) if row else None), standings


async def record_fault(conn: AsyncConnection, provider: str, account: str, fault: str) -> None:
    """A refusal that closes nothing, in the vendor's words."""
    await conn.execute(
        text("""
            UPDATE ingest.providers SET last_fault = :fault, last_fault_at = clock_timestamp()
            WHERE provider = :provider AND account = :account
        """),
        {"provider": provider, "account": account, "fault": fault},
    )
