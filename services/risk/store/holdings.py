"""SQL of the holdings that risk reads, and of what users say of their lots.

Arrays come as the database packs them: fifty thousand lots a session would be half a million Python objects.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.arrays import FloatVector, IntVector
from shared.db import packed
from shared.market.reasons import ReasonCode

# An id in an array as `array_send` packs it, and its length before it.
_ID, _ID_HEAD = 16, packed.ITEM_HEAD
_NO_EVIDENCE = " || ".join(
    f"array_positions(h.reason, '{reason}')" for reason in (ReasonCode.UNPRICEABLE, ReasonCode.AMOUNT_TOO_LARGE)
)


@dataclass(frozen=True, slots=True, eq=False)
class LotList:
    """Which lots a snapshot lists, and of which symbols: as stored, because one session's are mostly the next one's."""

    ids: bytes
    symbols: bytes

    @classmethod
    def of(cls, ids: Sequence[UUID], symbols: Sequence[str]) -> LotList:
        """As the database packs the arrays."""
        named = [symbol.encode() for symbol in symbols]
        return cls(
            b"".join(struct.pack("!i", 16) + lot.bytes for lot in ids),
            b"".join(struct.pack("!i", len(name)) + name for name in named),
        )

    def begins_with(self, other: LotList) -> bool:
        """Whether the other lots are the first of these."""
        return self.ids.startswith(other.ids) and self.symbols.startswith(other.symbols)

    def __len__(self) -> int:
        return len(self.ids) // 20

    def read_ids(self) -> list[bytes]:
        """The sixteen bytes of each: as objects they would take longer than everything else that is done with a list."""
        return [self.ids[at + 4 : at + 20] for at in range(0, len(self.ids), 20)]

    def read_symbols(self) -> list[str]:
        found, at = [], 0
        while at < len(self.symbols):
            end = at + 4 + int.from_bytes(self.symbols[at : at + 4])
            found.append(self.symbols[at + 4 : end].decode())
            at = end
        return found


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The lots of one portfolio on one session.

    quantity     : (n,) 0 of closed lots
    market_value : (n,) signed, in ten-thousandths
    no_evidence  : places of the lots whose price is too old to be evidence, or one at which nobody could hold the lot
    """

    portfolio_id: UUID
    session: date
    nav: float
    lots: LotList
    quantity: FloatVector
    market_value: IntVector
    no_evidence: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class UserClassification:
    """What the user says of a lot."""

    investment_class: str
    sector: str | None
    underlying: str | None
    subtype: str | None = None


async def find_holdings(conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date) -> list[HeldRow]:
    """Lots and NAV of every snapshot of the portfolios in [first, last], by portfolio, the newest first: what an earlier one lists
    is mostly the beginning of what a later one does."""
    rows = await conn.execute(
        text(f"""
            SELECT h.portfolio_id, h.session, CAST(s.nav AS float8), array_send(h.position_ids), array_send(h.symbols),
                   array_send(h.quantity), array_send(h.market_value), {_NO_EVIDENCE}
            FROM snapshots.holdings h JOIN snapshots.snapshots s USING (portfolio_id, session)
            WHERE h.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND h.session BETWEEN :first AND :last
            ORDER BY h.portfolio_id, h.session DESC
        """),
        {"portfolios": list(portfolios), "first": first, "last": last},
    )
    return [
        HeldRow(
            portfolio_id,
            session,
            nav,
            LotList(ids[packed.ARRAY_HEAD :], symbols[packed.ARRAY_HEAD :]),
            packed.float_array(quantity),
            packed.int_array(value),
            [at - 1 for at in old],
        )
        for portfolio_id, session, nav, ids, symbols, quantity, value, old in rows
    ]


async def count_lots(conn: AsyncConnection, portfolios: Sequence[UUID]) -> int:
    """Of all the portfolios together: what a session of them lists at most."""
    count = await conn.scalar(
        text("""
            SELECT count(*) FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
        """),
        {"portfolios": list(portfolios)},
    )
    return int(count or 0)


async def user_classifications(conn: AsyncConnection, lists: Iterable[LotList]) -> dict[bytes, UserClassification]:
    """What is said of these lots, by the bytes of their ids, and of no other: a lot of a later session says nothing of an earlier
    one's book.

    Ids go there and come back as bytes, those of which the same is said together, and share one object.
    """
    rows = await conn.execute(
        text(f"""
            SELECT string_agg(uuid_send(id), ''::bytea), investment_class, sector, underlying_symbol, investment_subtype
            FROM coordinator.positions
            WHERE id = ANY (ARRAY(
                SELECT CAST(encode(substr(of.lots, at, {_ID}), 'hex') AS uuid)
                FROM (SELECT CAST(:lots AS bytea) AS lots) AS of
                CROSS JOIN LATERAL generate_series({1 + _ID_HEAD}, length(of.lots), {_ID_HEAD + _ID}) AS at))
            GROUP BY 2, 3, 4, 5
        """),
        {"lots": b"".join(listed.ids for listed in lists)},
    )
    found: dict[bytes, UserClassification] = {}
    for ids, *said in rows:
        found |= dict.fromkeys((ids[at : at + _ID] for at in range(0, len(ids), _ID)), UserClassification(*said))
    return found
