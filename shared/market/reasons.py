"""Every reason code once: what it means, how far it reaches, who acts, and the remedy.

A reason stands beside a figure that is null or deserves a remark, and in the ledger beside the unit. Pure values, no I/O. The table in
`docs/methods.md` and the texts of API, command line and page come from here; a code that is missing here is refused by `info`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, Literal

Severity = Literal["nav", "risk", "figure"]
Actor = Literal["us", "wait", "you"]

SEVERITIES: Final[tuple[Severity, ...]] = ("nav", "risk", "figure")  # the heaviest first


class ReasonCode(StrEnum):
    """The code as it is stored and answered."""

    # Prices and symbols
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    LATE = "late"
    NOT_FOUND = "not_found"
    AMBIGUOUS = "ambiguous"
    DELISTED = "delisted"
    FOREIGN_CURRENCY = "foreign_currency"
    PLAN_LIMIT = "plan_limit"
    NOT_YET_LISTED = "not_yet_listed"
    NO_TRADE = "no_trade"
    QUARANTINED = "quarantined"
    STALE = "stale"
    UNPRICEABLE = "unpriceable"
    EXPIRED = "expired"
    NO_DIVIDENDS = "no_dividends"
    ADJUSTED_ONLY = "adjusted_only"
    ADJ_CLOSE_DISAGREES = "adj_close_disagrees"
    DIVIDEND_NOT_LISTED = "dividend_not_listed"
    DIVIDEND_IN_FOREIGN_CURRENCY = "dividend_in_foreign_currency"
    PRICE_SPIKE = "price_spike"
    SPLIT_NOT_LISTED = "split_not_listed"
    PRICED_AFTER_GAP = "priced_after_gap"
    OPTION_OVER_SPLIT = "option_over_split"
    # Lots and money
    AMOUNT_TOO_LARGE = "amount_too_large"
    BASIS_UNDECIDED = "basis_undecided"
    PRICE_BASIS_MISMATCH = "price_basis_mismatch"
    PRICE_BASIS_AMBIGUOUS = "price_basis_ambiguous"
    EXIT_PRICE_MISMATCH = "exit_price_mismatch"
    ASSIGNMENT = "assignment"
    PRIVATE = "private"
    NO_CAPITAL = "no_capital"
    NO_ROOT = "no_root"
    NO_HOLDINGS = "no_holdings"
    NAV_NOT_POSITIVE = "nav_not_positive"
    BROKEN_CHAIN = "broken_chain"
    # Figures
    NO_BASE = "no_base"
    NO_PROXY = "no_proxy"
    PRICE_INDEX = "price_index"
    SHORT_HISTORY = "short_history"
    ZERO_VARIANCE = "zero_variance"
    NO_DOWNSIDE = "no_downside"
    ONE_LEG = "one_leg"
    LOW_COVERAGE = "low_coverage"
    NO_DELTA = "no_delta"
    WITH_UNDERLYING = "with_underlying"
    TOO_MANY = "too_many"
    NO_SERIES = "no_series"
    NO_PROVIDER = "no_provider"
    NO_DURATION = "no_duration"
    STALE_DURATION = "stale_duration"
    IMPLAUSIBLE = "implausible"
    NOT_REPLAYED = "not_replayed"
    FEW_EXCEEDANCES = "few_exceedances"
    BEYOND_HOLDINGS = "beyond_holdings"
    NO_BENCHMARK = "no_benchmark"
    NO_RISK_FREE = "no_risk_free"
    NOT_FETCHED = "not_fetched"
    NOT_HELD = "not_held"
    NO_VOLUME = "no_volume"
    NOT_EXCHANGE_TRADED = "not_exchange_traded"
    WINDOW_NOT_PAST = "window_not_past"
    NO_SECTOR_FUND = "no_sector_fund"
    NO_FUND_HOLDINGS = "no_fund_holdings"
    # Work
    BLOCKED = "blocked"
    THINNED_OUT = "thinned_out"


# Why a session has no price: what ingest stores of an absence, and what snapshots and risk read there.
ABSENCES: Final[tuple[ReasonCode, ...]] = (
    ReasonCode.RATE_LIMITED,
    ReasonCode.PROVIDER_DOWN,
    ReasonCode.LATE,
    ReasonCode.NOT_FOUND,
    ReasonCode.AMBIGUOUS,
    ReasonCode.DELISTED,
    ReasonCode.NOT_YET_LISTED,
    ReasonCode.NO_TRADE,
    ReasonCode.QUARANTINED,
    ReasonCode.FOREIGN_CURRENCY,
    ReasonCode.PLAN_LIMIT,
)


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """What a person needs to know about a reason.

    severity : what falls short: the value of the book (`nav`), its risk (`risk`), or one figure (`figure`)
    acts     : who does something about it: Leadline (`us`), time (`wait`), or the reader (`you`)
    remedy   : what heals it, as a sentence without its full stop; starts with a verb where a person acts
    """

    meaning: str
    severity: Severity
    acts: Actor
    remedy: str


_PRICE_WAIT: Final = "Wait: it is asked again by itself"

REASONS: Final[dict[ReasonCode, ReasonInfo]] = {
    ReasonCode.RATE_LIMITED: ReasonInfo(
        "The provider's quota is used up", "nav", "wait", f"{_PRICE_WAIT} when the quota renews"
    ),
    ReasonCode.PROVIDER_DOWN: ReasonInfo(
        "The provider does not answer", "nav", "wait", f"{_PRICE_WAIT}; or enable a second provider"
    ),
    ReasonCode.LATE: ReasonInfo(
        "The provider has not published the session's price yet", "nav", "wait", f"{_PRICE_WAIT} when it is published"
    ),
    ReasonCode.NOT_FOUND: ReasonInfo(
        "No provider knows the symbol",
        "nav",
        "you",
        "Correct the symbol, or add a source that has it; for cash or a money market fund state `investment_subtype` CASH or MONEY_MARKET",
    ),
    ReasonCode.AMBIGUOUS: ReasonInfo(
        "Several securities answer to the symbol", "nav", "you", "Say which one: `leadline resolve SYMBOL`"
    ),
    # What is frozen is known, and stands in the coverage: a name that ended does not keep its portfolio partial for good.
    ReasonCode.DELISTED: ReasonInfo(
        "Trading ended, by a dated announcement; the value is frozen at the last trade",
        "figure",
        "you",
        "Give the position its exit date and price",
    ),
    ReasonCode.FOREIGN_CURRENCY: ReasonInfo(
        "The symbol is priced in another currency than US dollars (in pence, too); nothing is converted",
        "nav",
        "you",
        "Name the US listing or its depositary receipt: `leadline resolve SYMBOL`",
    ),
    ReasonCode.PLAN_LIMIT: ReasonInfo(
        "The plan behind the provider's key does not cover the range, and no other provider has it",
        "nav",
        "you",
        "Take a larger plan or another provider, or enter the position later",
    ),
    ReasonCode.NOT_YET_LISTED: ReasonInfo(
        "The session is before the first bar that any source has",
        "figure",
        "wait",
        "Nothing to do: it fills up with time",
    ),
    ReasonCode.NO_TRADE: ReasonInfo(
        "The source knows the symbol and has no bar for the session",
        "figure",
        "wait",
        "Nothing to do: a later correction of the source is taken up",
    ),
    ReasonCode.QUARANTINED: ReasonInfo(
        "The price jumped by more than five standard deviations on a day without an action, or by a split as if it were not adjusted "
        "for it, and no second provider confirms it",
        "nav",
        "you",
        "Where a split of SESSION is listed, see that the closes are adjusted for it. Where the price is right: `leadline symbols "
        "release SYMBOL SESSION --reason WORDS`; where it is wrong, correct the source, or `leadline symbols reject SYMBOL SESSION "
        "--reason WORDS`",
    ),
    ReasonCode.STALE: ReasonInfo(
        "Carried at the last price, for at most five sessions",
        "figure",
        "wait",
        "Nothing to do: the next price ends it",
    ),
    ReasonCode.UNPRICEABLE: ReasonInfo(
        "No price for more than five sessions, or never one",
        "nav",
        "you",
        "Add a source that prices it, or give the position its exit; for cash or a money market fund state `investment_subtype` CASH or "
        "MONEY_MARKET",
    ),
    ReasonCode.EXPIRED: ReasonInfo(
        "After the option's expiration, without a stated exit, and not settled: the underlying has no close then or was split",
        "nav",
        "you",
        "Give the position its exit: its price, or the value it expired with; `exit_price` 0 if it expired worthless",
    ),
    ReasonCode.ASSIGNMENT: ReasonInfo(
        "Entered at the strike of an option that ended within three sessions: its delivery would count the same money twice",
        "figure",
        "you",
        "If it is the delivery, give the option the exit price 0",
    ),
    ReasonCode.NO_DIVIDENDS: ReasonInfo(
        "The source lists no actions for the symbol: dividends may be missing",
        "nav",
        "you",
        "List them in `corporate_actions.csv` beside the price file, or state there that it pays none",
    ),
    ReasonCode.ADJUSTED_ONLY: ReasonInfo(
        "There is an adjusted close and no close, so no price return", "figure", "you", "Add a source with closes"
    ),
    ReasonCode.ADJ_CLOSE_DISAGREES: ReasonInfo(
        "On a session with a listed action the adjusted closes differ from close and action by more than 20 bp; the action counts",
        "figure",
        "wait",
        "Nothing to do: the return comes from close and action",
    ),
    ReasonCode.DIVIDEND_NOT_LISTED: ReasonInfo(
        "The adjusted closes imply a payment that no source lists; it is in the return and not in the income",
        "figure",
        "wait",
        "Nothing to do; list it in `corporate_actions.csv` if it was paid",
    ),
    ReasonCode.DIVIDEND_IN_FOREIGN_CURRENCY: ReasonInfo(
        "A payment in another currency than US dollars was left out of the actions; the return is that of the adjusted closes",
        "figure",
        "you",
        "Enter it as a flow of your own, or add another provider",
    ),
    ReasonCode.PRICE_SPIKE: ReasonInfo(
        "The price moved by a factor of 1.9 or more in one session and came back in the next, which is often an error of the source; "
        "it stands in the figures",
        "figure",
        "you",
        "Compare the session with another source; correct it in the price file, or enable a second provider",
    ),
    ReasonCode.SPLIT_NOT_LISTED: ReasonInfo(
        "The price moved in one session as a split would move it, and no split is listed",
        "figure",
        "you",
        "If it was a split, list it in `corporate_actions.csv` and give split-adjusted closes",
    ),
    ReasonCode.PRICED_AFTER_GAP: ReasonInfo(
        "The symbol had no price for more than five sessions since the entry and has one again: it may be another security",
        "figure",
        "you",
        "Check that the ticker still is the same company; if not, give the position its exit",
    ),
    ReasonCode.OPTION_OVER_SPLIT: ReasonInfo(
        "The underlying was split since the entry: the contract became another one, with another strike and number of shares",
        "nav",
        "you",
        "Give the position its exit before the split, and enter the adjusted contract",
    ),
    ReasonCode.AMOUNT_TOO_LARGE: ReasonInfo(
        "At the session's price the lot would be worth more than ten trillion, so that price is not taken",
        "nav",
        "you",
        "Correct the lot's quantity or symbol",
    ),
    ReasonCode.BASIS_UNDECIDED: ReasonInfo(
        "Whether the lot's quantity and price are as traded is not settled yet",
        "nav",
        "us",
        "Wait for the prices of the entry session, or state `price_basis`",
    ),
    ReasonCode.PRICE_BASIS_MISMATCH: ReasonInfo(
        "The lot's entry price is far from the close of its entry session on the basis it is on (by half or double; by 15 % where "
        "the source has only adjusted closes), and the difference is in the P&L of the first session",
        "nav",
        "you",
        "Check entry date, price and symbol; state the basis by `POST /portfolios/{id}/price-basis`; or add a source with closes",
    ),
    ReasonCode.PRICE_BASIS_AMBIGUOUS: ReasonInfo(
        "The lot's entry price may be of its entry session as traded and split-adjusted alike; it was taken as traded",
        "figure",
        "you",
        "If it is split-adjusted, say so: `POST /portfolios/{id}/price-basis?basis=split_adjusted`",
    ),
    ReasonCode.EXIT_PRICE_MISMATCH: ReasonInfo(
        "The lot's exit price is less than half or more than double of the close of its exit session, and the difference is in the P&L "
        "of that session",
        "nav",
        "you",
        "Check exit date, price and symbol, and correct the lot",
    ),
    ReasonCode.PRIVATE: ReasonInfo(
        "A holding without a market, at its stated value", "figure", "wait", "Nothing to do: it is not missing"
    ),
    ReasonCode.NO_CAPITAL: ReasonInfo(
        "Nothing was left: a loss of all capital or more, or a P&L on no capital, somewhere in the product of returns; or nothing was in "
        "the account on any session of the range",
        "figure",
        "wait",
        "Nothing for the past; month and year begin anew",
    ),
    ReasonCode.NO_ROOT: ReasonInfo(
        "No rate between −99.99 % and 1,000 % a year with the sign of the profit explains the flows, or several do and none is near what "
        "the money earned on average",
        "figure",
        "wait",
        "Nothing to do",
    ),
    ReasonCode.NO_HOLDINGS: ReasonInfo("Nothing is held on the session", "figure", "wait", "Nothing to do"),
    ReasonCode.NAV_NOT_POSITIVE: ReasonInfo(
        "Net asset value is zero or less: there are no weights",
        "risk",
        "you",
        "Add the flow or the equity that is missing",
    ),
    ReasonCode.BROKEN_CHAIN: ReasonInfo(
        "A snapshot before it is missing or has no return",
        "risk",
        "us",
        "Wait: the snapshots before it are computed first",
    ),
    ReasonCode.NO_BASE: ReasonInfo(
        "The base session of the horizon lies before the history",
        "figure",
        "wait",
        "Nothing to do: it fills up with time",
    ),
    ReasonCode.NO_PROXY: ReasonInfo(
        "None of the factor's proxies has all 252 returns in the window",
        "figure",
        "you",
        "Add prices of one of the factor's proxies",
    ),
    ReasonCode.PRICE_INDEX: ReasonInfo(
        "An index without dividends stands for the market: they are in an alpha against it, and nobody can trade it",
        "figure",
        "you",
        "Add prices of SPY",
    ),
    ReasonCode.SHORT_HISTORY: ReasonInfo(
        "Fewer observations than the figure needs; for `xirr` less than a year",
        "figure",
        "wait",
        "Nothing to do: it fills up with time",
    ),
    ReasonCode.ZERO_VARIANCE: ReasonInfo(
        "The series does not move: its betas are 0, and it has no correlation with anything",
        "figure",
        "wait",
        "Nothing to do: it is not missing",
    ),
    ReasonCode.NO_DOWNSIDE: ReasonInfo(
        "Nothing in the range fell: there is no loss to divide by", "figure", "wait", "Nothing to do: it is not missing"
    ),
    ReasonCode.ONE_LEG: ReasonInfo(
        "A value fund less the market stands for value, for want of a growth fund of its family",
        "figure",
        "wait",
        "Nothing to do: it is not missing. With prices of VTV and VUG, or of IVE and IVW, their difference stands for it",
    ),
    ReasonCode.LOW_COVERAGE: ReasonInfo(
        "Good inputs stand behind less than 0.80 of gross value",
        "risk",
        "wait",
        "See the reasons of the holdings named",
    ),
    ReasonCode.NO_DELTA: ReasonInfo(
        "An option without a delta: uncovered in exposures and stress",
        "risk",
        "you",
        "Add prices of the option and of its underlying on the session",
    ),
    ReasonCode.WITH_UNDERLYING: ReasonInfo(
        "The option's exposure stands with its underlying in the matrix of correlations",
        "figure",
        "wait",
        "Nothing to do: it is not missing",
    ),
    ReasonCode.TOO_MANY: ReasonInfo(
        "The matrix of correlations has the 200 holdings of largest exposure; this one is not among them",
        "figure",
        "wait",
        "Nothing to do; of a portfolio of fewer holdings, all are in it",
    ),
    ReasonCode.NO_SERIES: ReasonInfo(
        "An option's volatility is not measured: the contract is another one every day",
        "figure",
        "wait",
        "Nothing to do",
    ),
    ReasonCode.NO_PROVIDER: ReasonInfo(
        "No provider said anything of it by the session", "figure", "you", "Enable a provider of company data"
    ),
    ReasonCode.NO_DURATION: ReasonInfo(
        "No duration is dated on or before the session, or no yield curve in the month before it",
        "figure",
        "you",
        "Let the yield curve be fetched (`LEADLINE_REFERENCE_PROVIDERS`), or add a dated duration to the scenario file",
    ),
    ReasonCode.STALE_DURATION: ReasonInfo(
        "The newest duration is more than 31 days old",
        "figure",
        "you",
        "Let the yield curve be fetched (`LEADLINE_REFERENCE_PROVIDERS`), or add a newer duration to the scenario file",
    ),
    ReasonCode.IMPLAUSIBLE: ReasonInfo(
        "The scenario moves a style or rates further from the market than five standard deviations of a quarter; of a "
        "reverse stress, losing that much takes more than five, or a factor that loses all",
        "figure",
        "you",
        "Read it as hypothetical, or script the move with `sigmas`",
    ),
    ReasonCode.NOT_REPLAYED: ReasonInfo(
        "The replay has no return of the factor's proxy: the factor follows the others",
        "figure",
        "you",
        "Add prices of one of the factor's proxies",
    ),
    ReasonCode.FEW_EXCEEDANCES: ReasonInfo(
        "Fewer than five losses beyond value at risk: whether they come together is not to be told",
        "figure",
        "wait",
        "Nothing to do: it fills up with time",
    ),
    ReasonCode.BEYOND_HOLDINGS: ReasonInfo(
        "By this method the holdings would lose more than they are worth: what moved them in the past is not what moves them now",
        "figure",
        "wait",
        "Read the historical figure beside it",
    ),
    ReasonCode.NO_BENCHMARK: ReasonInfo(
        "No benchmark weights are dated on or before the session",
        "figure",
        "you",
        "Import them: `leadline benchmark import`",
    ),
    ReasonCode.NO_RISK_FREE: ReasonInfo(
        "No yield curve is dated within the month before a session, so the risk-free rate is taken as 0 there",
        "figure",
        "you",
        "Let the yield curve be fetched (`LEADLINE_REFERENCE_PROVIDERS`)",
    ),
    ReasonCode.NOT_FETCHED: ReasonInfo(
        "Prices of the range are not stored: they are fetched for what portfolios hold, and two years before it",
        "figure",
        "you",
        "Give a portfolio a lot of it with an entry in the range: `leadline import FILE.csv --name Watch --equity 1000`",
    ),
    ReasonCode.NOT_HELD: ReasonInfo(
        "No portfolio held the symbol on the session, and fewer than 63 of its returns are stored: no betas can be fitted",
        "figure",
        "you",
        "Hold a lot of it in a portfolio: its prices are fetched for two years before",
    ),
    ReasonCode.NO_VOLUME: ReasonInfo(
        "Fewer than 42 of the last 63 sessions have a volume above 0",
        "figure",
        "you",
        "Add a source with volumes",
    ),
    ReasonCode.NOT_EXCHANGE_TRADED: ReasonInfo(
        "Shares of a mutual fund, options and private holdings are not sold into the volume of an exchange's day",
        "figure",
        "wait",
        "Nothing to do: it is not missing",
    ),
    ReasonCode.WINDOW_NOT_PAST: ReasonInfo(
        "The range ends after the session, which knows nothing of it",
        "figure",
        "you",
        "Ask for a later session, or an earlier range",
    ),
    ReasonCode.NO_SECTOR_FUND: ReasonInfo(
        "The fund that stands for the sector does not have every return of the range, or of the 252 sessions",
        "figure",
        "you",
        "Let the funds be fetched (`LEADLINE_SECTOR_FUNDS=true`), or add their prices to the file",
    ),
    ReasonCode.NO_FUND_HOLDINGS: ReasonInfo(
        "No list of what the fund holds is dated on or before the session: it is not looked through",
        "figure",
        "you",
        "Load its holdings: `leadline fund import`",
    ),
    ReasonCode.BLOCKED: ReasonInfo(
        "The work failed eight times with an error that does not pass by itself; it is tried once a day",
        "nav",
        "you",
        "Mend what the error names, then `leadline rerun ID --what failed`",
    ),
    ReasonCode.THINNED_OUT: ReasonInfo(
        "The session is older than those of which all risk is kept (`LEADLINE_KEEP_RISK_SESSIONS`), and no month's last",
        "figure",
        "you",
        "Work it out again, to the same digits: `leadline rerun ID --phase risk --what all --from DAY --to DAY`; it stays for a week",
    ),
}


@cache
def info(code: str) -> ReasonInfo:
    """What is known about a reason code, of which answers ask thousands of times; `ValueError` for one that is not in the registry."""
    return REASONS[ReasonCode(code)]


@cache
def severity(code: str, *, within: Severity = "nav") -> Severity:
    """What the reason touches where it stands: never more than `within`, the most that can fall short there."""
    return max(info(code).severity, within, key=SEVERITIES.index)


def colours_state(code: str, *, within: Severity = "nav") -> bool:
    """Whether the reason makes a completed unit `partial` to a reader: it touches value or risk, and the reader can act."""
    return severity(code, within=within) in {"nav", "risk"} and info(code).acts == "you"


def table() -> str:
    """The registry as the Markdown table of `docs/methods.md`."""
    head = "| reason | means | touches | who acts | remedy |\n|---|---|---|---|---|"
    rows = (
        f"| `{code}` | {known.meaning} | {known.severity} | {known.acts} | {known.remedy} |"
        for code, known in REASONS.items()
    )
    return "\n".join((head, *rows)) + "\n"
