"""What Yahoo's data mean, whichever library fetched them: kinds, profiles, statements, which range to ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from math import isfinite
from types import MappingProxyType
from typing import Any

from services.ingest.model.market import (
    LISTED_LATE,
    Bars,
    History,
    Listing,
    NoData,
    NoDataReason,
    Profile,
    Request,
    Unserved,
)
from services.ingest.providers.actions import check_actions, in_effect
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.network import ITEMS, Fundamentals, Statement, StatementKind
from services.ingest.providers.normalise import (
    assert_currency,
    bars,
    check_listing_date,
    from_vendor,
    unadjust_dividends,
)
from services.ingest.providers.publication import (
    FUNDS_PUBLISHED_AT,
    NEW_YORK,
    in_new_york,
    is_fund,
    published_at,
    unpublished_sessions,
)
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo.chart import Chart
from shared.market.calendar import Calendar

# The exchange of Yahoo's list of dead and unknown names. What stands on it with bars has a past all the same.
NOWHERE = "YHD"
# Net asset values are stamped at eight in the evening of New York and come in the hours after it. Until half past midnight one that is
# missing is not out yet; it is asked for a quarter past eight, and hourly then.
VALUES_AT, VALUES_POLL = time(20, 15), timedelta(hours=1)
SUGGESTIONS = 3
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "EQUITY": "stock", "ETF": "etf", "MUTUALFUND": "fund", "INDEX": "index", "MONEYMARKET": "fund", "CRYPTOCURRENCY": "crypto",
        "CURRENCY": "currency", "FUTURE": "future", "OPTION": "option",
    }
)  # fmt: skip
# A range and the calendar days it is sure to reach back. Ranges are counted from today, so a request that ended long ago gets
# everything since: splits after it are needed to bring its prices back to what was traded.
_RANGES = (("5d", 4), ("1mo", 27), ("3mo", 85), ("6mo", 175), ("1y", 360), ("2y", 725), ("5y", 1820), ("10y", 3645))
FIELDS: Mapping[StatementKind, Mapping[str, str]] = MappingProxyType(
    {
        StatementKind.INCOME: {
            "revenue": "TotalRevenue", "cost_of_revenue": "CostOfRevenue", "gross_profit": "GrossProfit",
            "operating_income": "OperatingIncome", "ebitda": "EBITDA", "interest_expense": "InterestExpense",
            "income_tax": "TaxProvision", "net_income": "NetIncome", "eps_basic": "BasicEPS", "eps_diluted": "DilutedEPS",
            "shares_diluted": "DilutedAverageShares",
        },
        StatementKind.BALANCE: {
            "cash": "CashAndCashEquivalents", "current_assets": "CurrentAssets", "total_assets": "TotalAssets",
            "current_liabilities": "CurrentLiabilities", "total_liabilities": "TotalLiabilitiesNetMinorityInterest",
            "total_debt": "TotalDebt", "total_equity": "StockholdersEquity", "retained_earnings": "RetainedEarnings",
        },
        StatementKind.CASH_FLOW: {
            "operating_cash_flow": "OperatingCashFlow", "investing_cash_flow": "InvestingCashFlow",
            "financing_cash_flow": "FinancingCashFlow", "capital_expenditure": "CapitalExpenditure",
            "free_cash_flow": "FreeCashFlow", "dividends_paid": "CashDividendsPaid",
        },
    }
)  # fmt: skip


def range_for(first: date, today: date) -> str:
    """The shortest of Yahoo's ranges that reaches back to `first`, and to what was listed late before it: events come with the range."""
    days = (today - first + LISTED_LATE).days
    return next((name for name, reach in _RANGES if days <= reach), "max")


def history(
    provider: str, request: Request, name: str, chart: Chart, calendar: Calendar, now: datetime
) -> History | NoData:
    """Yahoo's closes are adjusted for splits, its dividends too. An answer about another symbol is a question to the user."""
    meta = chart.meta
    answered = meta.text("symbol")
    if from_vendor(answered) != from_vendor(name):
        candidate = Listing(from_vendor(answered), meta.opt_text("longName"), meta.opt_text("exchangeName"))
        detail = f"asked for {name}, answered for {answered}"
        return NoData(request.symbol, NoDataReason.AMBIGUOUS, candidates=(candidate,), detail=detail)
    granularity = meta.opt_text("dataGranularity")
    if granularity not in (None, "1d"):
        # Yahoo answers a question about days with weeks or months where it sees fit; one bar a month is no daily close.
        raise SchemaChanged(provider, f"asked for days, answered with {granularity}")
    first = meta.opt_epoch("firstTradeDate")
    found = bars(chart.rows, request.first, request.last, calendar, split_adjusted=True)
    if _is_unknown(request, chart, found, first):
        detail = f"{provider}: {name} has neither an exchange nor a first trade"
        return NoData(request.symbol, NoDataReason.NOT_FOUND, detail=detail)
    assert_currency(provider, request.symbol, meta.opt_text("currency"))
    # Share classes of funds, and funds that hold money, are told under several names; their symbols are made alike.
    fund = TYPES.get((meta.opt_text("instrumentType") or "").upper()) == "fund" or is_fund(request.symbol)
    today = now.astimezone(NEW_YORK).date()
    return History(
        request.symbol,
        found,
        check_actions(provider, unadjust_dividends(in_effect(chart.actions, today))),
        lists_splits=True,
        listed_from=check_listing_date(provider, first.astimezone(NEW_YORK).date(), today) if first else None,
        left_out=chart.left_out,
        unserved=late_values(request, found, calendar, now) if fund else (),
    )


