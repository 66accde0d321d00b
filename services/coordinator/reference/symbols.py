"""What users decide about a symbol: which security it is, and whether a price that was held back is right."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict, Invalid
from services.coordinator.results.quarantine import SETTLED, find_held_price
from services.coordinator.results.symbols import symbol_id
from services.coordinator.results.values import to_json
from shared.market.symbols import SymbolKind, classify, normalise


async def choose(
    conn: AsyncConnection, symbol: str, chosen: str, valid_from: date | None, valid_to: date | None
) -> None:
    """Ingest asks for the chosen one at its next look, and replaces the prices that are there if they are another security's."""
    _, name = await symbol_id(conn, symbol)
    target = normalise(chosen)
    if not target.isprintable() or classify(target) is SymbolKind.PRIVATE:
        raise Invalid(f"{target!r} is not a market symbol. Give the ticker that the vendor uses, such as META.")
    if valid_from is not None and valid_to is not None and valid_from > valid_to:
        raise Invalid("valid_from is after valid_to.")
    await conn.execute(
        text("""
            INSERT INTO coordinator.symbol_choices (symbol, chosen, valid_from, valid_to)
            VALUES (:symbol, :chosen, coalesce(CAST(:first AS date), '-infinity'), coalesce(CAST(:last AS date), 'infinity'))
            ON CONFLICT (symbol, valid_from) DO UPDATE
            SET chosen = excluded.chosen, valid_to = excluded.valid_to, chosen_at = clock_timestamp()
        """),
        {"symbol": name, "chosen": target, "first": valid_from, "last": valid_to},
    )


async def decide(
    conn: AsyncConnection, symbol: str, session: date, decision: str, *, reason: str, by: str
) -> dict[str, Any]:
    """Ingest follows at its next look. The same decision again changes nothing; a price that is in use is not rejected.

    Needs the commit-order lock, so that two decisions about one price are one after the other.
    """
    if not reason.strip() or not by.strip():
        raise Invalid("reason and by must say something: they are what is read later.")
    jump = await find_held_price(conn, symbol, session)
    wanted = {"release": "released", "reject": "rejected"}[decision]
    if jump["state"] != wanted:
        if jump["state"] in SETTLED:
            raise Conflict(
                f"The jump of {jump['symbol']} on {session} is {jump['state']}: its price is in use. What a provider corrects"
                " comes with `leadline rerun --phase ingest --what all`."
            )
        await conn.execute(
            text("""
                INSERT INTO coordinator.price_decisions (symbol, session, decision, reason, decided_by)
                VALUES (:symbol, :session, :decision, :reason, :by)
            """),
            {
                "symbol": jump["symbol"],
                "session": session,
                "decision": decision,
                "reason": reason.strip(),
                "by": by.strip(),
            },
        )
        jump = await find_held_price(conn, symbol, session)
    return {key: to_json(value) for key, value in jump.items()}
