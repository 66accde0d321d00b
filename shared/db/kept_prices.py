"""What one batch after another reads of the prices: a night's portfolios hold the same symbols on the same sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, TypeVar
from uuid import UUID

from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Values of one window that are kept, some eight bytes each; a window of more is read anew for each batch.
MOST_VALUES = 4_000_000

Arrays = TypeVar("Arrays", bound=tuple[NDArray[Any], ...])


@dataclass(slots=True)
class _Window(Generic[Arrays]):
    version: UUID
    first: date
    last: date
    found: dict[int, Arrays | None] = field(default_factory=dict)
    """By symbol; None where there is nothing of it."""

    def is_large(self) -> bool:
        return sum(len(array) for of in self.found.values() if of for array in of) > MOST_VALUES


class KeptPrices(Generic[Arrays]):
    """Arrays of one window [first, last] by symbol, for as long as no price changes.

    Exact: the version is read in the batch's own snapshot, and every statement that writes prices renews it
    (docs/decisions/0080-returns-read-once-a-night.md). Two batches that are loaded at the same time in different snapshots each
    fill the window that belongs to theirs. Arrays are shared between batches and must not be written to.
    """

    def __init__(self) -> None:
        self._window: _Window[Arrays] | None = None

    async def read(
        self,
        conn: AsyncConnection,
        ids: Sequence[int],
        first: date,
        last: date,
        read: Callable[[Sequence[int]], Awaitable[Mapping[int, Arrays]]],
    ) -> dict[int, Arrays]:
        """By symbol that has anything. `read` is called for those that are not known of these very prices and this window."""
        version = await conn.scalar(text("SELECT version FROM ingest.prices_version"))
        own = self._window
        if own is None or (own.version, own.first, own.last) != (version, first, last):
            own = self._window = _Window(version, first, last)
        unknown = [symbol for symbol in ids if symbol not in own.found]
        if unknown:
            answer = await read(unknown)
            own.found |= {symbol: answer.get(symbol) for symbol in unknown}
        found = {symbol: of for symbol in ids if (of := own.found[symbol]) is not None}
        if self._window is own and own.is_large():
            self._window = None
        return found
