"""A symbol's own returns and volatilities (docs/methods.md §4)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.arrays import BoolMatrix, DateVector, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market import registry
from shared.market.reasons import ReasonCode

NO_BASE: Final = ReasonCode.NO_BASE.value
NO_PRICE: Final = ReasonCode.NO_TRADE.value
NO_DIVIDENDS: Final = ReasonCode.NO_DIVIDENDS.value
ADJUSTED_ONLY: Final = ReasonCode.ADJUSTED_ONLY.value
SHORT_HISTORY: Final = ReasonCode.SHORT_HISTORY.value
DISAGREES: Final = ReasonCode.ADJ_CLOSE_DISAGREES.value
# What ingest says beside a daily return, by what matters most to who reads a total return.
REMARKS: Final = (
    ReasonCode.DIVIDEND_IN_FOREIGN_CURRENCY.value,
    DISAGREES,
    ReasonCode.DIVIDEND_NOT_LISTED.value,
)

_HORIZONS: Final = len(registry.RETURN_HORIZONS)
_SESSIONS_A_BLOCK: Final = 64  # times 8 horizons and 500 symbols: 2 MB an array
_SESSIONS_AT_ONCE: Final = 8  # times 500 symbols times 252 returns: 8 MB, some times over


@dataclass(frozen=True, slots=True)
class Prices:
    """What ingest stored, T sessions without omissions by S symbols; NaN where there is nothing.

    close      : as traded, money a share
    adj_close  : adjusted for splits and dividends; only ratios mean anything
    returns    : simple daily total returns, decimal
    split      : new shares per old on the ex-session, 1.0 without a split
    price_only : whether that session's return leaves dividends out
    as_delivered : whether the close is the file's, its splits unknown
    remark     : what deserves one about that session's return, from 1 on in `REMARKS`; 0 for nothing. None: nowhere
    """

    close: FloatMatrix
    adj_close: FloatMatrix
    returns: FloatMatrix
    split: FloatMatrix
    price_only: BoolMatrix
    as_delivered: BoolMatrix
    remark: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """K sessions, S symbols; decimals; NaN where there is no figure.

    price        : (K, S) as traded, else adjusted
    basis        : (K, S) index into `BASES`
    price_return : (K, S, 8) in the order of `RETURN_HORIZONS`, splits taken out
    total_return : (K, S, 8)
    volatility   : (K, S, 3) annualised (√252, ddof=1) over 21, 63 and 252 sessions
    without_dividends : (K, S, 8) whether that total return has a part without dividends
    remarked     : (K, S, 8, R) whether a daily return in that total return has the remark, in the order of `REMARKS`
    has_base     : (K, 8) whether the base session lies within the sessions given
    adjusted_only: (K, S) there is a price, but no close
    """

    price: FloatMatrix
    basis: IntVector
    price_return: FloatCube
    total_return: FloatCube
    volatility: FloatCube
    without_dividends: NDArray[np.bool_]
    remarked: NDArray[np.bool_]
    has_base: BoolMatrix
    adjusted_only: BoolMatrix

    def quality(self) -> NDArray[np.str_]:
        """(K, S) `full` if nothing is missing, `none` without a price, else `limited`."""
        figures = np.concatenate([self.price_return, self.total_return, self.volatility], axis=-1)
        some = np.where(np.isnan(figures).any(axis=-1), "limited", "full")
        return np.where(np.isnan(self.price), "none", some)

    def signatures(self) -> IntVector:
        """(K, S) numbers; within a session, equal ones have equal `reasons`. There are few, and reasons are slow to build."""
        gone = np.isnan(np.concatenate([self.price_return, self.total_return, self.volatility], axis=-1))
        flags = [np.isnan(self.price), self.adjusted_only]
        flags += [*np.moveaxis(gone, -1, 0), *np.moveaxis(self.without_dividends, -1, 0)]
        flags += [*np.moveaxis(self.remarked.reshape(*self.price.shape, -1), -1, 0)]
        out = np.zeros(self.price.shape, dtype=np.int64)
        for bit, flag in enumerate(flags):
            out |= flag.astype(np.int64) << bit
        return out

    def reasons(self, k: int, s: int, *, absent: str | None = None) -> dict[str, str]:
        """Figure (`price`, `total_return.12m`, `volatility.63`, …) to reason. absent : why there is no price, where known."""
        if np.isnan(self.price[k, s]):
            return {"price": absent or NO_PRICE}
        out: dict[str, str] = {}
        for h, horizon in enumerate(registry.RETURN_HORIZONS):
            absent = NO_PRICE if self.has_base[k, h] else NO_BASE
            if np.isnan(self.price_return[k, s, h]):
                out[f"price_return.{horizon}"] = ADJUSTED_ONLY if self.adjusted_only[k, s] else absent
            if np.isnan(self.total_return[k, s, h]):
                out[f"total_return.{horizon}"] = absent
            elif self.without_dividends[k, s, h]:
                out[f"total_return.{horizon}"] = NO_DIVIDENDS
            elif self.remarked[k, s, h].any():
                out[f"total_return.{horizon}"] = REMARKS[int(self.remarked[k, s, h].argmax())]
        for w, window in enumerate(registry.VOLATILITY_WINDOWS):
            if np.isnan(self.volatility[k, s, w]):
                out[f"volatility.{window}"] = SHORT_HISTORY
        return out


BASES: Final = ("close", "file", "adj_close", None)


def bases(sessions: DateVector, at: IntVector) -> NDArray[np.int64]:
    """Rows of the base sessions, (K, 8) in the order of `RETURN_HORIZONS`; -1 where it lies before the first row.

    sessions : (T,) consecutive sessions, ascending
    at       : (K,) rows of the sessions asked for

    One day: the session before. To date: the last session of the month, quarter, year before. Months: the last session on or
    before the same day of the earlier month, clipped to its end (from 31 March one month back is 28 or 29 February).
    """
    day = sessions[at]
    month = day.astype("datetime64[M]")
    of_month = (day - month.astype("datetime64[D]")).astype(np.int64)
    quarter = month - month.astype(np.int64) % 3
    year = day.astype("datetime64[Y]")
    out = np.empty((len(at), _HORIZONS), dtype=np.int64)
    for h, horizon in enumerate(registry.RETURN_HORIZONS):
        if horizon == "1d":
            out[:, h] = at - 1
        elif horizon in registry.HORIZON_MONTHS:
            earlier = month - registry.HORIZON_MONTHS[horizon]
            length = ((earlier + 1).astype("datetime64[D]") - earlier.astype("datetime64[D]")).astype(np.int64)
            target = earlier.astype("datetime64[D]") + np.minimum(of_month, length - 1)
            out[:, h] = np.searchsorted(sessions, target, side="right") - 1
        else:
            start = {"mtd": month, "qtd": quarter, "ytd": year}[horizon].astype("datetime64[D]")
            out[:, h] = np.searchsorted(sessions, start, side="left") - 1
    return out


def metrics(prices: Prices, sessions: DateVector, at: IntVector) -> Metrics:
    """All metrics of S symbols at K sessions.

    A total return is Π(1 + r) over the sessions after the base; where a session in between has none, the ratio of the
    adjusted closes at both ends, if both are there, with the returns in between that contradict the adjusted closes in their place.
    Nothing is taken from another row or column than these.
    """
    close, adjusted = prices.close[at], prices.adj_close[at]
    basis = np.where(
        np.isfinite(close), np.where(prices.as_delivered[at], 1, 0), np.where(np.isfinite(adjusted), 2, 3)
    ).astype(np.int64)
    from_row = bases(sessions, at)
    horizons = _Horizons(prices)
    # One block at least, so that there are arrays of no session too.
    blocks = [
        horizons.of(at[low : low + _SESSIONS_A_BLOCK], from_row[low : low + _SESSIONS_A_BLOCK])
        for low in range(0, max(1, len(at)), _SESSIONS_A_BLOCK)
    ]
    price_return, total_return, without, remarked = map(np.concatenate, zip(*blocks, strict=True))
    return Metrics(
        price=np.where(np.isfinite(close), close, adjusted),
        basis=basis,
        price_return=price_return,
        total_return=total_return,
        volatility=volatility(prices.returns, at),
        without_dividends=without,
        remarked=remarked,
        has_base=from_row >= 0,
        adjusted_only=basis == BASES.index("adj_close"),
    )


class _Horizons:
    """Returns from the base sessions to some sessions. Products run one after the other, all else over a block of sessions at once."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        # Symbol by row, so that each product runs over a contiguous axis whose length the session alone decides.
        self._growth = np.ascontiguousarray(prices.returns.T) + 1.0
        self._split = np.ascontiguousarray(prices.split.T)
        self._has_split = np.flatnonzero((self._split != 1.0).any(axis=1))
        remark = np.zeros(prices.close.shape, np.int64) if prices.remark is None else prices.remark
        self._correction = np.ascontiguousarray(_corrections(prices, remark).T)
        self._corrected = np.flatnonzero((self._correction != 1.0).any(axis=1))
        self._no_dividends = np.vstack(
            [np.zeros((1, prices.close.shape[1]), np.int64), np.cumsum(prices.price_only, axis=0)]
        )
        remarks = np.cumsum(remark[..., None] == np.arange(1, len(REMARKS) + 1), axis=0)
        self._remarks = np.concatenate([np.zeros_like(remarks[:1]), remarks])
        self._there = np.isfinite(prices.close) | np.isfinite(prices.adj_close)

    def of(
        self, at: IntVector, from_row: IntVector
    ) -> tuple[FloatCube, FloatCube, NDArray[np.bool_], NDArray[np.bool_]]:
        """Price and total returns of the sessions, whether parts of them lack dividends, and the remarks: (k, S, 8) each, and (R,) more.

        at : (k,). from_row : (k, 8) of `bases`
        """
        prices, base, row = self._prices, np.maximum(from_row, 0), at[:, None]
        growth, split, correction = self._products(at, from_row)
        known = (from_row >= 0)[:, :, None]
        over = prices.adj_close[row] / prices.adj_close[base]
        over[:, :, self._corrected] *= correction
        ends = known & self._there[base] & self._there[row]
        total = np.where(ends, np.where(np.isfinite(growth), growth, over), np.nan) - 1.0
        price = np.where(known, prices.close[row] * split / prices.close[base] - 1.0, np.nan)
        without = known & _some_between(self._no_dividends, row, base)
        remarked = known[..., None] & _some_between(self._remarks, row, base)
        return tuple(np.ascontiguousarray(np.swapaxes(of, 1, 2)) for of in (price, total, without, remarked))  # type: ignore[return-value]

    def _products(self, at: IntVector, from_row: IntVector) -> tuple[FloatCube, FloatCube, FloatCube]:
        """(k, 8, S) of what the sessions after the base grew by, and of their splits; (k, 8, C) of the corrections of the corrected."""
        shape = (len(at), _HORIZONS, len(self._growth))
        growth, split = np.ones(shape), np.ones(shape)
        correction = np.ones((*shape[:2], len(self._corrected)))
        for k, end in enumerate((at + 1).tolist()):
            for h, base in enumerate(from_row[k].tolist()):
                if base < 0:
                    continue
                own = slice(base + 1, end)
                self._growth[:, own].prod(axis=-1, out=growth[k, h])
                if len(self._has_split):
                    split[k, h, self._has_split] = self._split[self._has_split, own].prod(axis=-1)
                if len(self._corrected):
                    correction[k, h] = self._correction[self._corrected, own].prod(axis=-1)
        return growth, split, correction


