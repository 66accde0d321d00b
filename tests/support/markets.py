"""A market of a test's own behind the vendors' interfaces: what Yahoo, Massive, FMP and Tiingo would answer about it, over HTTP."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from tests.support import vendors
from tests.support.vendors import Call, Reply, document, reply, stored

_NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class World:
    """As-traded closes by symbol and session; splits (new per old) and dividends (as paid) by ex-date.

    renames : by symbol what a security is called from a day on; everything about it stands under its old symbol, and what stands
              under the new one is another security, which had the symbol before
    today   : vendors know nothing later; a split is in their prices, and a rename is told, from its day on
    """

    closes: dict[str, dict[date, float]] = field(default_factory=dict)
    splits: dict[str, dict[date, float]] = field(default_factory=dict)
    dividends: dict[str, dict[date, float]] = field(default_factory=dict)
    called: dict[str, list[float]] = field(default_factory=dict)
    renames: dict[str, tuple[str, date]] = field(default_factory=dict)
    today: date = date.max
    symbols_asked: list[tuple[str, str]] = field(default_factory=list)

    def _security(self, name: str) -> str | None:
        """Who has the symbol today, by the symbol everything about it stands under."""
        for old, (new, on) in self.renames.items():
            if on <= self.today and name in {old, new}:
                return old if name == new else None
        return name if name in self.closes else None

    def _filed(self, name: str) -> list[tuple[str, date, date]]:
        """The securities that had a symbol, each with its days: how Massive files them."""
        for old, (new, on) in self.renames.items():
            before = date.fromordinal(on.toordinal() - 1)
            if on <= self.today and name == old:
                return [(old, date.min, before)]
            if on <= self.today and name == new:
                return [(new, date.min, before), (old, on, date.max)]
        return [(name, date.min, date.max)]

    def _of_the_day(self, facts: dict[str, dict[date, float]], name: str) -> dict[date, float]:
        return {
            day: value
            for security, first, last in self._filed(name)
            for day, value in facts.get(security, {}).items()
            if first <= day <= min(last, self.today)
        }

    def told(self, facts: dict[str, dict[date, float]], security: str | None) -> dict[date, float]:
        return {day: value for day, value in facts.get(security or "", {}).items() if day <= self.today}

    def massive(self, call: Call) -> Reply:
        self.called.setdefault("massive", []).append(time.monotonic())
        if match := re.fullmatch(r"/v2/aggs/ticker/([^/]+)/range/1/day/([\d-]+)/([\d-]+)", call.path):
            name, first, last = match[1], date.fromisoformat(match[2]), date.fromisoformat(match[3])
            self.symbols_asked.append(("massive", name))
            rows = [
                {"t": int(datetime(day.year, day.month, day.day, 5, tzinfo=UTC).timestamp() * 1000),
                 "o": close, "h": close, "l": close, "c": close, "v": 1000}
                for day, close in sorted(self._of_the_day(self.closes, name).items())
                if first <= day <= last
            ]  # fmt: skip
            body = {"ticker": name, "adjusted": False, "status": "OK", "request_id": "1", "resultsCount": len(rows)}
            return reply(body | ({"results": rows} if rows else {}))
        if match := re.fullmatch(r"/v2/aggs/grouped/locale/us/market/stocks/([\d-]+)", call.path):
            return reply(self._whole_day(date.fromisoformat(match[1])))
        every = ",".join({*self.closes, *(new for new, _ in self.renames.values())})
        names = call.query.get("ticker.any_of", every).split(",")
        if call.path == "/stocks/v1/splits":
            return reply(_page([
                {"id": f"{name}{day}", "ticker": name, "execution_date": day.isoformat(), "split_from": 1, "split_to": ratio}
                for name in names for day, ratio in self._of_the_day(self.splits, name).items()
            ]))  # fmt: skip
        if call.path == "/stocks/v1/dividends":
            return reply(_page([
                {"id": f"{name}{day}", "ticker": name, "ex_dividend_date": day.isoformat(), "cash_amount": cash, "currency": "USD"}
                for name in names for day, cash in self._of_the_day(self.dividends, name).items()
            ]))  # fmt: skip
        if call.path == "/v3/reference/tickers":
            name = call.query.get("ticker", "")
            active = call.query.get("active") == "true"
            one: dict[str, object] = {"ticker": name, "name": "A", "primary_exchange": "XNYS"}
            if not active and self._moved(name):
                return reply(
                    _page(
                        [one | {"delisted_utc": f"{self.renames[name][1]}T00:00:00Z", "composite_figi": f"FIGI{name}"}]
                    )
                )
            return reply(_page([one] if active and self._security(name) else []))
        if match := re.fullmatch(r"/vX/reference/tickers/FIGI([^/]+)/events", call.path):
            new, on = self.renames[match[1]]
            changes = [(new, on), (match[1], date(2012, 5, 18))]
            events = [
                {"type": "ticker_change", "date": str(day), "ticker_change": {"ticker": name}} for name, day in changes
            ]
            return reply({"status": "OK", "request_id": "1", "results": {"name": "A", "events": events}})
        return Reply(status=404)

    def _whole_day(self, day: date) -> dict[str, object]:
        closes = {name: self._of_the_day(self.closes, name).get(day) for name in self.closes}
        rows = [
            {"T": name, "t": _opening(day) * 1000, "o": close, "h": close, "l": close, "c": close, "v": 1, "vw": close, "n": 1}
            for name, close in closes.items() if close is not None
        ]  # fmt: skip
        body = {
            "queryCount": len(rows),
            "resultsCount": len(rows),
            "adjusted": False,
            "status": "OK",
            "request_id": "1",
            "count": len(rows),
        }
        return body | ({"results": rows} if rows else {})

    def _moved(self, name: str) -> bool:
        return name in self.renames and self.renames[name][1] <= self.today

    def fmp(self, call: Call) -> Reply:
        self.called.setdefault("fmp", []).append(time.monotonic())
        name, symbol = call.path.removeprefix("/stable/"), call.query.get("symbol", "")
        security = self._security(symbol)
        if name == "historical-price-eod/full":
            self.symbols_asked.append(("fmp", symbol))
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "open": close, "high": close, "low": close, "close": close, "volume": 1}
                for day, close in sorted(self.adjusted(security).items(), reverse=True)
                if call.query["from"] <= day.isoformat() <= call.query["to"]
            ])  # fmt: skip
        if name == "splits":
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "numerator": ratio, "denominator": 1}
                for day, ratio in self.told(self.splits, security).items()
            ])  # fmt: skip
        if name == "dividends":
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "dividend": cash, "adjDividend": cash}
                for day, cash in self.told(self.dividends, security).items()
            ])  # fmt: skip
        if name == "symbol-change":
            return reply([
                {"date": str(on), "companyName": "A", "oldSymbol": old, "newSymbol": new}
                for old, (new, on) in self.renames.items() if on <= self.today
            ])  # fmt: skip
        if name in {"profile", "delisted-companies"}:
            return reply([])
        return stored("fmp", "error_401", 404)

    def tiingo(self, call: Call) -> Reply:
        """As traded, with the day's dividend and split in its row; a renamed security's history is under its newest symbol."""
        self.called.setdefault("tiingo", []).append(time.monotonic())
        match = re.fullmatch(r"/tiingo/daily/([^/]+)/prices", call.path)
        security = self._security(match[1]) if match else None
        if match is None or security is None:
            return stored("tiingo", "error_404", 404)
        self.symbols_asked.append(("tiingo", match[1]))
        total = self.adjusted_for_all(security)
        splits, dividends = self.told(self.splits, security), self.told(self.dividends, security)
        return reply([
            {"date": f"{day}T00:00:00.000Z", "open": close, "high": close, "low": close, "close": close, "volume": 1000,
             "adjClose": total[day], "divCash": dividends.get(day, 0.0), "splitFactor": splits.get(day, 1.0)}
            for day, close in sorted(self.told(self.closes, security).items())
            if call.query["startDate"] <= day.isoformat() <= call.query["endDate"]
        ])  # fmt: skip

    def yahoo(self, call: Call) -> Reply:
        """Whatever range is asked for, everything: Yahoo's ranges are counted from the real today."""
        self.called.setdefault("yahoo", []).append(time.monotonic())
        match = re.fullmatch(r"/v8/finance/chart/([^/]+)", call.path)
        if match is None:
            return vendors.yahoo(call)
        self.symbols_asked.append(("yahoo", match[1]))
        security = self._security(match[1])
        if security is None:
            return stored("yahoo", "error_404", 404)
        closes, total = self.adjusted(security), self.adjusted_for_all(security)
        days = sorted(closes)
        body = document("yahoo", "chart")
        result = body["chart"]["result"][0]
        result["meta"] |= {"symbol": match[1], "firstTradeDate": _opening(days[0])}
        result["timestamp"] = [_opening(day) for day in days]
        values = [closes[day] for day in days]
        result["indicators"] = {
            "quote": [{**dict.fromkeys(("open", "high", "low", "close"), values), "volume": [1000] * len(days)}],
            "adjclose": [{"adjclose": [total[day] for day in days]}],
        }
        splits = self.told(self.splits, security)
        events: dict[str, dict[str, dict[str, object]]] = {}
        events["dividends"] = {
            str(_opening(day)): {"amount": cash / _after(splits, day), "date": _opening(day)}
            for day, cash in self.told(self.dividends, security).items()
        }
        events["splits"] = {
            str(_opening(day)): {
                "date": _opening(day),
                "numerator": ratio,
                "denominator": 1.0,
                "splitRatio": f"{ratio}:1",
            }
            for day, ratio in splits.items()
        }
        result["events"] = {kind: found for kind, found in events.items() if found}
        return reply(body)

    def adjusted(self, security: str | None) -> dict[date, float]:
        """Closes on the basis of the newest split there is today."""
        splits = self.told(self.splits, security)
        return {day: close / _after(splits, day) for day, close in self.told(self.closes, security).items()}

    def adjusted_for_all(self, security: str) -> dict[date, float]:
        """Yahoo's adjusted closes: each dividend takes its share of the close before it from all that came before."""
        closes, splits, found = self.adjusted(security), self.told(self.splits, security), {}
        dividends = self.told(self.dividends, security)
        factor, after = 1.0, date.max
        for day in sorted(closes, reverse=True):
            if after in dividends:
                factor *= 1.0 - dividends[after] / _after(splits, after) / closes[day]
            found[day], after = closes[day] * factor, day
        return found


def _after(splits: dict[date, float], day: date) -> float:
    factor = 1.0
    for ex, ratio in splits.items():
        factor *= ratio if ex > day else 1.0
    return factor


def _opening(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 9, 30, tzinfo=_NEW_YORK).timestamp())


def _page(results: list[dict[str, object]]) -> dict[str, object]:
    return {"status": "OK", "request_id": "1", "results": results}
