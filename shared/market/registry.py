"""The factor registry: which proxies stand for which factor, and every window, gate and constant of the numbers.

Pure values, no I/O. `MODEL_VERSION` is stored with every result; raise it with any change here that moves a number.
Returns are simple, daily, decimal. Windows count returns (sessions ending at D), so 252 needs 253 prices.
"""

from dataclasses import dataclass
from typing import Final

MODEL_VERSION: Final = "7"


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor and what may stand for it, in order of preference."""

    name: str
    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """The return of one factor's proxy minus another's."""

    name: str
    long: str
    short: str


MARKET: Final = "market"
VALUE: Final = "value"
GROWTH: Final = "growth"
SIZE: Final = "size"
LOW_SIZE_TILT: Final = "SIZE"  # the fund that stands for size where IWM does not: of large and mid caps
RATES: Final = "rates"

# Market first, rates last: arrays in the database carry this order, so it never changes without a new model version.
FACTORS: Final[tuple[Factor, ...]] = (
    Factor(MARKET, ("SPY", "^GSPC")),
    Factor(VALUE, ("VTV", "IVE", "VLUE")),
    Factor(GROWTH, ("VUG", "IVW")),
    Factor("momentum", ("MTUM",)),
    Factor("quality", ("QUAL",)),
    Factor(SIZE, ("IWM", "SIZE")),
    Factor("low_volatility", ("USMV",)),
    Factor(RATES, ("TLT",)),
)
FACTOR_NAMES: Final[tuple[str, ...]] = tuple(factor.name for factor in FACTORS)
STYLES: Final[tuple[str, ...]] = FACTOR_NAMES[1:-1]
# Residuals of value and growth funds correlate at -0.94: in one regression neither has a beta of its own. The joint set has their
# difference as `value`; growth is regressed on by itself, and moves nothing. In the order of preference: two funds of one index family,
# else a value fund less the market.
REPORTED_FACTOR: Final = GROWTH
VALUE_AXES: Final[tuple[tuple[str, str], ...]] = (("VTV", "VUG"), ("IVE", "IVW"), ("VLUE", "SPY"), ("VLUE", "^GSPC"))
JOINT_FACTORS: Final[tuple[bool, ...]] = tuple(name != REPORTED_FACTOR for name in FACTOR_NAMES)
PROXY_SYMBOLS: Final[tuple[str, ...]] = tuple(proxy for factor in FACTORS for proxy in factor.proxies)
# Stands for rates where no fund does: daily returns of a 25-year par bond on the Treasury's curve (shared/market/curve.py). Computed,
# not fetched, so it is none of the symbols above; in arrays of proxies' returns it is the last column.
CURVE_PROXY: Final = "UST25Y"
PROXY_COLUMNS: Final[tuple[str, ...]] = (*PROXY_SYMBOLS, CURVE_PROXY)
AXIS_PROXIES: Final[tuple[str, ...]] = tuple(f"{long}-{short}" for long, short in VALUE_AXES)
# Indices without dividends: a market of their own, but an alpha against them holds the dividend yield and is flagged.
PRICE_INDICES: Final[frozenset[str]] = frozenset({"^GSPC"})

# In the arrays of factors.exposures in this order.
SPREADS: Final[tuple[Spread, ...]] = (
    Spread("growth_value", long="growth", short="value"),
    Spread("momentum", long="momentum", short=MARKET),
    Spread("size", long="size", short=MARKET),
    Spread("quality", long="quality", short=MARKET),
)
SPREAD_NAMES: Final[tuple[str, ...]] = tuple(spread.name for spread in SPREADS)

# Fetched for display and benchmarks, never regressed on.
REFERENCE_ETFS: Final[tuple[str, ...]] = ("QQQ", "VTI", "IEF", "SHY", "HYG", "LQD", "DJP", "VNQ", "GLD")


# --- Annualisation and gates -----------------------------------------------------------------------------------------

SESSIONS_A_YEAR: Final = 252  # the convention of the exchanges: 252 sessions, variance scales linearly
COVERAGE_GATE: Final = (
    0.80  # share of gross value with good inputs; below it a portfolio's figure speaks for too little
)
LOOKBACK: Final = 504  # the longest window of all (volatility series, VaR): what an ingest unit must know before D

# --- Symbol exposures (docs/methods.md §3) ---------------------------------------------------------------------------------

BETA_WINDOW: Final = 252  # a year: long enough for a standard error of about 0.1, short enough to follow the company
BETA_MIN_OBS: Final = 63  # a quarter; below it a beta's standard error is as large as betas differ from each other
BETA_FULL_OBS: Final = 240  # 95 % of the window: a few halted days do not make a history short
BETA_FLAG: Final = 5.0  # beyond it almost always bad data; flagged, never clipped, since sometimes it is true
JOINT_PENALTY: Final = 0.1  # per row, on residual proxies of unit variance: shrinks styles that correlate at -0.95 by
# the same share whatever the window holds; the market and the intercept are not penalised
NO_VARIANCE: Final = (
    1e-20  # of the squares it comes from: a residual this small is rounding, not information, and has no slope
)
EXACT_FIT: Final = 1e-24  # of the total squares: what a fit leaves over below it is rounding, and its error is none
SHRINK_MEAN: Final = 1.0  # the market's own beta, which is the value-weighted mean of all betas
SHRINK_SD: Final = (
    0.5  # spread of true betas across US stocks; fixed, since a cross-section must not enter a symbol's facts
)

# --- Symbol metrics (docs/methods.md §4) -----------------------------------------------------------------------------------

RETURN_HORIZONS: Final[tuple[str, ...]] = ("1d", "1m", "3m", "6m", "12m", "mtd", "qtd", "ytd")  # order of the arrays
HORIZON_MONTHS: Final[dict[str, int]] = {"1m": 1, "3m": 3, "6m": 6, "12m": 12}
VOLATILITY_WINDOWS: Final[tuple[int, ...]] = (21, 63, 252)  # a month, a quarter, a year
NAV_WINDOW: Final = 252  # daily returns of the snapshots: a year, as of the series that it is compared with
VOLATILITY_MIN_SHARE: Final = 0.80  # of the window's returns; the same gate as coverage

# Between adjusted closes and closes with actions: rounded to a cent, those of a share of ten dollars are 10 bp off.
RETURN_DISAGREEMENT: Final = 0.0020

FACT_LOOKBACK: Final = 260  # sessions before D that a symbol's facts may read: 253 prices of a beta, and the base of a
# twelve-month return, which lies at most 256 sessions back

# --- Snapshots (docs/methods.md §6) ----------------------------------------------------------------------------------------

STALE_SESSIONS: Final = 5  # a week carried at the last price; after it a value is no longer evidence: `unpriceable`
OPTION_MULTIPLIER: Final = 100  # shares per listed US equity option contract
XIRR_YEAR_DAYS: Final = (
    365  # ACT/365, and the least age: within a year a rate of a few weeks is raised to a power that says nothing
)
EMPTY_BELOW: Final = 0.01  # of money: what is less cannot be taken out, and an account that has no more is empty
XIRR_LOWEST: Final = -0.9999  # a year: at -1 nothing is left to discount
XIRR_HIGHEST: Final = 10.0  # a year: beyond elevenfold a year a root is a matter of a few days, not of the money

# --- Options (docs/methods.md §5) ------------------------------------------------------------------------------------------

OPTION_RATE: Final = (
    0.02  # a year, continuous; no curve is stored, and little hangs on it: since the volatility is implied
)
# by the option's own price, a point of rate moves the delta of a three-month option at the money by 0.006
OPTION_DEEP: Final = (
    0.10  # of the underlying that exercise is worth: from there on a price without time value is no broken quote
)
OPTION_PARITY: Final = 0.01  # of the underlying that such a price may lie below it: its last trade is of another minute
OPTION_LEAST_VOLATILITY: Final = 0.001  # a year, of what has no time value: it moves with its underlying one for one
OPTION_DAYS_A_YEAR: Final = 365  # calendar days to expiry: how the exchanges and the library quote time
OPTION_MOST_VOLATILITY: Final = (
    8.0  # beyond it a price is that of a broken quote: a share that moves fifty per cent a day
)

# --- Scorecard (docs/methods.md, scorecard) ---------------------------------------------------------------------------------------

SCORED_LEVEL: Final = (
    0.95  # of VaR in the summary: a year has about thirteen exceedances to count; at 0.99 two or three
)
FEW_EXCEEDANCES: Final = 5  # below it one that follows another is as well chance as not
ZONE_MIN_SESSIONS: Final = (
    63  # of a traffic light, a quarter: at 99 % of ten sessions it would be yellow for a single loss, and of five
)
# for none at all

# --- Volatility, correlation, tail (docs/methods.md §7 and §8) -------------------------------------------------------------

PERCENTILE_HISTORY: Final = 252  # earlier rolling-21 values that today's is compared with: 273 returns
TREND_WINDOW: Final = 21  # a month against the month before
TREND_Z: Final = 2.0  # about 5 % false alarms; a t-value of a slope calls 70 % of pure noise a trend
HAR_HORIZON: Final = 21  # sessions ahead
HAR_WEEK: Final = 5  # Corsi 2009
HAR_MONTH: Final = 22  # Corsi 2009
HAR_MIN_OBS: Final = (
    252  # returns: a year, of which 210 rows have a month behind them and one ahead; with fewer, the EWMA
)
HAR_MIN_ROWS: Final = 126  # where the market has holes: each takes 43 rows, and half a year of targets is the least
HAR_INTERVAL_Z: Final = 1.2816  # 80 % of a normal
COMBINED_MIN_ROWS: Final = 63  # days judged, a quarter: with fewer HAR and EWMA count a half each
INTERVAL_WIDTH: Final = (
    1.2  # of the log error: as it stands it covers seven tenths of what came, so widened four fifths
)
HAR_SINGULAR: Final = (
    1e-10  # determinant of the regressors' correlation matrix below which they say the same thing: the EWMA
)
EWMA_DECAY: Final = 0.94  # RiskMetrics 1996, daily
EWMA_MIN_OBS: Final = 63  # with fewer the recursion still remembers where it started: 0.94^63 is 2 %
CORRELATION_WINDOW: Final = 252
CORRELATION_MIN_OBS: Final = 63  # real returns of a holding, and jointly real ones of a displayed pair
SHRINK_LEAST_RATIO: Final = (
    2.0  # sessions a holding: with fewer, eigenvalues are known too badly to be shrunk one by one
)
CLUSTER_CUT: Final = 0.15  # of (1 - rho) / 2: holdings correlated above 0.7 stand together
VAR_LEVELS: Final[tuple[float, ...]] = (0.95, 0.975, 0.99)  # 97.5: the level of expected shortfall in bank rules
VAR_METHODS: Final[tuple[str, ...]] = ("historical", "normal", "filtered")
VAR_INTERVAL: Final = 0.95  # of the order statistics around a historical quantile
FILTER_SIGMAS: Final = (
    10.0  # of its own day's volatility: a return beyond is a jump, whose size does not follow that volatility
)
VAR_DAYS: Final = 10  # sessions ahead, as bank rules ask for
ES_LEVEL: Final = 0.975  # of what the holdings have in the expected shortfall
VAR_MIN_OBS: Final = 252  # at 99 % that leaves two or three observations beyond the quantile: the least one can say

# --- Moves that deserve a remark (docs/methods.md §12) ---------------------------------------------------------------------

SPIKE_FACTOR: Final = 1.9  # of the price in a session: most splits are beyond it, and few days of a listed share
SPIKE_RETURN_SHARE: Final = 0.2  # of a spike's log move may be left after the next session
SPLIT_RATIOS: Final[tuple[float, ...]] = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
SPLIT_TOLERANCE: Final = 0.06  # the market's own move of that session

# --- Stress (docs/methods.md §9) -------------------------------------------------------------------------------------------

STRESS_HALF_LIFE: Final = 63  # sessions; a quarter, so that covariances follow the regime
STRESS_WINDOW: Final = 252
STRESS_CAP_SIGMAS: Final = (
    3.0  # of √63 sessions: uncapped, a crash in which quality funds rise sends momentum down 89 %
)
STRESS_CAP_SESSIONS: Final = 63
IMPLAUSIBLE_SIGMAS: Final = (
    5.0  # of √63 sessions: what is read as a fund's return and was meant as a style's goes to fifteen and more
)
REVERSE_LOSS: Final = 0.10  # of NAV: what a reverse stress asks for; the move grows with it in proportion
STRESS_DURATION_DAYS: Final = 31  # an older one is answered with a remark: a bond fund's moves by a twentieth a year

# --- Performance, attribution, liquidity: computed where they are read (docs/methods.md §16) -----------------------------------------

PERFORMANCE_MIN_OBS: Final = 63  # a quarter of daily returns; the error of a Sharpe ratio is then still two a year
PERFORMANCE_MIN_SHARE: Final = VOLATILITY_MIN_SHARE  # of a range's returns, the same gate as of a volatility
PERFORMANCE_YEAR: Final = 252  # returns: a rate a year of less than a year is an extrapolation, and CDaR has no tail
CDAR_LEVEL: Final = 0.95  # the worst twentieth of a year's drawdowns are thirteen days
DRAWDOWNS_LISTED: Final = 5  # the deepest; the sixth is rarely looked at
ADV_WINDOW: Final = 63  # sessions of volume: a quarter, so that one earnings day does not make a market
ADV_MIN_OBS: Final = 42  # two thirds of them; with fewer the mean is of the days on which it traded at all
ADV_SHARE: Final = 0.20  # of a day's volume that one seller takes without moving it much; the caller may say another
# Funds that stand for the GICS sectors of a benchmark in an attribution (Select Sector SPDR): their returns are the sectors'.
SECTOR_FUNDS: Final[dict[str, str]] = {
    "Communication Services": "XLC",
    "Consumer Discretionary": "XLY",
    "Consumer Staples": "XLP",
    "Energy": "XLE",
    "Financials": "XLF",
    "Health Care": "XLV",
    "Industrials": "XLI",
    "Information Technology": "XLK",
    "Materials": "XLB",
    "Real Estate": "XLRE",
    "Utilities": "XLU",
}


def proxy_legs(proxy: str) -> tuple[str, str | None]:
    """The fund whose return a proxy is, and the one whose return is taken off, where it is the difference of two: `VTV-VUG`."""
    if proxy in AXIS_PROXIES:
        return VALUE_AXES[AXIS_PROXIES.index(proxy)]
    return proxy, None


def is_one_leg(proxy: str) -> bool:
    """Whether a proxy of value is a fund less the market, for want of a growth fund of its family."""
    return proxy_legs(proxy)[1] in FACTORS[0].proxies


def hac_lag(n_obs: int) -> int:
    """Newey-West's rule of thumb for the Bartlett kernel, ⌊4(n/100)^(2/9)⌋ (Newey and West, 1994)."""
    return int(4.0 * (n_obs / 100.0) ** (2.0 / 9.0))
