"""A market of a test's own behind the vendors' interfaces: what Massive and FMP would answer about it, over HTTP."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from tests.support.vendors import Call, Reply, reply, stored


@dataclass
class World:
    """As-traded closes by symbol and session; splits (new per old) and dividends (as paid) by ex-date."""

    closes: dict[str, dict[date, float]] = field(default_factory=dict)
    splits: dict[str, dict[date, float]] = field(default_factory=dict)
    dividends: dict[str, dict[date, float]] = field(default_factory=dict)
    called: dict[str, list[float]] = field(default_factory=dict)

    def massive(self, call: Call) -> Reply:
        self.called.setdefault("massive", []).append(time.monotonic())
        if match := re.fullmatch(r"/v2/aggs/ticker/([^/]+)/range/1/day/([\d-]+)/([\d-]+)", call.path):
            name, first, last = match[1], date.fromisoformat(match[2]), date.fromisoformat(match[3])
            rows = [
                {"t": int(datetime(day.year, day.month, day.day, 5, tzinfo=UTC).timestamp() * 1000),
                 "o": close, "h": close, "l": close, "c": close, "v": 1000}
                for day, close in sorted(self.closes.get(name, {}).items())
                if first <= day <= last
            ]  # fmt: skip
            body = {"ticker": name, "adjusted": False, "status": "OK", "request_id": "1", "resultsCount": len(rows)}
            return reply(body | ({"results": rows} if rows else {}))
        names = call.query.get("ticker.any_of", "").split(",")
        if call.path == "/stocks/v1/splits":
            return reply(_page([
                {"id": f"{name}{day}", "ticker": name, "execution_date": day.isoformat(), "split_from": 1, "split_to": ratio}
                for name in names for day, ratio in self.splits.get(name, {}).items()
            ]))  # fmt: skip
        if call.path == "/stocks/v1/dividends":
            return reply(_page([
                {"id": f"{name}{day}", "ticker": name, "ex_dividend_date": day.isoformat(), "cash_amount": cash, "currency": "USD"}
                for name in names for day, cash in self.dividends.get(name, {}).items()
            ]))  # fmt: skip
        if call.path == "/v3/reference/tickers":
            known = call.query.get("ticker") in self.closes and call.query.get("active") == "true"
            return reply(
                _page([{"ticker": call.query["ticker"], "name": "A", "primary_exchange": "XNYS"}] if known else [])
            )
        return Reply(status=404)

    def fmp(self, call: Call) -> Reply:
        self.called.setdefault("fmp", []).append(time.monotonic())
        name, symbol = call.path.removeprefix("/stable/"), call.query.get("symbol", "")
        if name == "historical-price-eod/full":
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "open": close, "high": close, "low": close, "close": close, "volume": 1}
                for day, close in sorted(self.adjusted(symbol).items(), reverse=True)
                if call.query["from"] <= day.isoformat() <= call.query["to"]
            ])  # fmt: skip
        if name == "splits":
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "numerator": ratio, "denominator": 1}
                for day, ratio in self.splits.get(symbol, {}).items()
            ])  # fmt: skip
        if name == "dividends":
            return reply([
                {"symbol": symbol, "date": day.isoformat(), "dividend": cash, "adjDividend": cash}
                for day, cash in self.dividends.get(symbol, {}).items()
            ])  # fmt: skip
        if name in {"profile", "symbol-change", "delisted-companies"}:
            return reply([])
        return stored("fmp", "error_401", 404)

    def adjusted(self, symbol: str) -> dict[date, float]:
        """Closes on the basis of the newest split."""
        splits = self.splits.get(symbol, {})
        found = {}
        for day, traded in self.closes.get(symbol, {}).items():
            value = traded
            for ex, ratio in splits.items():
                value /= ratio if ex > day else 1.0
            found[day] = value
        return found


def _page(results: list[dict[str, object]]) -> dict[str, object]:
    return {"status": "OK", "request_id": "1", "results": results}