def _some_between(counts: IntVector, row: IntVector, base: IntVector) -> NDArray[np.bool_]:
    """(k, 8, S, …) whether there is any after the base up to the row; counts : (T + 1, S, …) up to each row. Mostly there is none."""
    if not counts[-1].any():
        return np.zeros((*base.shape, *counts.shape[1:]), dtype=np.bool_)
    found: NDArray[np.bool_] = counts[row + 1] > counts[base + 1]
    return found


def _corrections(prices: Prices, remark: NDArray[np.int64]) -> FloatMatrix:
    """(T, S) by what a ratio of adjusted closes over a session must be multiplied where its return contradicts them; else 1."""
    out = np.ones_like(prices.returns)
    t, s = np.nonzero((remark == REMARKS.index(DISAGREES) + 1) & np.isfinite(prices.returns))
    out[t, s] = (1.0 + prices.returns[t, s]) * prices.adj_close[t - 1, s] / prices.adj_close[t, s]
    return np.where(np.isfinite(out), out, 1.0)


def has_recent_price(prices: Prices, at: IntVector) -> BoolMatrix:
    """(K, S) whether a symbol has any price in the `FACT_LOOKBACK` sessions up to row `at` and on it. Where not, it has no figure.

    at : (K,) rows of the sessions asked for
    """
    there = np.isfinite(prices.close) | np.isfinite(prices.adj_close) | np.isfinite(prices.returns)
    counts = np.vstack([np.zeros((1, there.shape[1]), np.int64), np.cumsum(there, axis=0)])
    found: BoolMatrix = counts[at + 1] > counts[np.maximum(at - registry.FACT_LOOKBACK, 0)]
    return found