def without_bars(request: Request, calendar: Calendar, now: datetime) -> History:
    """A symbol that is known, and has nothing in the range."""
    found = bars((), request.first, request.last, calendar, split_adjusted=True)
    late = late_values(request, found, calendar, now) if is_fund(request.symbol) else ()
    return History(request.symbol, found, lists_splits=True, unserved=late)


def _is_unknown(request: Request, chart: Chart, found: Bars, first: datetime | None) -> bool:
    """Whether nobody trades a name: it has no first trade, and no price since the range began; or it stands on the list of such names
    without a price in the range, or with its last one again and again and no volume."""
    closes = [(row.day, row.close) for row in chart.rows if row.close is not None and isfinite(row.close)]
    if chart.meta.opt_text("exchangeName") != NOWHERE:
        return first is None and all(day < request.first for day, _ in closes)
    moved = len({close for _, close in closes}) > 1
    traded = moved or any(row.volume is not None and row.volume > 0 for row in chart.rows)
    return not len(found.sessions) or not traded


def late_values(request: Request, found: Bars, calendar: Calendar, now: datetime) -> tuple[Unserved, ...]:
    """Net asset values of a fund that are not out yet, and when they are asked for next."""
    late = unpublished_sessions(
        request, found, calendar, now, lambda session: published_at(session, FUNDS_PUBLISHED_AT, fund=True)
    )
    newest = calendar.on_or_before(request.last)
    evening = in_new_york(newest, VALUES_AT)
    ask_at = evening if now < evening else now + VALUES_POLL
    return tuple(replace(one, retry_at=min(ask_at, one.retry_at or ask_at)) for one in late)


def add_suggestions(absent: NoData, name: str, found: Sequence[Listing]) -> NoData:
    """An unknown symbol with what a search for it finds: mostly a typing mistake."""
    others = tuple(one for one in found if one.symbol != from_vendor(name))[:SUGGESTIONS]
    if not others:
        return absent
    told = ", ".join(f"{one.symbol} ({one.name or 'without a name'})" for one in others)
    return replace(absent, candidates=others, detail=f"{absent.detail}; a search finds {told}")


def profile(info: Record, today: date) -> Profile:
    """From the modules quoteType, assetProfile and summaryDetail, flattened."""
    return Profile(
        asset_type=TYPES.get(info.text("quoteType").upper(), "unknown"),
        name=info.opt_text("longName") or info.opt_text("shortName"),
        sector=info.opt_text("sector"),
        industry=info.opt_text("industry"),
        as_of=today,
        beta=info.opt_number("beta"),
        beta_as_of=today if info.has("beta") else None,
        currency=info.opt_text("currency"),
        exchange=info.opt_text("exchange"),
    )


def fundamentals(symbol: str, info: Record, statements: Sequence[Statement], today: date) -> Fundamentals:
    """Statements with market cap, P/E and announcements. Yahoo names the next earnings, and the last for some days."""
    days = sorted(
        info.epoch(key).date()
        for key in ("earningsTimestamp", "earningsTimestampStart", "earningsTimestampEnd")
        if info.has(key)
    )
    return Fundamentals(
        symbol,
        today,
        tuple(statements),
        market_cap=info.opt_number("marketCap"),
        pe_ratio=info.opt_number("trailingPE"),
        last_earnings=max((day for day in days if day <= today), default=None),
        next_earnings=min((day for day in days if day > today), default=None),
    )


def statement(kind: StatementKind, period_end: date, figures: Record, currency: str | None) -> Statement:
    values = {name: figures.opt_number(FIELDS[kind][name]) if name in FIELDS[kind] else None for name in ITEMS[kind]}
    return Statement(kind, period_end, values, currency=currency)


def listing(item: Record) -> Listing:
    """One quote of a search."""
    kind = (item.opt_text("quoteType") or "").upper()
    name = item.opt_text("longname") or item.opt_text("shortname")
    return Listing(from_vendor(item.text("symbol")), name, item.opt_text("exchange"), TYPES.get(kind, "unknown"))


def plain(value: Any) -> Any:
    """A pandas or NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value
