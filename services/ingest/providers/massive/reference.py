"""Massive's reference data: tickers and their status, details, statements, search."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType

from services.ingest.model.market import Listing, NoData, Profile, Rename
from services.ingest.providers.errors import ProviderError, SchemaChanged, UnknownToProvider
from services.ingest.providers.massive.client import Client, Document
from services.ingest.providers.network import ITEMS, Described, Fundamentals, Matches, Statement, StatementKind
from services.ingest.providers.normalise import encode_path_segment, from_vendor
from services.ingest.providers.transport.http import ProviderHttp
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.transport.rest import RestProvider
from shared.market.symbols import parse_occ

# A list that never ends is a fault of the vendor's; 200 pages of 5,000 are a million rows.
MAX_PAGES = 200
QUARTERS = 12
# Documented types (Ticker Types endpoint) as our kinds; others stay under their own name.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "CS": "stock", "ADRC": "stock", "ADRP": "stock", "OS": "stock", "GDR": "stock", "NYRS": "stock", "PFD": "preferred",
        "ETF": "etf", "ETV": "etf", "ETS": "etf", "ETN": "etn", "FUND": "fund", "WARRANT": "warrant", "RIGHT": "right", "UNIT": "unit",
    }
)  # fmt: skip
_FIELDS: Mapping[StatementKind, Mapping[str, str]] = MappingProxyType(
    {
        StatementKind.INCOME: {
            "revenue": "revenue", "cost_of_revenue": "cost_of_revenue", "gross_profit": "gross_profit",
            "operating_income": "operating_income", "ebitda": "ebitda", "interest_expense": "interest_expense",
            "income_tax": "income_taxes", "net_income": "net_income_loss_attributable_common_shareholders",
            "eps_basic": "basic_earnings_per_share", "eps_diluted": "diluted_earnings_per_share",
            "shares_diluted": "diluted_shares_outstanding",
        },
        StatementKind.BALANCE: {
            "cash": "cash_and_equivalents", "current_assets": "total_current_assets", "total_assets": "total_assets",
            "current_liabilities": "total_current_liabilities", "total_liabilities": "total_liabilities",
            "total_equity": "total_equity", "retained_earnings": "retained_earnings_deficit",
        },
        StatementKind.CASH_FLOW: {
            "operating_cash_flow": "net_cash_from_operating_activities",
            "investing_cash_flow": "net_cash_from_investing_activities",
            "financing_cash_flow": "net_cash_from_financing_activities",
            "capital_expenditure": "purchase_of_property_plant_and_equipment", "dividends_paid": "dividends",
        },
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Status:
    """What the list of tickers says of one symbol. `candidates` if several active securities have it."""

    known: bool
    delisted_on: date | None = None
    renamed: Rename | None = None
    candidates: tuple[Listing, ...] = ()
    listed_from: date | None = None
    currencies: tuple[str, ...] = ()


class MassiveReference(RestProvider):
    name = "massive"
    separator = "."
    statement_calls = 4

    def __init__(self, http: ProviderHttp, now: Callable[[], datetime]) -> None:
        super().__init__(http, now)
        self._client = Client(http)

    def profiles(self, symbols: Sequence[str]) -> Iterator[Described | NoData]:
        return self._each(symbols, self._profile)

    def fundamentals(self, symbols: Sequence[str]) -> Iterator[Fundamentals | NoData]:
        return self._each(symbols, self._fundamentals)

    def search(self, text: str) -> Matches:
        try:
            page = self._page("tickers", self._client.list_tickers(search=text[:100], active=True, limit=20, raw=True))
            return Matches(tuple(map(_listing, page.records("results", missing_is_empty=True))))
        except ProviderError as error:
            return Matches(failed=self._to_no_data(text, error))

    def _profile(self, symbol: str, name: str) -> Described:
        answer = self._client.get_ticker_details(encode_path_segment(name), raw=True)
        item = self._page("ticker details", answer).record("results")
        self._same(symbol, item.text("ticker"))
        listing = _listing(item)
        profile = Profile(
            asset_type=listing.asset_type,
            name=listing.name,
            # Massive classifies by SIC: an industry, and no sector that would compare with the others' eleven.
            industry=item.opt_text("sic_description"),
            as_of=self._today(),
            currency=listing.currency,
            exchange=listing.exchange,
        )
        return Described(symbol, profile)

    def _fundamentals(self, symbol: str, name: str) -> Fundamentals:
        statements: list[Statement] = []
        for kind, ask in (
            (StatementKind.INCOME, self._client.list_financials_income_statements),
            (StatementKind.BALANCE, self._client.list_financials_balance_sheets),
            (StatementKind.CASH_FLOW, self._client.list_financials_cash_flow_statements),
        ):
            answer = ask(tickers=name, timeframe="quarterly", limit=QUARTERS, sort="period_end.desc", raw=True)
            statements += [
                _statement(kind, item) for item in self._page(f"{kind} statements", answer).records("results")
            ]
        answer = self._client.list_financials_ratios(ticker=name, limit=1, raw=True)
        ratios = next(self._page("ratios", answer).records("results"), None)
        if not statements and ratios is None:
            raise UnknownToProvider(self.name, f"no statements of {name}")
        filings = [s.filed_on for s in statements if s.filed_on]
        return Fundamentals(
            symbol,
            self._today(),
            tuple(statements),
            market_cap=ratios.opt_number("market_cap") if ratios else None,
            pe_ratio=ratios.opt_number("price_to_earnings") if ratios else None,
            last_earnings=max(filings, default=None),
        )

    def _status(self, symbol: str, name: str) -> Status:
        """One call for an active ticker, two for an unknown one, three for one that is gone: did it move, or end?"""
        active = [_listing(item) for item in self._tickers(name, active=True)]
        if len({(listing.exchange, listing.name) for listing in active}) > 1:
            return Status(known=True, candidates=tuple(active))
        if active:
            return Status(known=True, currencies=tuple(one.currency for one in active if one.currency))
        gone = list(self._tickers(name, active=False))
        if not gone:
            return Status(known=False)
        newest = max(gone, key=lambda item: item.opt_day("delisted_utc") or date.min)
        # Asked by ticker, the vendor answers for whoever has the ticker now; by FIGI, for the security that had it.
        figi = newest.opt_text("composite_figi")
        renamed = self._find_rename(symbol, name, figi) if figi else None
        return Status(known=True, delisted_on=newest.opt_day("delisted_utc"), renamed=renamed)

    def _tickers(self, name: str, *, active: bool) -> Iterator[Record]:
        answer = self._client.list_tickers(ticker=name, active=active, limit=10, raw=True)
        return self._page("tickers", answer).records("results", missing_is_empty=True)

    def _find_rename(self, symbol: str, name: str, figi: str) -> Rename | None:
        try:
            answer = self._client.get_ticker_events(encode_path_segment(figi), types="ticker_change", raw=True)
        except UnknownToProvider:
            return None
        events = self._page("ticker events", answer).record("results").records("events")
        changes = sorted(
            (item.day("date"), item.record("ticker_change").text("ticker"))
            for item in events
            if item.has("ticker_change")
        )
        later = [change for index, change in enumerate(changes) if any(old == name for _, old in changes[:index])]
        return Rename(symbol, from_vendor(later[-1][1]), later[0][0]) if later and later[-1][1] != name else None

    def _results(self, where: str, answer: Document) -> Iterator[Record]:
        for page in self._pages(where, answer):
            yield from page.records("results")

    def _pages(self, where: str, answer: Document) -> Iterator[Record]:
        page = self._page(where, answer)
        yield page
        for _ in range(MAX_PAGES):
            following = page.opt_text("next_url")
            if following is None:
                return
            page = Record(self.name, where, self._http.get_url(following))
            yield page
        raise SchemaChanged(self.name, f"{where} does not end after {MAX_PAGES} pages")

    def _page(self, where: str, answer: Document) -> Record:
        return Record(self.name, where, answer.read)

    def _vendor_symbol(self, symbol: str) -> str | None:
        name = super()._vendor_symbol(symbol)
        return f"O:{name}" if name and parse_occ(name) else name

    def _same(self, symbol: str, answered: str) -> None:
        if from_vendor(answered) != from_vendor(symbol):
            raise SchemaChanged(self.name, f"asked for {symbol}, answered for {answered}")


def _listing(item: Record) -> Listing:
    kind = item.opt_text("type") or ""
    currency = item.opt_text("currency_name") or item.opt_text("currency_symbol")
    return Listing(
        from_vendor(item.text("ticker")),
        item.opt_text("name"),
        item.opt_text("primary_exchange"),
        _TYPES.get(kind, kind.lower() or "unknown"),
        currency.upper() if currency else None,
    )


def _statement(kind: StatementKind, item: Record) -> Statement:
    fields = _FIELDS[kind]
    values = {name: item.opt_number(fields[name]) if name in fields else None for name in ITEMS[kind]}
    if kind is StatementKind.CASH_FLOW:
        operating, spent = values["operating_cash_flow"], values["capital_expenditure"]
        # Capital expenditure is stated as an outflow, negative.
        values["free_cash_flow"] = None if operating is None or spent is None else operating + spent
    return Statement(kind, item.day("period_end"), values, filed_on=item.opt_day("filing_date"), currency="USD")