def volatility(returns: FloatMatrix, at: IntVector) -> FloatCube:
    """Annualised standard deviation (√252, ddof=1) of the returns in the last 21, 63 and 252 sessions, (K, S, 3).

    returns : (T, S) decimal daily. NaN where fewer than 80 % of the window's returns are there; those that are missing
    are left out, never taken for zero.
    """
    t, s = returns.shape
    out = np.full((len(at), s, len(registry.VOLATILITY_WINDOWS)), np.nan)
    for w, window in enumerate(registry.VOLATILITY_WINDOWS):
        padded = np.full((s, t + window - 1), np.nan)
        padded[:, window - 1 :] = returns.T
        spans = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)
        for start in range(0, len(at), _SESSIONS_AT_ONCE):
            rows = at[start : start + _SESSIONS_AT_ONCE]
            out[start : start + len(rows), :, w] = _deviation(np.ascontiguousarray(spans[:, rows]), window).T
    return out


def _deviation(spans: FloatCube, window: int) -> FloatVector:
    there = np.isfinite(spans)
    n = there.sum(axis=-1)
    enough = n >= registry.VOLATILITY_MIN_SHARE * window
    mean = np.where(there, spans, 0.0).sum(axis=-1) / np.maximum(n, 1)
    deviation = np.where(there, spans - mean[..., None], 0.0)
    variance = (deviation * deviation).sum(axis=-1) / np.maximum(n - 1, 1)
    result: FloatVector = np.where(enough, np.sqrt(variance * registry.SESSIONS_A_YEAR), np.nan)
    return result
