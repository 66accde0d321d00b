"""What the figures said before, and what came: `python -m tests.realdata.reality [docs/reality-check.md]` on the shared prices.

Every figure is computed by the services' own code on prices up to the day it is of; what came is the product of later returns.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from services.risk.compute import covariance
from services.risk.compute.scenarios import Replay
from services.risk.compute.tail import tails
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS, VAR_LEVELS
from tests.realdata.conftest import BESIDE, PRICES, VARIABLE
from tests.realdata.forecasts import forecast_and_came
from tests.support import chain, markdown
from tests.support.chain import SCENARIOS, Unit, pictured
from tests.support.pricefiles import Grid, grid

FIRST, LAST = date(2010, 1, 4), date(2023, 12, 29)
WINDOWS = {s.id: s.replay for s in SCENARIOS.scenarios if s.replay is not None}
# Equal weights in what the shared files hold; "long and short" is short the last three.
BOOKS: Mapping[str, tuple[str, ...]] = {
    "growth": ("AAPL", "MSFT", "AMZN", "GOOG", "META", "CRM"),
    "broad": ("JPM", "JNJ", "XOM", "PG", "HD", "KO", "WMT", "IBM"),
    "with bonds and gold": ("SPY", "TLT", "GLD", "IWM", "MSFT", "KO"),
    "index funds and giants": ("SPY", "IWM", "VTV", "VUG", "QUAL", "AMZN", "GOOG", "META"),
    "long and short": ("AAPL", "JPM", "JNJ", "HD", "MSFT", "XOM", "IWM", "BAC"),
}
SHORTS = 3
LEAST_SESSIONS = 100  # of a year that is counted
NAV = 100_000.0
SINGLE = ("SPY", "AAPL", "MSFT", "IBM", "BAC", "TLT", "GLD", "IWM", "VTV", "VUG", "USO", "WM")
TWINS = (("SPY", "IVV"), ("VTV", "IVE"), ("GOOG", "GOOGL"), ("IWM", "IJR"), ("VUG", "IVW"), ("EEM", "VWO"))
TWIN_DAYS = (date(2018, 2, 7), date(2020, 2, 19), date(2020, 12, 31))


@dataclass(frozen=True)
class Replayed:
    """Of one book and window: decimals of each position's value; `fell` what a market-only script of the same fall says."""

    window: str
    book: str
    said: dict[str, float]
    came: dict[str, float]
    fell: dict[str, float]
    weights: dict[str, float]

    def error(self, of: Mapping[str, float]) -> float:
        return float(np.mean([abs(of[s] - self.came[s]) for s in self.came]))

    def whole(self, of: Mapping[str, float]) -> float:
        return sum(self.weights[s] * of[s] for s in self.came)


def weights(book: str) -> dict[str, float]:
    symbols = BOOKS[book]
    shorts = symbols[-SHORTS:] if book == "long and short" else ()
    return {symbol: (-1.0 if symbol in shorts else 1.0) / len(symbols) for symbol in symbols}


def grown(of: Grid, symbol: str, first: date, last: date) -> float:
    """Total return from the close of `first` to that of `last`."""
    return float(np.prod(1.0 + of.of(symbol)[of.row(first) + 1 : of.row(last) + 1])) - 1.0


def replayed(of: Grid, id_: str, window: Replay, book: str) -> Replayed | None:
    """None where the prices do not reach from two years before the window to its end."""
    own = weights(book)
    came = {s: grown(of, s, window.first, window.last) for s in own}
    came = {s: value for s, value in came.items() if math.isfinite(value)}
    values = {s: NAV * weight for s, weight in own.items() if s in came}
    if len(values) < len(own) - 1:
        return None
    before = pictured(chain.panel(of.by_symbol(window.first), labels=[window.first]), Unit(NAV, values))[0]
    by_id = {s["id"]: s["propagated"] for s in before.stress["scenarios"]}
    if by_id[id_] is None:
        return None
    said = {s: by_id[id_]["by_position"][s] / values[s] for s in values}
    beta = {p["symbol"]: p["betas"]["market"] for p in before.exposures["positions"]}
    fell = {s: max(beta[s] * window.returns["SPY"], -1.0) for s in values}
    return Replayed(id_, book, said, came, fell, own)


def exceedances(of: Grid, book: str) -> Iterator[tuple[int, int, list[int]]]:
    """By year: sessions, and how often each of historical 95, 97.5, 99 and filtered 95, 97.5, 99 was exceeded the next day."""
    own = weights(book)
    series = np.column_stack([of.of(symbol) for symbol in own]) @ np.array(list(own.values()))
    there = np.isfinite(series)
    start = int(np.flatnonzero(there)[0])
    r = series[start:]
    days = of.sessions[start:]
    past = np.lib.stride_tricks.sliding_window_view(r, LOOKBACK)[:-1]
    known = np.isfinite(past)
    found = tails(np.where(known, past, 0.0), known, VAR_LEVELS)
    later, when = r[LOOKBACK:], days[LOOKBACK:].astype("datetime64[Y]").astype(int) + 1970
    lines = [t for method in ("historical", "filtered") for t in found if t.method == method]
    for year in np.unique(when).tolist():
        at = (when == year) & np.isfinite(later)
        if at.sum() < LEAST_SESSIONS:
            continue
        yield year, int(at.sum()), [int((-later[at] > line.var[at]).sum()) for line in lines]


