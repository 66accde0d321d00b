"""What was said before: figures that a later revision changed, from the history tables and what stands there now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid
from services.coordinator.results import thinned
from services.coordinator.results.figures import Name, flatten, join_name
from services.coordinator.results.portfolios import SNAPSHOT_FIELDS, require_portfolio
from services.coordinator.results.risk import ANSWERS
from services.coordinator.results.risk_rows import REFERENCES
from services.coordinator.results.values import UNKNOWN_CURSOR, document, to_json

_LOT = (
    "symbols", "quantity", "price", "price_session", "price_basis", "market_value", "daily_pnl", "cumulative_pnl", "realized_pnl",
    "dividends", "reason",
)  # fmt: skip
_MONEY = frozenset({"market_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "dividends"})
# Documents come from the driver as text; everything else as Python has it.
_JSON = ("risk", "reasons")
# Not what was said, but when and how.
_ASIDE = frozenset({"session", "revision", "computed_at", "provisional"})
# Why figures moved, where the answer that they replaced said that it would.
_ARRIVED_LATE = "price arrived late"


async def page(
    conn: AsyncConnection,
    portfolio: UUID,
    *,
    limit: int,
    cursor: str | None,
    session: date | None = None,
    figure: str | None = None,
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Any]:
    """Changed figures, latest replacement first. A page is `limit` replaced sessions of a phase, however many figures that is.

    cursor : `next` of the page before
    figure : only names that begin with it
    """
    await require_portfolio(conn, portfolio)
    replaced = (
        (
            await conn.execute(
                text("""
                    SELECT * FROM (
                        SELECT 'snapshots' AS phase, session, revision, replaced_at, provisional FROM snapshots.snapshots_history
                        WHERE portfolio_id = :id
                        UNION ALL
                        SELECT 'risk', session, revision, replaced_at, provisional FROM risk.results_history WHERE portfolio_id = :id
                    ) h
                    WHERE (CAST(:session AS date) IS NULL OR session = :session)
                      AND session BETWEEN :first AND :last
                      AND (CAST(:at AS timestamptz) IS NULL
                           OR (replaced_at, session, phase, revision) < (:at, CAST(:day AS date), :phase, CAST(:revision AS bigint)))
                    ORDER BY replaced_at DESC, session DESC, phase DESC, revision DESC LIMIT :limit
                """),
                {
                    "id": portfolio,
                    "session": session,
                    "first": first or date.min,
                    "last": last or date.max,
                    "limit": limit + 1,
                    **_parse(cursor),
                },
            )
        )
        .mappings()
        .all()
    )
    items = []
    for row in replaced[:limit]:
        items += await _changes(conn, portfolio, row, figure or "")
    end = replaced[limit - 1] if len(replaced) > limit else None
    return {"portfolio_id": str(portfolio), "items": items, "next": None if end is None else _cursor(end)}


def _cursor(row: RowMapping) -> str:
    return "~".join((row["replaced_at"].isoformat(), row["session"].isoformat(), row["phase"], str(row["revision"])))


def _parse(cursor: str | None) -> dict[str, Any]:
    if cursor is None:
        return {"at": None, "day": None, "phase": "", "revision": None}
    try:
        at, day, phase, revision = cursor.split("~")
        return {
            "at": datetime.fromisoformat(at).astimezone(UTC),
            "day": date.fromisoformat(day),
            "phase": phase if phase.isascii() and phase.isalpha() else "",
            "revision": int(revision) % 2**63,
        }
    except (ValueError, OverflowError) as error:
        raise Invalid(UNKNOWN_CURSOR, code="unknown_cursor") from error


async def _changes(conn: AsyncConnection, portfolio: UUID, row: RowMapping, prefix: str) -> list[dict[str, Any]]:
    read = _snapshot if row["phase"] == "snapshots" else _risk
    old, _, _ = await read(conn, portfolio, row["session"], row["revision"], exactly=True)
    new, revision, whole = await read(conn, portfolio, row["session"], row["revision"], exactly=False)
    # A lot or symbol that is new or gone is no figure that changed its value on one side: it is null there. What was thinned out since
    # may have changed or not: nothing is said of it.
    both = {**old, **new} if whole else new
    names = [name for name in both if join_name(name).startswith(prefix)]
    return [
        {
            "session": row["session"].isoformat(),
            "phase": row["phase"],
            "figure": join_name(name),
            "old": old.get(name),
            "new": new.get(name),
            "old_revision": row["revision"],
            "new_revision": revision,
            # Nothing took its place: the day is no session of the portfolio any more.
            "withdrawn": revision is None,
            # Of a provisional answer the first is kept: it was waiting for a price.
            "cause": _ARRIVED_LATE if row["provisional"] and revision is not None else None,
            "replaced_at": to_json(row["replaced_at"]),
        }
        for name in names
        if old.get(name) != new.get(name)
    ]


async def _version(
    conn: AsyncConnection,
    table: str,
    columns: str,
    portfolio: UUID,
    session: date,
    revision: int,
    *,
    exactly: bool,
    source: str = "",
) -> Mapping[str, Any] | None:
    """The row of a revision, or of the next one after it, wherever it is now."""
    compare = "=" if exactly else ">"
    rows = await conn.execute(
        text(f"""
            SELECT {columns} FROM (
                SELECT * FROM {table}_history WHERE portfolio_id = :id AND session = :session AND revision {compare} :revision
                UNION ALL
                SELECT *, NULL FROM {table} WHERE portfolio_id = :id AND session = :session AND revision {compare} :revision
            ) r {source} ORDER BY revision LIMIT 1
        """),
        {"id": portfolio, "session": session, "revision": revision},
    )
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)


async def _snapshot(
    conn: AsyncConnection, portfolio: UUID, session: date, revision: int, *, exactly: bool
) -> tuple[dict[Name, Any], int | None, bool]:
    columns = ", ".join(f"r.{column}" for column in SNAPSHOT_FIELDS)
    row = await _version(conn, "snapshots.snapshots", columns, portfolio, session, revision, exactly=exactly)
    if row is None:
        return {}, None, True
    figures: dict[Name, Any] = {("snapshots", key): to_json(row[key]) for key in SNAPSHOT_FIELDS if key not in _ASIDE}
    lots = await _version(
        conn,
        "snapshots.holdings",
        f"position_ids, {', '.join(_LOT)}",
        portfolio,
        session,
        row["revision"],
        exactly=True,
    )
    for index, position in enumerate(lots["position_ids"] if lots else ()):
        assert lots is not None
        for column in _LOT:
            value = lots[column][index]
            name = "symbol" if column == "symbols" else column
            figures["positions", str(position), name] = to_json(value / 10_000 if column in _MONEY else value)
    return figures, row["revision"], True


async def _risk(
    conn: AsyncConnection, portfolio: UUID, session: date, revision: int, *, exactly: bool
) -> tuple[dict[Name, Any], int | None, bool]:
    """With whether all figures are there: a row that was thinned out has some of them."""
    columns = sorted(
        {column for answer in ANSWERS.values() for column in answer.columns} | {"revision", "quality", "coverage"}
    )
    listed = ", ".join(
        f"CAST({column} AS text) AS {column}" if column in _JSON else "CAST(scenarios AS text) AS scenarios"
        if column == "scenarios" else column
        for column in columns
    )  # fmt: skip
    row = await _version(
        conn,
        "risk.results",
        f"{listed}, {thinned.COLUMN}",
        portfolio,
        session,
        revision,
        exactly=exactly,
        source=REFERENCES,
    )
    if row is None:
        return {}, None, True
    figures: dict[Name, Any] = {("risk", "quality"): row["quality"], ("risk", "coverage"): to_json(row["coverage"])}
    for name, answer in ANSWERS.items():
        if row["thinned"]:
            left = thinned.body(name, row)
            figures |= flatten(name, {key: value for key, value in left.items() if value is not None})
        elif row[answer.columns[0]] is not None:
            figures |= flatten(name, answer.body({key: _value(key, row) for key in row}))
    return figures, row["revision"], not row["thinned"]


def _value(key: str, row: Mapping[str, Any]) -> Any:
    return document(row[key]) if key in _JSON else row[key]
