"""The `file` provider: prices from a Parquet or CSV file, with actions and profiles beside it. No network, no limits.

Read once, at the first question, and kept in memory by symbol: a request is two binary searches and views of arrays.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock

import numpy as np

from services.ingest.providers.base import Absence, Absent, Action, Answer, Bars, History, Profile, Request
from services.ingest.providers.file_format import (
    NUMBERS,
    BadPriceFile,
    Prices,
    read_actions,
    read_prices,
    read_profiles,
)
from shared.market.calendar import Calendar

ACTIONS = "corporate_actions.csv"
PROFILES = "symbols.csv"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Contents:
    bars: dict[str, Bars]
    actions: dict[str, tuple[Action, ...]]
    profiles: dict[str, tuple[Profile, date | None]]


class FileProvider:
    """Closes of a price file are split-adjusted by contract. A symbol's splits count as listed if it has any action there."""

    name = "file"

    def __init__(self, path: Path | None, calendar: Calendar) -> None:
        self._path = path
        self._calendar = calendar
        self._contents: _Contents | None = None
        self._lock = Lock()

    def load(self) -> None:
        """Read the files now, so that a bad one is told at the start and not on the first portfolio. Raises `BadPriceFile`."""
        self._read()

    def symbols(self) -> frozenset[str]:
        """Everything there are bars of."""
        return frozenset(self._read().bars)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        contents = self._read()
        for request in requests:
            yield self._answer(contents, request)

    def _answer(self, contents: _Contents, request: Request) -> Answer:
        bars = contents.bars.get(request.symbol)
        if bars is None:
            return Absent(request.symbol, Absence.NOT_FOUND)
        low = int(np.searchsorted(bars.sessions, np.datetime64(request.first, "D"), side="left"))
        high = int(np.searchsorted(bars.sessions, np.datetime64(request.last, "D"), side="right"))
        actions = contents.actions.get(request.symbol)
        profile, delisted_on = contents.profiles.get(request.symbol, (None, None))
        return History(
            symbol=request.symbol,
            bars=_cut(bars, slice(low, high)),
            actions=actions or (),
            lists_splits=actions is not None,
            profile=profile,
            listed_from=bars.sessions[0].item(),
            delisted_on=delisted_on,
        )

    def _read(self) -> _Contents:
        with self._lock:
            if self._path is None:
                raise BadPriceFile(
                    "the file provider has no file: set LEADLINE_DATA (--data) to a Parquet or CSV file of prices"
                )
            if self._contents is None:
                prices = read_prices(self._path)
                actions, profiles = self._path.parent / ACTIONS, self._path.parent / PROFILES
                self._contents = _Contents(
                    bars=_index(prices, self._path.name, self._calendar),
                    actions=read_actions(actions) if actions.is_file() else {},
                    profiles=read_profiles(profiles) if profiles.is_file() else {},
                )
            return self._contents


def _index(prices: Prices, name: str, calendar: Calendar) -> dict[str, Bars]:
    """By symbol, without rows that are no price or no session."""
    priced = ~(np.isnan(prices.columns["close"]) & np.isnan(prices.columns["adj_close"]))
    sessions = np.isin(prices.dates, calendar.sessions)
    strays = np.flatnonzero(priced & ~sessions)
    if len(strays):
        log.warning(
            "%s: %d bars on days without a session were dropped, the first on %s",
            name, len(strays), prices.dates[strays[0]],
        )  # fmt: skip
    kept = priced & sessions
    bars = {}
    for symbol, start, end in zip(prices.symbols, prices.starts, prices.starts[1:], strict=False):
        rows = start + np.flatnonzero(kept[start:end])
        if len(rows):
            columns = {column: prices.columns[column][rows] for column in NUMBERS}
            bars[symbol] = Bars(sessions=prices.dates[rows], split_adjusted=True, **columns)
    return bars


def _cut(bars: Bars, rows: slice) -> Bars:
    return Bars(
        sessions=bars.sessions[rows],
        open=bars.open[rows],
        high=bars.high[rows],
        low=bars.low[rows],
        close=bars.close[rows],
        adj_close=bars.adj_close[rows],
        volume=bars.volume[rows],
        split_adjusted=bars.split_adjusted,
    )
