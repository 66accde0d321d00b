"""A local HTTP server that answers as the vendors' documentation says, and fails on demand in every way they do."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAYLOADS = Path(__file__).parents[1] / "data" / "providers"


@dataclass(frozen=True)
class Reply:
    """One answer. `cut` sends fewer bytes than announced; `delay` waits before the first; `drip` waits after each."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int = 0
    delay: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True)
class Call:
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


Answer = Callable[[Call], Reply]


class VendorServer(ThreadingHTTPServer):
    """`answer` is the vendor; `failing`, if set, answers instead wherever `fails` matches the path."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.failing: Reply | None = None
        self.fails = re.compile("")
        self.calls: list[Call] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about; a wrong answer shows in the test itself."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fail(self, reply: Reply | None, path: str = "") -> None:
        self.failing, self.fails = reply, re.compile(path)

    def asked(self, path: str) -> list[Call]:
        return [call for call in self.calls if re.search(path, call.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: VendorServer
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        call = Call(unquote(parts.path), query, {key.lower(): value for key, value in self.headers.items()})
        self.server.calls.append(call)
        failing = self.server.failing
        reply = failing if failing is not None and self.server.fails.search(call.path) else self.server.answer(call)
        time.sleep(reply.delay)
        try:
            self._send(reply)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client lost patience: that is what some tests are about

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body) + reply.cut))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.drip:
            for byte in reply.body:
                self.wfile.write(bytes([byte]))
                time.sleep(reply.drip)
        else:
            self.wfile.write(reply.body)
        if reply.cut:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the parameter is the library's
        """Quiet."""


@contextmanager
def serving(answer: Answer) -> Iterator[VendorServer]:
    server = VendorServer(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def document(vendor: str, name: str) -> Any:
    return json.loads(_bytes(vendor, name))


def reply(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status)


def stored(vendor: str, name: str, status: int = 200) -> Reply:
    """A payload file as an answer."""
    return Reply(_bytes(vendor, name), status)


@cache
def _bytes(vendor: str, name: str) -> bytes:
    return (PAYLOADS / vendor / f"{name}.json").read_bytes()


def massive(call: Call) -> Reply:  # one branch an endpoint is the clearest form of a vendor
    """Massive. AAPL trades, LAZY is listed and does not, TWTR is delisted, FB renamed, DUPE two securities; PAGED has two pages."""
    if call.headers.get("authorization") != "Bearer good":
        return stored("massive", "error_401", 401)
    path, asked = call.path, call.query
    if match := re.fullmatch(r"/v2/aggs/ticker/([^/]+)/range/1/day/([\d-]+)/([\d-]+)", path):
        return _aggregates(match[1], call)
    if path in {"/stocks/v1/splits", "/stocks/v1/dividends"}:
        body = document("massive", path.rsplit("/", 1)[1])
        wanted = asked["ticker.any_of"].split(",")
        body["results"] = [item for item in body["results"] if item["ticker"] in wanted]
        return reply(body)
    if path == "/v3/reference/tickers":
        return _tickers(asked)
    if match := re.fullmatch(r"/v3/reference/tickers/([^/]+)", path):
        return stored("massive", "ticker_details") if match[1] == "AAPL" else stored("massive", "error_404", 404)
    if re.fullmatch(r"/vX/reference/tickers/[^/]+/events", path):
        return stored("massive", "ticker_events") if "BBG000MM2P62" in path else stored("massive", "error_404", 404)
    files = {
        "income-statements": "income",
        "balance-sheets": "balance",
        "cash-flow-statements": "cash_flow",
        "ratios": "ratios",
    }
    name = files.get(path.rsplit("/", 1)[-1])
    if name and asked.get("tickers", asked.get("ticker")) == "AAPL":
        return stored("massive", name)
    return reply({"status": "OK", "request_id": "1", "results": []}) if name else Reply(status=404)


def _aggregates(ticker: str, call: Call) -> Reply:
    body = document("massive", "aggregates") | {"ticker": ticker}
    if ticker in {"AAPL", "BRK.B", "O:AAPL201218C00120000", "GONE"} or re.fullmatch(r"S\d{4}", ticker):
        if ticker.startswith("S"):
            body["results"] = body["results"][-2:]  # one of five thousand: the test is about how many, not how long
        if ticker == "GONE":
            body["results"] = body["results"][:4]
        return reply(body)
    if ticker == "PAGED":
        first = "cursor" not in call.query
        body["results"] = body["results"][:10] if first else body["results"][10:]
        if first:
            body["next_url"] = f"http://{call.headers['host']}{call.path}?cursor=bGltaXQ9MiZzb3J0PWFzYw"
        return reply(body)
    return reply(document("massive", "aggregates_empty") | {"ticker": ticker})


def _tickers(asked: Mapping[str, str]) -> Reply:
    active = document("massive", "tickers_active")
    ticker = asked.get("ticker")
    if "search" in asked or (ticker in {"LAZY", "AAPL"} and asked["active"] == "true"):
        active["results"][0]["ticker"] = ticker or "A"
        return reply(active)
    if ticker == "DUPE" and asked["active"] == "true":
        one = active["results"][0] | {"ticker": "DUPE"}
        return reply(active | {"results": [one, one | {"primary_exchange": "XTSE", "name": "Other Inc."}]})
    if asked["active"] == "false" and ticker in {"TWTR", "FB", "GONE"}:
        if ticker == "GONE":
            gone = document("massive", "tickers_delisted")
            gone["results"][0] |= {"ticker": "GONE", "delisted_utc": "2020-08-11T00:00:00Z"}
            return reply(gone)
        return stored("massive", "tickers_delisted" if ticker == "TWTR" else "tickers_renamed")
    return stored("massive", "tickers_none")


def fmp(call: Call) -> Reply:  # as above
    """FMP under /stable, with the symbols of `massive`."""
    if call.headers.get("apikey") != "good":
        return stored("fmp", "error_401", 401)
    name = call.path.removeprefix("/stable/")
    symbol = call.query.get("symbol", "")
    trading = symbol in {"AAPL", "BRK-B", "GONE"}
    if name == "historical-price-eod/full":
        rows = [row | {"symbol": symbol} for row in document("fmp", "history")] if trading else []
        rows = rows[-4:] if symbol == "GONE" else rows
        return reply([row for row in rows if call.query["from"] <= row["date"] <= call.query["to"]])
    if name in {"splits", "dividends"}:
        return stored("fmp", name) if symbol == "AAPL" else reply([])
    if name == "profile":
        return _companies(symbol)
    lists = {"delisted-companies": "delisted", "symbol-change": "symbol_change", "search-symbol": "search"}
    if name in lists:
        return stored("fmp", lists[name])
    files = {
        "income-statement": "income", "balance-sheet-statement": "balance", "cash-flow-statement": "cash_flow",
        "quote": "quote", "earnings": "earnings",
    }  # fmt: skip
    if name in files:
        return stored("fmp", files[name]) if symbol == "AAPL" else reply([])
    return Reply(status=404)


def _companies(symbol: str) -> Reply:
    one = document("fmp", "profile")[0]
    if symbol in {"AAPL", "LAZY"}:
        return reply([one | {"symbol": symbol}])
    if symbol == "DUPE":
        return reply(
            [one | {"symbol": symbol}, one | {"symbol": symbol, "exchange": "TSX", "companyName": "Other Inc."}]
        )
    return stored("fmp", "profile_delisted") if symbol == "TWTR" else reply([])


def tiingo(call: Call) -> Reply:
    """Tiingo, with the symbols of `massive`; the list of newest rows is of the last day, its tickers in lower case."""
    if call.headers.get("authorization") != "Token good":
        return stored("tiingo", "error_401", 401)
    if call.path == "/tiingo/utilities/search":
        return stored("tiingo", "search")
    rows = document("tiingo", "history")
    if call.path == "/tiingo/daily/prices":
        return reply([{"ticker": ticker} | rows[-1] for ticker in ("aapl", "brk-b", "zzz")])
    match = re.fullmatch(r"/tiingo/daily/([^/]+)(/prices)?", call.path)
    symbol = match[1] if match else ""
    if match is None or symbol not in {"AAPL", "BRK-B", "LAZY", "TWTR"}:
        return stored("tiingo", "error_404", 404)
    if match[2] is None:
        return stored("tiingo", "meta")
    first, last = call.query["startDate"], call.query["endDate"]
    return reply([row for row in rows if first <= row["date"][:10] <= last] if symbol in {"AAPL", "BRK-B"} else [])


def curves(call: Call) -> Reply:
    """The Treasury and FRED: a calendar year as CSV; of a year that is not kept here, the header alone."""
    if match := re.search(r"/daily-treasury-rates\.csv/(\d{4})/all$", call.path):
        folder, year = "treasury", match[1]
    elif call.path == "/graph/fredgraph.csv":
        folder, year = "fred", call.query["cosd"][:4]
    else:
        return Reply(b"<html>not here</html>", 404, content_type="text/html")
    file = PAYLOADS / folder / f"{year}.csv"
    known = file if file.exists() else PAYLOADS / folder / "2026.csv"
    body = known.read_bytes() if file.exists() else known.read_bytes().splitlines(keepends=True)[0]
    return Reply(body, content_type="text/csv")


def yahoo(call: Call) -> Reply:
    """All hosts of Yahoo's in one. AAPL and BRK-B trade, LAZY does not, FOREIGN is answered with another symbol."""
    if call.path == "/":
        return Reply(b"", 404, {"Set-Cookie": "A3=d=test; Path=/"})  # fc.yahoo.com: a 404 with the cookie
    if call.path == "/v1/test/getcrumb":
        return Reply(b"crumb", content_type="text/plain")
    if match := re.fullmatch(r"/v8/finance/chart/([^/]+)", call.path):
        return _chart(match[1])
    if match := re.fullmatch(r"/v10/finance/quoteSummary/([^/]+)", call.path):
        return stored("yahoo", "summary") if match[1] == "AAPL" else stored("yahoo", "error_summary_404", 404)
    if call.path == "/v7/finance/quote":
        return stored("yahoo", "quote")
    if call.path.startswith("/ws/fundamentals-timeseries"):
        return stored("yahoo", "timeseries")
    if call.path == "/v1/finance/search":
        return stored("yahoo", "search")
    return Reply(b"<html>consent</html>", 404, content_type="text/html")


def _chart(symbol: str) -> Reply:
    if symbol in {"AAPL", "BRK-B", "FOREIGN"}:
        body = document("yahoo", "chart")
        body["chart"]["result"][0]["meta"]["symbol"] = "OTHER.TO" if symbol == "FOREIGN" else symbol
        return reply(body)
    return stored("yahoo", "chart_empty") if symbol == "LAZY" else stored("yahoo", "error_404", 404)
