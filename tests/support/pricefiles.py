"""A price file as the pipeline stores it: read by the file provider, converted by ingest's own assembly, laid out as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from services.ingest.compute.rows import build_rows
from services.ingest.model.market import ChainResult, History, ProviderSeries, Request
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.file.provider import FileProvider
from services.ingest.store.prices import STAGED
from shared.arrays import BoolMatrix, DateVector, FloatMatrix, FloatVector
from shared.market.calendar import calendar, exchange_calendar
from shared.market.registry import PROXY_SYMBOLS

_READ = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Grid:
    """T consecutive sessions by S symbols, as stored: NaN where there is nothing.

    close, adj_close : as traded, adjusted; returns : simple daily total returns; dividends, splits : of the session
    from_file : the source lists no splits for the symbol
    """

    sessions: DateVector
    symbols: tuple[str, ...]
    close: FloatMatrix
    adj_close: FloatMatrix
    returns: FloatMatrix
    dividends: FloatMatrix
    splits: FloatMatrix
    from_file: BoolMatrix

    def row(self, day: date) -> int:
        """The session's row."""
        at = int(np.searchsorted(self.sessions, np.datetime64(day, "D")))
        assert self.sessions[at] == np.datetime64(day, "D"), f"{day} is no session of the grid"
        return at

    def column(self, symbol: str) -> int:
        return self.symbols.index(symbol)

    def of(self, symbol: str) -> FloatVector:
        """(T,) returns."""
        return self.returns[:, self.column(symbol)]

    def by_symbol(self, last: date) -> dict[str, FloatVector]:
        """Returns up to a session, of every symbol that has any."""
        end = self.row(last) + 1
        return {
            s: self.returns[:end, i] for i, s in enumerate(self.symbols) if np.isfinite(self.returns[:end, i]).any()
        }

    def proxies(self) -> FloatMatrix:
        """(T, P) returns of all proxies; NaN for those that are not in the grid."""
        empty = np.full(len(self.sessions), np.nan)
        return np.column_stack([self.of(s) if s in self.symbols else empty for s in PROXY_SYMBOLS])


@lru_cache(maxsize=2)
def _provider(path: Path) -> FileProvider:
    return FileProvider(path, exchange_calendar)


def grid(path: Path, symbols: Sequence[str], first: date, last: date) -> Grid:
    """What ingest would store of `symbols` over [first, last]. A symbol that the file does not have is a column of NaN."""
    days = calendar().between(first, last)
    sessions = np.array(days, dtype="datetime64[D]")
    checked = ((calendar().ordinal(days[0]), calendar().ordinal(days[-1])),)
    asks = [FetchRequest(i, symbol, days[0], days[-1], checked, None) for i, symbol in enumerate(symbols)]
    answers = []
    for ask, answer in zip(asks, _provider(path).fetch([ask.request for ask in asks]), strict=True):
        request = Request(ask.symbol, ask.first, ask.last)
        answers.append(
            ChainResult(request, [ProviderSeries("file", answer)])
            if isinstance(answer, History)
            else ChainResult(request)
        )
    rows = build_rows(asks, answers, {}, calendar(), chain="file", now=_READ, newest=days[-1])
    shape = (len(sessions), len(symbols))
    numbers = {name: np.full(shape, np.nan) for name in ("close", "adj_close", "total_return")}
    from_file, dividends, splits = np.zeros(shape, np.bool_), np.zeros(shape), np.ones(shape)
    place = {name: STAGED.index(name) for name in STAGED}
    for record in rows.prices:
        at = int(np.searchsorted(sessions, np.datetime64(record[place["session"]], "D"))), record[place["symbol_id"]]
        for name, values in numbers.items():
            values[at] = np.nan if record[place[name]] is None else record[place[name]]
        from_file[at] = record[place["basis"]] == "file"
    for action in rows.actions:
        if days[0] <= action.ex_session <= days[-1]:
            at = int(np.searchsorted(sessions, np.datetime64(action.ex_session, "D"))), action.symbol_id
            (splits if action.type == "split" else dividends)[at] = action.value
    return Grid(
        sessions,
        tuple(symbols),
        numbers["close"],
        numbers["adj_close"],
        numbers["total_return"],
        dividends,
        splits,
        from_file,
    )
