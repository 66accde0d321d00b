"""The `file` provider: prices from a Parquet or CSV file, with actions and profiles beside it. No network, no limits.

Kept in memory by symbol: a request is two binary searches and views of arrays. Read at the first question, and again once one
of the files is another one: `rerun --phase ingest` is to see what a person put there. A file that cannot be read any more takes
nothing away: what was read before is dropped only for what can be read, and until then the provider is down.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock

import numpy as np

from services.ingest.model.market import (
    Action,
    Answer,
    Bars,
    History,
    NoData,
    NoDataReason,
    Profile,
    ProviderErrorKind,
    Request,
)
from services.ingest.providers.file.columns import NUMBERS
from services.ingest.providers.file.format import Prices, read_actions, read_prices, read_profiles
from services.ingest.providers.file.problems import BadPriceFile, Skipped
from services.ingest.providers.file.table import give_memory_back
from shared.arrays import DateVector
from shared.market.calendar import Calendar

ACTIONS = "corporate_actions.csv"
PROFILES = "symbols.csv"
# A file that was written to so recently may still be written to; a CSV cut between two rows looks whole.
SETTLE_SECONDS = 2.0
LOOKS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Contents:
    bars: dict[str, Bars]
    actions: dict[str, tuple[Action, ...]]
    profiles: dict[str, tuple[Profile, date | None]]
    skipped: tuple[Skipped, ...] = ()


class FileProvider:
    """Closes of a price file are split-adjusted by contract. A symbol's splits count as listed if it has any action there."""

    name = "file"

    def __init__(
        self,
        path: Path | None,
        calendar: Callable[[], Calendar],
        *,
        skip_bad_rows: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._calendar = calendar
        self._skip = skip_bad_rows
        self._sleep = sleep
        self._contents: _Contents | None = None
        self._stamp: tuple[object, ...] = ()
        self._bad: tuple[tuple[object, ...], BadPriceFile] | None = None
        self._reads = 0
        self._lock = Lock()

    def load(self) -> None:
        """Read the files now, so that a bad one is told at the start and not on the first portfolio. Raises `BadPriceFile`."""
        self._read()

    def reads(self) -> int:
        """How often the files were read; looks whether they are to be read again. A file that is bad now is not counted."""
        try:
            self._read()
        except BadPriceFile as error:
            if self._contents is None:
                raise
            log.debug("%s", error)
        return self._reads

    def skipped_rows(self) -> tuple[Skipped, ...]:
        """Rows that were left out, by file; empty where a file with a bad row is refused."""
        return self._read().skipped

    def symbols(self) -> frozenset[str]:
        """Everything there are bars of."""
        return frozenset(self._read().bars)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        try:
            contents = self._read()
        except BadPriceFile as error:
            if self._contents is None:
                raise
            down = (NoDataReason.PROVIDER_DOWN, None, ProviderErrorKind.BAD_BODY, str(error))
            yield from (NoData(request.symbol, *down) for request in requests)
            return
        for request in requests:
            yield self._answer(contents, request)

    def _answer(self, contents: _Contents, request: Request) -> Answer:
        bars = contents.bars.get(request.symbol)
        if bars is None:
            return NoData(request.symbol, NoDataReason.NOT_FOUND)
        low = int(np.searchsorted(bars.sessions, np.datetime64(request.first, "D"), side="left"))
        high = int(np.searchsorted(bars.sessions, np.datetime64(request.last, "D"), side="right"))
        actions = contents.actions.get(request.symbol)
        profile, delisted_on = contents.profiles.get(request.symbol, (None, None))
        return History(
            symbol=request.symbol,
            bars=_slice_bars(bars, slice(low, high)),
            actions=actions or (),
            lists_splits=actions is not None,
            profile=profile,
            listed_from=bars.sessions[0].item(),
            delisted_on=delisted_on,
        )

    def _read(self) -> _Contents:
        """Raises `BadPriceFile`."""
        with self._lock:
            if self._path is None:
                raise BadPriceFile(
                    "the file provider has no file: set LEADLINE_DATA (--data) to a Parquet or CSV file of prices"
                )
            stamp = _stamp(self._path)
            if self._contents is None:
                self._contents, self._stamp, self._reads = self._parse(self._path), stamp, 1
                give_memory_back()
            elif stamp != self._stamp:
                self._replace(self._path, self._contents)
            return self._contents

    def _replace(self, path: Path, old: _Contents) -> None:
        """Take up files that are others than those read; the same bad ones are not read twice."""
        stamp = self._settled_stamp(path)
        if self._bad is not None and self._bad[0] == stamp:
            raise self._bad[1]
        try:
            contents = self._parse(path)
            if _stamp(path) != stamp:
                raise BadPriceFile(f"{path.name} is still being written")
        except BadPriceFile as error:
            remedy = "; what was read before stays. Write the new file beside it and rename it into its place"
            self._bad = (stamp, BadPriceFile(f"{error}{remedy}"))
            log.error("%s", self._bad[1])  # noqa: TRY400 - the message says it all
            raise self._bad[1] from error
        gone = len(old.bars.keys() - contents.bars.keys())
        log.info("%s was replaced: %d symbols, %d fewer than before", path.name, len(contents.bars), gone)
        self._contents, self._stamp, self._bad = contents, stamp, None
        self._reads += 1
        give_memory_back()

    def _settled_stamp(self, path: Path) -> tuple[object, ...]:
        """The files' stamp, once nobody has written to them for a moment; after some looks as it is."""
        for _ in range(LOOKS):
            newest = max((entry.stat().st_mtime for entry in _files(path) if entry.is_file()), default=0.0)
            age = time.time() - newest
            if not 0 <= age < SETTLE_SECONDS:
                break
            self._sleep(SETTLE_SECONDS - age)
        return _stamp(path)

    def _parse(self, path: Path) -> _Contents:
        prices = read_prices(path, skip=self._skip)
        _, actions, profiles = _files(path)
        listed, left_actions = read_actions(actions, skip=self._skip) if actions.is_file() else ({}, None)
        described, left_profiles = read_profiles(profiles, skip=self._skip) if profiles.is_file() else ({}, None)
        skipped = tuple(
            each for each in (prices.skipped, left_actions, left_profiles) if each is not None and each.rows
        )
        for each in skipped:
            log.warning(
                "%s: %d rows were left out (LEADLINE_DATA_BAD_ROWS=skip): %s", each.file, each.rows, "; ".join(each.why)
            )
        bars = _index(prices, path.name, self._calendar())
        unpriced = sorted(listed.keys() - bars.keys())
        if unpriced:
            log.warning(
                "%s: actions of %d symbols without prices are not used: %s",
                actions.name,
                len(unpriced),
                ", ".join(unpriced[:10]),
            )
        return _Contents(bars=bars, actions=listed, profiles=described, skipped=skipped)


def _files(path: Path) -> tuple[Path, Path, Path]:
    return path, path.parent / ACTIONS, path.parent / PROFILES


def _stamp(path: Path) -> tuple[object, ...]:
    """What differs as soon as one of the files is another one or was written to."""
    found: list[object] = []
    for entry in _files(path):
        try:
            state = entry.stat()
            found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def _index(prices: Prices, name: str, calendar: Calendar) -> dict[str, Bars]:
    """By symbol, without rows that are no price or no session."""
    priced = ~(np.isnan(prices.columns.get("close", np.nan)) & np.isnan(prices.columns.get("adj_close", np.nan)))
    on_sessions = calendar.are_sessions(prices.dates)
    strays = np.flatnonzero(priced & ~on_sessions)
    if len(strays):
        log.warning(
            "%s: %d bars on days without a session were dropped, the first on %s",
            name, len(strays), prices.dates[strays[0]],
        )  # fmt: skip
    kept = priced & on_sessions
    bars: dict[str, Bars] = {}
    shared: dict[bytes, DateVector] = {}
    for symbol, start, end in zip(prices.symbols, prices.starts, prices.starts[1:], strict=False):
        rows = start + np.flatnonzero(kept[start:end])
        if len(rows):
            # What is kept as long as the process: one value for all of a column that is not there, the sessions of many symbols once.
            absent = np.broadcast_to(np.nan, len(rows))
            columns = {name: prices.columns[name][rows] if name in prices.columns else absent for name in NUMBERS}
            sessions = prices.dates[rows]
            sessions = shared.setdefault(hashlib.sha256(sessions.tobytes()).digest(), sessions)
            bars[symbol] = Bars(sessions=sessions, split_adjusted=True, **columns)
    return bars


def _slice_bars(bars: Bars, rows: slice) -> Bars:
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