def covered(of: Grid, symbol: str) -> tuple[int, float, float]:
    """(forecasts, share of what came that lay in the interval, mean error), every fifth session."""
    found, later, good = forecast_and_came(of, symbol)
    inside = ((later >= found.low) & (later <= found.high))[good]
    return int(good.sum()), float(inside.mean()), float((found.value - later)[good].mean())


def twins(of: Grid, pair: Sequence[str], day: date) -> tuple[float, float, float, float] | None:
    """(sample correlation, answered one, volatility of the hedge that came over the year, answered one)."""
    end = of.row(day) + 1
    values = np.vstack([of.of(symbol)[end - 252 : end] for symbol in pair])
    if not np.isfinite(values).all():
        return None
    padded = np.hstack([np.zeros((2, LOOKBACK - 252)), values])
    real = np.ones(padded.shape, dtype=np.bool_)
    ours = covariance.covariance(covariance.columns(padded, real, real), np.arange(2)[None])
    hedge = covariance.decompose(ours, np.array([[1.0, -1.0]])).volatility[0]
    came = float((values[0] - values[1]).std(ddof=1) * math.sqrt(252))
    return float(np.asarray(np.corrcoef(values))[0, 1]), float(ours.correlation[0, 0, 1]), came, float(hedge)


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}".replace("-", "−")


def document(prices: Path) -> str:
    symbols = sorted({*PROXY_SYMBOLS, *SINGLE, *(s for b in BOOKS.values() for s in b), *(s for t in TWINS for s in t)})
    of = grid(prices, symbols, FIRST, LAST)
    lines = [_HEAD]
    lines += [
        "## Replays, before and after",
        "",
        _REPLAYS,
        "",
        "| window | book | said | came | off, by position | market alone, off |",
    ]
    lines.append("|---|---|---|---|---|---|")
    details: list[str] = []
    for id_, window in WINDOWS.items():
        for book in BOOKS:
            if (found := replayed(of, id_, window, book)) is None:
                continue
            lines.append(
                f"| `{id_}` | {book} | {percent(found.whole(found.said))} | {percent(found.whole(found.came))} | "
                f"{percent(found.error(found.said))} | {percent(found.error(found.fell))} |"
            )
            each = (f"{s} {percent(found.said[s], 0)} / {percent(found.came[s], 0)}" for s in found.came)
            details.append(f"- `{id_}`, {book}: " + ", ".join(each))
    lines += ["", "By position, said / came in %:", "", *details, ""]
    lines += ["## Value at risk, by year", "", _TAIL, ""]
    for book in BOOKS:
        lines += [
            f"**{book}**",
            "",
            "| year | sessions | due | 95 | 97.5 | 99 | filtered 95 | 97.5 | 99 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        total, counts = 0, [0] * 6
        for year, n, own in exceedances(of, book):
            due = " / ".join(f"{(1 - level) * n:.1f}" for level in VAR_LEVELS)
            lines.append(f"| {year} | {n} | {due} | " + " | ".join(map(str, own)) + " |")
            total, counts = total + n, [a + b for a, b in zip(counts, own, strict=True)]
        due = " / ".join(f"{(1 - level) * total:.0f}" for level in VAR_LEVELS)
        lines += [f"| all | {total} | {due} | " + " | ".join(map(str, counts)) + " |", ""]
    lines += [
        "## The forecast's interval",
        "",
        _INTERVAL,
        "",
        "| symbol | forecasts | inside, % | mean error, points |",
        "|---|---|---|---|",
    ]
    shares = []
    for symbol in SINGLE:
        n, share, error = covered(of, symbol)
        shares.append(share)
        lines.append(f"| {symbol} | {n} | {percent(share, 0)} | {percent(error)} |")
    lines += [f"| all | | {percent(float(np.mean(shares)), 0)} | |", ""]
    lines += [
        "## Twins",
        "",
        _TWINS,
        "",
        "| pair | day | ρ, sample | ρ, answered | hedge, sample % | hedge, answered % |",
        "|---|---|---|---|---|---|",
    ]
    for pair in TWINS:
        for day in TWIN_DAYS:
            if (both := twins(of, pair, day)) is not None:
                rho, answered, came, hedge = both
                lines.append(
                    f"| {'/'.join(pair)} | {day} | {rho:.4f} | {answered:.4f} | {percent(came, 2)} | {percent(hedge, 2)} |"
                )
    return "\n".join(lines) + "\n"


_HEAD = """# Reality check

What the figures said on a day, from prices up to that day, and what came after it, on real prices of 2010 to 2023 that may
not be shipped. Made by `python -m tests.realdata.reality docs/reality-check.md`, which computes with the services' own code;
the bounds that must hold are tests (`tests/realdata/test_figures.py`).
"""
_REPLAYS = """A replay of a window that came afterwards is no forecast: it asks whether the session's betas, given what the factors
then did, say what holdings did. In % of NAV, equal weights; *off* is the mean absolute error of the positions, in points, and *market
alone* what a script of the market's fall would have been off by."""
_TAIL = """Equal weights, each day's VaR of the 504 returns before it against the next day. *Due* at 95, 97.5 and 99 %. Plain historical
figures are late: quiet years have too few exceedances and loud ones too many. Filtered ones follow the volatility."""
_INTERVAL = "Every fifth session, the volatility of the 21 sessions after against the 80 % interval."
_TWINS = "Long one and short the other, from the 252 returns up to the day: what shrinking makes of the correlation and of the hedge."


def main() -> None:
    folder = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else BESIDE
    text = document(folder / PRICES)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(markdown.wrap(text), encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
