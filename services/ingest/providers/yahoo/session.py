"""The HTTP session that yfinance and yahooquery are given: the same bounds as our own client, and Yahoo's refusals typed.

Both libraries hide what happened: "possibly delisted" is their word for a limit, an outage and an ad-blocker alike. So the
session looks at each answer itself and raises a `ProviderError`, which passes through them. It is curl_cffi's, because Yahoo
turns away clients whose TLS does not look like a browser's.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import curl_cffi
import stamina
from curl_cffi import CurlOpt
from curl_cffi.requests import Response, Session
from curl_cffi.requests.exceptions import RequestException, Timeout

from services.ingest.model.market import Listing, ProviderErrorKind
from services.ingest.providers.errors import (
    AddressRefused,
    AuthRefused,
    ProfilesRefused,
    ProviderDown,
    ProviderError,
    RateLimited,
    SchemaChanged,
    UnknownToProvider,
)
from services.ingest.providers.network import ProviderStats
from services.ingest.providers.transport.address import environment_proxy, public_address
from services.ingest.providers.transport.gate import RateLimiter
from services.ingest.providers.transport.http import Bounds, retry_at
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo import answers, fields
from services.ingest.providers.yahoo.refusals import CrumbRefusals, ProfileBreaker

# Yahoo tells no time; its limits were seen to last minutes to hours.
RETRY_AFTER = timedelta(minutes=15)
BARRED = timedelta(hours=1)
_COOKIES = "https://fc.yahoo.com"
_SEARCH = "https://query2.finance.yahoo.com/v1/finance/search"
_CRUMB = "/v1/test/getcrumb"
REDIRECTS = 5
_REFUSED = "refuses this machine ({status}); it has no key to set: wait, set HTTPS_PROXY, or take {name} out of LEADLINE_PROVIDERS"


class YahooSession(Session[Response]):
    """`endpoint` stands for every host of Yahoo's, for tests and mirrors; it needs `allow_loopback` if it is on this machine."""

    def __init__(
        self,
        provider: str,
        gate: RateLimiter,
        *,
        endpoint: str | None = None,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.journal = ProviderStats()
        self._provider = provider
        self._gate = gate
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._loopback = allow_loopback
        self._limits = bounds or Bounds()
        self._now = now
        self._pins: dict[str, bytes] = {}
        self._pin_lock = threading.Lock()
        self._seen = threading.local()
        self._cookies_given: Response | None = None
        self._profiles = ProfileBreaker(now)
        self._crumbs = CrumbRefusals(now)
        super().__init__(
            impersonate="chrome",
            curl_options={CurlOpt.MAXFILESIZE_LARGE: self._limits.max_bytes},
        )

    @property
    def seconds(self) -> float:
        """How long one call may take, for a library that wants to be told."""
        return self._limits.read

    def fault(self) -> ProviderError | None:
        """What this thread's calls since `forget` ended in, whatever the library made of it."""
        return getattr(self._seen, "fault", None)

    def chart(self) -> Mapping[str, Any] | None:
        """This thread's last chart as it came; None if there was none."""
        return getattr(self._seen, "chart", None)

    def suggestions(self, text: str) -> list[Listing]:
        """What a search finds; nothing if it cannot be made, which is then no fault of the question that led to it."""
        try:
            return self.search(text)
        except (ProviderError, RequestException):
            self.forget()
            return []

    def search(self, text: str) -> list[Listing]:
        """Raises `ProviderError`."""
        answer = self.get(_SEARCH, params={"q": text[:100], "quotesCount": 20, "newsCount": 0})
        document = Record(self._provider, "search", json.loads(answer.content))
        return [fields.listing(item) for item in document.records("quotes") if item.has("symbol")]

    def forget(self) -> None:
        self._seen.chart = None
        self._seen.fault = None
        self._seen.refused = None

    def last_refusal(self) -> tuple[int, str] | None:
        """401 or 403 and the path, if that was the last word about data: the libraries get one try with a new crumb."""
        return getattr(self._seen, "refused", None)

    def verdict(self, error: Exception | None = None, *, library: str = "") -> ProviderError | None:
        """What a question ended in: what the session saw, and only then what the library made of it (`error`)."""
        seen, refused = self.fault(), self.last_refusal()
        if seen is not None:
            return seen
        if refused is not None:
            return self.record_error(self._refusal(*refused))
        if error is None:
            return None
        if isinstance(error, RequestException):
            return self.record_error(
                ProviderDown(self._provider, f"{type(error).__name__} before any data (curl {int(error.code)})")
            )
        said = f"an answer {library} cannot read ({type(error).__name__}: {str(error)[:200]})"
        return self.record_error(SchemaChanged(self._provider, said))

    def _refusal(self, status: int, path: str) -> ProviderError:
        """Yahoo has no key that could be mended: it may let this machine in again by itself."""
        if not path.startswith(answers.CHART):
            return self._profiles.record_refusal(self._provider, f"{path} refuses this machine ({status})")
        message = _REFUSED.format(status=status, name=self._provider)
        return AuthRefused(self._provider, message, retry_at=self._now() + BARRED)

    def record_error(self, error: ProviderError) -> ProviderError:
        """Keep what `condition` tells, and tell the gate: but not of profiles, whose refusal says nothing about prices."""
        if not isinstance(error, ProfilesRefused):
            self._gate.record_failure(error)
        self.journal.last_fault = str(error)
        if isinstance(error, AuthRefused):
            self.journal.disabled = str(error)
        self._seen.fault = error
        return error

    def request(self, method: Any, url: str, **arguments: Any) -> Response:  # type: ignore[override]
        """As curl_cffi's, for Yahoo's hosts only; raises `ProviderError` for what is no answer. 401 and 403 are handed on."""
        data = urlsplit(url).path.startswith(tuple(answers.DATA))
        if url == _COOKIES and (given := self._cookies_given) is not None:
            return given  # yfinance asks for them before every symbol, where it cannot keep them on disk
        limits = self._limits
        for attempt in stamina.retry_context(
            on=lambda error: data and isinstance(error, ProviderDown) and error.again_at_once,
            attempts=limits.attempts,
            timeout=limits.deadline * limits.attempts,
            wait_initial=limits.wait_initial,
            wait_max=limits.wait_max,
            wait_jitter=limits.wait_initial,
        ):
            with attempt:
                return self._send_within_limits(method, url, arguments, data=data)
        raise AssertionError("stamina ends with a result or an error")

    def _send_within_limits(self, method: Any, url: str, arguments: Mapping[str, Any], *, data: bool) -> Response:
        path = urlsplit(url).path
        of_profiles = data and not path.startswith(answers.CHART)
        if not data and (kept := self._crumbs.kept_response()) is not None:
            return kept
        self._acquire(self._profiles.assert_open if of_profiles else None)
        try:
            response = self._send(method, url, arguments, data=data)
            if data:
                self._judge(path, response)
            else:
                response = self._follow_redirects(url, response)
        except UnknownToProvider as error:
            self._gate.record_success()
            self._seen.fault = error
            raise
        except ProviderError as error:
            if error is not self.fault():
                self.record_error(error)
            raise
        if url == _COOKIES:
            self._cookies_given = response
        if path == _CRUMB:
            self._crumbs.record_answer(response)
        if data and response.status_code < 400:
            self._gate.record_success()
            self._seen.fault = self._seen.refused = None
            if of_profiles:
                self._profiles.record_success()
            else:
                self.journal.disabled = None
        return response

    def _acquire(self, before: Callable[[], None] | None = None) -> None:
        """Our own refusal is what this question ended in; the vendor was not asked, so nothing about it is recorded."""
        try:
            if before is not None:
                before()
            self._gate.acquire()
        except ProviderError as refused:
            self._seen.fault = refused
            raise

    def _follow_redirects(self, url: str, response: Response) -> Response:
        """The end of the redirects of a page about cookies or consent, as long as they stay with Yahoo. Data are never redirected."""
        for _ in range(REDIRECTS):
            to = response.headers.get("location")
            if not 300 <= response.status_code < 400 or not to:
                break
            url = urljoin(url, to)
            if not answers.is_yahoos(url) or urlsplit(url).path.startswith(tuple(answers.DATA)):
                break
            self._acquire()
            response = self._send("GET", url, {}, data=False)
        response.url = url  # yfinance tells a page of consent by its address
        return response

    def _send(self, method: Any, url: str, arguments: Mapping[str, Any], *, data: bool) -> Response:
        target = self._target(url)
        limits = self._limits
        # One number bounds the call as a whole; curl adds the two of a pair.
        options = {**arguments, "allow_redirects": False, "timeout": min(limits.read, limits.deadline)}
        self.journal.calls += 1
        started = time.monotonic()
        try:
            return super().request(method, target, **options)
        except Timeout as error:
            if not data:
                raise
            waited = time.monotonic() - started
            raise ProviderDown(
                self._provider, f"no answer after {waited:.0f} s", fault=ProviderErrorKind.TIMEOUT
            ) from error
        except RequestException as error:
            if not data:
                raise
            spoiled = {curl_cffi.CurlECode.FILESIZE_EXCEEDED, curl_cffi.CurlECode.PARTIAL_FILE}
            fault = ProviderErrorKind.BAD_BODY if error.code in spoiled else ProviderErrorKind.OUTAGE
            raise ProviderDown(
                self._provider, f"{type(error).__name__} (curl {int(error.code)})", fault=fault
            ) from error

    def _target(self, url: str) -> str:
        """The URL to call: Yahoo's own, https, its host resolved once and pinned; or the endpoint that stands for it."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not answers.is_yahoos(url):
            raise AddressRefused(self._provider, f"{parts.scheme}://{host} is not Yahoo's; it was not asked")
        if self._endpoint is not None:
            base = urlsplit(self._endpoint)
            self._pin(base.hostname or "", base.port or 443)
            return self._endpoint + url[url.index(host) + len(host) :]
        if environment_proxy("https", host) is None:
            self._pin(host, 443)
        return url

    def _pin(self, host: str, port: int) -> None:
        """curl connects to the address that was checked; a second lookup could lead elsewhere."""
        address = public_address(self._provider, host, port, allow_loopback=self._loopback)
        pinned = f"[{address}]" if ":" in address else address
        with self._pin_lock:
            self._pins[f"{host}:{port}"] = f"+{host}:{port}:{pinned}".encode()
            self.curl_options = {**self.curl_options, CurlOpt.RESOLVE: list(self._pins.values())}  # type: ignore[dict-item]

    def _judge(self, path: str, response: Response) -> None:
        status, name = response.status_code, self._provider
        said = answers.description(response)
        if status == 429 or response.content[:64].startswith((b"Too Many Requests", b"Edge: Too Many Requests")):
            at = retry_at(response.headers.get("retry-after"), self._now(), default=RETRY_AFTER)
            if not path.startswith(answers.CHART):
                raise self._profiles.record_refusal(name, f"limit reached at {path}", at)
            raise RateLimited(name, f"limit reached at {path}", retry_at=at)
        if status in {401, 403}:
            if self.last_refusal():
                raise self._refusal(status, path)
            self._seen.refused = status, path
            self._cookies_given = None  # they are worth nothing any more
            return
        if status == 404:
            raise UnknownToProvider(name, said or f"{path} was not found")
        if status in {408, 425} or status >= 500:
            named = response.headers.get("retry-after")
            until = retry_at(named, self._now()) if named else None
            raise ProviderDown(name, f"{path} answered {status}", retry_at=until, answered=True)
        if 300 <= status < 400:
            raise SchemaChanged(name, f"{path} answered a redirect ({status}), which is not followed")
        nothing = status == 400 and "Data doesn't exist" in (said or "")
        if status >= 400 and not nothing:
            raise SchemaChanged(name, f"{path} refused our question ({status}). {said or ''}".strip())
        chart = answers.NO_BARS if nothing else answers.check(name, path, response)
        if chart is not None:
            self._seen.chart = chart
