"""FMP's reference data: profiles, quotes, statements, search, symbol changes, delisted companies."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from threading import Lock
from types import MappingProxyType
from typing import Any

from services.ingest.model.market import Listing, NoData, Profile, Rename
from services.ingest.providers.errors import PlanLimited, ProviderError, UnknownToProvider
from services.ingest.providers.fmp.plan import Plan
from services.ingest.providers.network import (
    ITEMS,
    Described,
    Fundamentals,
    Matches,
    Statement,
    StatementKind,
    pe_ratio,
)
from services.ingest.providers.normalise import from_vendor
from services.ingest.providers.transport.http import Parameters
from services.ingest.providers.transport.payload import Record, each_row, records, with_days
from services.ingest.providers.transport.refusals import comparable
from services.ingest.providers.transport.rest import RestProvider

QUARTERS = 12
# The free plan answers no more of a list.
EARNINGS = 5
# The list of delisted companies has no filter: newest first, a hundred a page. Who was delisted before that is only "not trading".
DELISTED_PAGES = 3
_FIELDS: Mapping[StatementKind, Mapping[str, str]] = MappingProxyType(
    {
        StatementKind.INCOME: {
            "revenue": "revenue", "cost_of_revenue": "costOfRevenue", "gross_profit": "grossProfit",
            "operating_income": "operatingIncome", "ebitda": "ebitda", "interest_expense": "interestExpense",
            "income_tax": "incomeTaxExpense", "net_income": "netIncome", "eps_basic": "eps", "eps_diluted": "epsDiluted",
            "shares_diluted": "weightedAverageShsOutDil",
        },
        StatementKind.BALANCE: {
            "cash": "cashAndCashEquivalents", "current_assets": "totalCurrentAssets", "total_assets": "totalAssets",
            "current_liabilities": "totalCurrentLiabilities", "total_liabilities": "totalLiabilities",
            "total_debt": "totalDebt", "total_equity": "totalEquity", "retained_earnings": "retainedEarnings",
        },
        StatementKind.CASH_FLOW: {
            "operating_cash_flow": "operatingCashFlow", "investing_cash_flow": "netCashProvidedByInvestingActivities",
            "financing_cash_flow": "netCashProvidedByFinancingActivities", "capital_expenditure": "capitalExpenditure",
            "free_cash_flow": "freeCashFlow", "dividends_paid": "netDividendsPaid",
        },
    }
)  # fmt: skip
_STATEMENTS = (
    (StatementKind.INCOME, "/income-statement"),
    (StatementKind.BALANCE, "/balance-sheet-statement"),
    (StatementKind.CASH_FLOW, "/cash-flow-statement"),
)


class FmpReference(RestProvider):
    name = "fmp"
    separator = "-"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lock = Lock()
        # Lists without a filter, fetched at most once a day: (day, by our spelling).
        self._changes: tuple[date, dict[str, Rename]] | None = None
        self._gone: tuple[date, dict[str, date]] | None = None
        self._no_quarters: date | None = None
        self._plan = Plan(self.name, self._assert_served, self._today)

    def profiles(self, symbols: Sequence[str]) -> Iterator[Described | NoData]:
        return self._each(symbols, self._profile)

    def fundamentals(self, symbols: Sequence[str]) -> Iterator[Fundamentals | NoData]:
        return self._each(symbols, self._fundamentals)

    def search(self, text: str) -> Matches:
        try:
            found = records(
                self.name, "search-symbol", self._http.get("/search-symbol", {"query": text[:100], "limit": 20})
            )
            return Matches(tuple(map(self._candidate, found)))
        except ProviderError as error:
            return Matches(failed=self._to_no_data(text, error))

    def _profile(self, symbol: str, name: str) -> Described | NoData:
        found = self._companies(name)
        if not found:
            raise UnknownToProvider(self.name, f"no profile of {name}")
        item, today = found[0], self._today()
        profile = Profile(
            asset_type="etf" if item.flag("isEtf") else "fund" if item.flag("isFund") else "stock",
            name=item.opt_text("companyName"),
            sector=item.opt_text("sector"),
            industry=item.opt_text("industry"),
            as_of=today,
            beta=item.opt_number("beta"),
            beta_as_of=today if item.has("beta") else None,
            currency=item.opt_text("currency"),
            exchange=item.opt_text("exchange"),
        )
        return Described(symbol, profile)

    def _assert_served(self, symbol: str) -> None:
        """Whether the plan serves a symbol: raises what it is refused with."""
        list(records(self.name, "/quote", self._http.get("/quote", {"symbol": symbol})))

    def _fundamentals(self, symbol: str, name: str) -> Fundamentals:
        self._plan.check(symbol)
        statements = self._quarters(name)
        quote = next(records(self.name, "/quote", self._http.get("/quote", {"symbol": name})), None)
        if not statements and quote is None:
            raise UnknownToProvider(self.name, f"no statements of {name}")
        today = self._today()
        earnings = records(self.name, "/earnings", self._http.get("/earnings", {"symbol": name, "limit": EARNINGS}))
        reports = [day for day, _ in with_days(self.name, f"earnings of {name}", earnings, "date")]
        return Fundamentals(
            symbol,
            today,
            tuple(statements),
            market_cap=quote.opt_number("marketCap") if quote else None,
            pe_ratio=pe_ratio(quote.opt_number("price") if quote else None, statements),
            last_earnings=max((day for day in reports if day <= today), default=None),
            next_earnings=min((day for day in reports if day > today), default=None),
        )

    def _quarters(self, name: str) -> list[Statement]:
        """None where the plan has no quarters, as the free one; a year's figures are no quarter's. Asked again the next day."""
        if self._no_quarters == self._today():
            return []
        asked: Parameters = {"symbol": name, "period": "quarter", "limit": QUARTERS}
        try:
            return [
                _statement(kind, item)
                for kind, path in _STATEMENTS
                for _, item in with_days(self.name, path, records(self.name, path, self._http.get(path, asked)), "date")
            ]
        except PlanLimited as error:
            # The free plan's sentence about a symbol is about that one alone.
            if "'symbol'" not in comparable(str(error)):
                self._no_quarters = self._today()
            return []

    def _companies(self, name: str) -> list[Record]:
        return list(records(self.name, "/profile", self._http.get("/profile", {"symbol": name})))

    def _find_rename(self, symbol: str) -> Rename | None:
        """Where a symbol's last change leads, over several: A to B to C is A to C, of the day of the first."""
        with self._lock:
            today = self._today()
            if self._changes is None or self._changes[0] != today:
                self._changes = (today, {change.old: change for change in self._symbol_changes()})
            by_old = self._changes[1]
        first = by_old.get(from_vendor(symbol))
        if first is None:
            return None
        new, seen = first.new, {first.old}
        while new in by_old and new not in seen and by_old[new].on >= first.on:
            seen.add(new)
            new = by_old[new].new
        return None if new in seen else Rename(from_vendor(symbol), new, first.on)

    def _symbol_changes(self) -> list[Rename]:
        """By day."""
        try:
            answer = self._http.get("/symbol-change", {"limit": 5000})
        except PlanLimited:
            return []
        listed = records(self.name, "/symbol-change", answer)

        def change(item: Record) -> Rename:
            return Rename(from_vendor(item.text("oldSymbol")), from_vendor(item.text("newSymbol")), item.day("date"))

        changes = each_row(self.name, "/symbol-change", listed, change)
        return sorted(changes, key=lambda change: change.on)

    def _delisted_on(self, symbol: str, name: str, known: Sequence[Record] | None = None) -> date | None:
        """The dated announcement, if the vendor's newest ones have it. A symbol that is trading has none, whoever had it before."""
        companies = self._companies(name) if known is None else known
        if companies and companies[0].flag("isActivelyTrading"):
            return None
        with self._lock:
            today = self._today()
            if self._gone is None or self._gone[0] != today:
                self._gone = (today, dict(self._delistings()))
            return self._gone[1].get(from_vendor(symbol))

    def _delistings(self) -> Iterator[tuple[str, date]]:
        for page in range(DELISTED_PAGES):
            try:
                answer = self._http.get("/delisted-companies", {"page": page, "limit": 100})
            except PlanLimited:
                return  # then there is no dated announcement, and nothing is called delisted
            listed = list(records(self.name, "/delisted-companies", answer))
            yield from each_row(
                self.name,
                "/delisted-companies",
                listed,
                lambda item: (from_vendor(item.text("symbol")), item.day("delistedDate")),
            )
            if len(listed) < 100:
                return

    @staticmethod
    def _candidate(item: Record) -> Listing:
        name = item.opt_text("name") or item.opt_text("companyName")
        return Listing(
            from_vendor(item.text("symbol")), name, item.opt_text("exchange"), currency=item.opt_text("currency")
        )


def _statement(kind: StatementKind, item: Record) -> Statement:
    fields = _FIELDS[kind]
    values = {name: item.opt_number(fields[name]) if name in fields else None for name in ITEMS[kind]}
    return Statement(
        kind, item.day("date"), values, filed_on=item.opt_day("filingDate"), currency=item.opt_text("reportedCurrency")
    )
