"""Prices as arrays: conversion to as traded, total returns, and what is missing. Pure.

Bars of many symbols stand in flat arrays, sorted by (series, session). A *series* is one symbol's bars from one fetch of one
source, so a return is never taken across two vintages. Sessions are ordinals of the exchange calendar: neighbours differ by 1.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.ingest.model.stored import PriceGap
from shared.arrays import FloatVector, IntVector
from shared.market.reasons import ReasonCode
from shared.market.registry import RETURN_DISAGREEMENT

BASES = (None, "adjusted", "price_only", "actions")
REMARKS = (
    None,
    ReasonCode.ADJ_CLOSE_DISAGREES.value,
    ReasonCode.DIVIDEND_NOT_LISTED.value,
    ReasonCode.DIVIDEND_IN_FOREIGN_CURRENCY.value,
)
"""Names of the codes that `total_returns` answers."""
ADJUSTED, PRICE_ONLY, ACTIONS = 1, 2, 3
DISAGREES, NOT_LISTED, FOREIGN = 1, 2, 3


class Events(NamedTuple):
    """Splits or dividends of many series: shape (m,), in any order. `ordinal` is the session the event takes effect on."""

    series: IntVector
    ordinal: IntVector
    value: FloatVector


NO_EVENTS = Events(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def split_factor(series: IntVector, ordinal: IntVector, splits: Events) -> FloatVector:
    """What a split-adjusted price must be multiplied by to be as traded: the product of all later splits' new shares per old.

    series, ordinal : shape (n,), sorted by series, then ordinal.
    splits          : every split the source applied, also those after the last row.
    Shape (n,); 1 where no split follows. A row on the split's own session is already on the new basis. Factors are
    multiplied in order of time, so the result does not depend on the order in which the source lists them.
    """
    factor = np.ones(len(series))
    starts = np.searchsorted(series, splits.series, side="left")
    ends = np.searchsorted(series, splits.series, side="right")
    for index in np.lexsort((splits.value, splits.ordinal)):
        start = starts[index]
        before = start + np.searchsorted(ordinal[start : ends[index]], splits.ordinal[index], side="left")
        factor[start:before] *= splits.value[index]
    return factor


def on_rows(series: IntVector, ordinal: IntVector, events: Events, *, product: bool) -> FloatVector:
    """Events laid on the rows they take effect on: shape (n,), the product (else the sum) of a row's events, 1 (else 0) without.

    An event on a session without a row is not laid on a later one: the return that would hold it spans a hole and is missing.
    """
    laid = np.full(len(series), 1.0 if product else 0.0)
    if not len(events.series) or not len(series):
        return laid
    # One key a (series, session), in the rows' order, so that the look-up is one binary search.
    width = int(max(ordinal.max(), events.ordinal.max())) + 1
    keys = series * width + ordinal
    wanted = events.series * width + events.ordinal
    at = np.searchsorted(keys, wanted)
    hits = np.flatnonzero((at < len(keys)) & (keys[np.minimum(at, len(keys) - 1)] == wanted))
    # In order of value, not of listing: the sum of three dividends of one day is the same in every digit.
    hits = hits[np.argsort(events.value[hits], kind="stable")]
    (np.multiply if product else np.add).at(laid, at[hits], events.value[hits])
    return laid


class Returns(NamedTuple):
    """Simple daily total returns, decimal, with the indices into `BASES` and `REMARKS` of each: all shape (n,), NaN and 0 without."""

    value: FloatVector
    basis: NDArray[np.int8]
    remark: NDArray[np.int8]


def total_returns(
    series: IntVector,
    ordinal: IntVector,
    *,
    adj_close: FloatVector,
    split_close: FloatVector,
    close: FloatVector,
    splits: Events = NO_EVENTS,
    dividends: Events = NO_EVENTS,
    left_out: Events = NO_EVENTS,
    lists_actions: NDArray[np.bool_],
) -> Returns:
    """Simple daily returns, decimal, each from one column at both ends (docs/methods.md §1).

    adj_close, split_close, close : shape (n,); adjusted for dividends and splits, for splits only, and as traded; NaN where unknown.
    left_out                      : payments that are listed and not among the dividends (another currency); values are not looked at.
    lists_actions                 : shape (n,); whether the row's source lists actions, without which as-traded closes say nothing.

    On a session with a listed action the return comes from closes and actions: vendors adjust for a payment twice, or not at all.
    On any other the adjusted closes stand: lists are incomplete. Neither is ever added to the other. Where they differ by more than
    `RETURN_DISAGREEMENT` a remark says so. NaN where the session before has no row of the same series, or no column has both ends. An
    adjusted close that is not finite and above zero is none. A return never spans a hole and never mixes columns.
    """
    n = len(series)
    found = Returns(np.full(n, np.nan), np.zeros(n, np.int8), np.zeros(n, np.int8))
    if n < 2:
        return found
    neighbours = (series[1:] == series[:-1]) & (ordinal[1:] == ordinal[:-1] + 1)
    split = on_rows(series, ordinal, splits, product=True)[1:]
    dividend = on_rows(series, ordinal, dividends, product=False)[1:]
    incomplete = _has_event(series, ordinal, left_out)
    acted = (_has_event(series, ordinal, splits) | _has_event(series, ordinal, dividends)) & ~incomplete
    adjusted = _ratio(np.where(np.isfinite(adj_close) & (adj_close > 0), adj_close, np.nan))
    told = np.where(lists_actions[1:], split * (close[1:] + dividend) / close[:-1], np.nan)
    ranked = (
        (ACTIONS, np.where(acted, told, np.nan)),
        (ADJUSTED, adjusted),
        (ACTIONS, told),
        (PRICE_ONLY, _ratio(split_close)),
    )
    value, basis, remark = (column[1:] for column in found)
    for code, ratio in ranked:
        take = neighbours & (basis == 0) & np.isfinite(ratio)
        value[take] = ratio[take] - 1.0
        basis[take] = code
    with np.errstate(invalid="ignore"):  # NaN is not beyond the limit
        remark[(basis == ACTIONS) & acted & (np.abs(adjusted - told) > RETURN_DISAGREEMENT)] = DISAGREES
        remark[(basis == ADJUSTED) & ~acted & (adjusted - told > RETURN_DISAGREEMENT)] = NOT_LISTED
    remark[neighbours & incomplete & (basis != 0)] = FOREIGN
    return found


def _ratio(column: FloatVector) -> FloatVector:
    ratio: FloatVector = column[1:] / column[:-1]
    return ratio


def _has_event(series: IntVector, ordinal: IntVector, events: Events) -> NDArray[np.bool_]:
    """Whether one takes effect on the row: shape (n - 1,), without the first row."""
    ones = events._replace(value=np.ones(len(events.value)))
    has: NDArray[np.bool_] = on_rows(series, ordinal, ones, product=False)[1:] > 0
    return has


class GapRange(NamedTuple):
    first: int
    last: int
    reason: str


def missing_spans(
    first: int, last: int, have: IntVector, *, listed_from: int | None, delisted_from: int | None, absent: str | None
) -> list[GapRange]:
    """The sessions of [first, last] without a bar, as runs of one reason.

    have          : ordinals of the bars, ascending.
    listed_from   : first session any source has a bar of; earlier ones are `not_yet_listed`.
    delisted_from : from here on a missing bar is `delisted`, by an announcement of that date.
    absent        : the chain's own reason, which stands for every missing session; None if the source simply has no bar there.
    A series that merely ends is `no_trade`: nobody said that it was delisted, and in a replay nobody could have known.
    """
    missing = np.ones(last - first + 1, dtype=bool)
    missing[have[(have >= first) & (have <= last)] - first] = False
    where = np.flatnonzero(missing) + first
    if not len(where):
        return []
    if absent is not None:
        codes = np.zeros(len(where), np.int64)
        reasons = [absent]
    else:
        reasons = [ReasonCode.NO_TRADE.value, ReasonCode.NOT_YET_LISTED.value, ReasonCode.DELISTED.value]
        early = where < listed_from if listed_from is not None else np.zeros(len(where), bool)
        late = where >= delisted_from if delisted_from is not None else np.zeros(len(where), bool)
        codes = np.where(early, 1, np.where(late, 2, 0))
    breaks = np.flatnonzero((np.diff(where) != 1) | (np.diff(codes) != 0)) + 1
    starts = np.concatenate(([0], breaks))
    ends = np.concatenate((breaks, [len(where)])) - 1
    return [GapRange(int(where[a]), int(where[b]), reasons[codes[a]]) for a, b in zip(starts, ends, strict=True)]


def replace_gaps(
    existing: Iterable[PriceGap], checked: Iterable[tuple[int, int]], found: Sequence[PriceGap]
) -> list[PriceGap]:
    """A symbol's gaps after [first, last] of each `checked` range was asked for anew and `found` is what is missing there.

    Outside the checked ranges the old gaps stay. Neighbours of one reason and state are joined, so that a dead symbol is one
    row however many nights pass. A transient reason that is found again keeps the time it was first seen: that is when the
    waiting began. Answers disjoint gaps, ascending.
    """
    ranges = sorted(checked)
    kept: list[PriceGap] = []
    waiting: list[PriceGap] = []
    for gap in existing:
        pieces = [gap]
        for first, last in ranges:
            pieces = [part for piece in pieces for part in _outside(piece, first, last)]
        kept += pieces
        if not gap.terminal:
            waiting.append(gap)
    fresh = []
    for gap in found:
        since = [
            old.checked_at
            for old in waiting
            if old.reason == gap.reason and old.first <= gap.last and old.last >= gap.first
        ]
        fresh.append(gap._replace(checked_at=min([gap.checked_at, *since])) if since and not gap.terminal else gap)
    joined: list[PriceGap] = []
    for gap in sorted([*kept, *fresh]):
        if joined and gap.first == joined[-1].last + 1 and _alike(gap, joined[-1]):
            before = joined.pop()
            choose = max if gap.terminal else min
            retries = [retry for retry in (before.retry_at, gap.retry_at) if retry is not None]
            gap = gap._replace(  # noqa: PLW2901 - the joined gap takes its parts' place
                first=before.first,
                checked_at=choose(before.checked_at, gap.checked_at),
                retry_at=min(retries, default=None),
            )
        joined.append(gap)
    return joined


def _outside(gap: PriceGap, first: int, last: int) -> list[PriceGap]:
    parts = []
    if gap.first < first:
        parts.append(gap._replace(last=min(gap.last, first - 1)))
    if gap.last > last:
        parts.append(gap._replace(first=max(gap.first, last + 1)))
    return parts


def _alike(one: PriceGap, other: PriceGap) -> bool:
    return (one.reason, one.terminal, one.provider) == (other.reason, other.terminal, other.provider)
