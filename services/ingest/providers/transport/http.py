"""One hardened HTTP client for the REST vendors: one origin, JSON (or CSV, by the dialect), everything bounded, every failure typed.

* The key travels in a header, never in a URL, so it reaches no log and no message.
* Redirects are not followed: an API that redirects has moved, and its key must not follow it.
* The name is resolved once, checked (`address.py`), and the connection goes to that very address; TLS still proves the name.
* A call ends within `deadline` seconds, however slowly the bytes drip, and within `max_bytes`.
* Timeouts, 5xx and unreadable bodies are tried again, at most `attempts` times in all, with jitter (stamina). A 429 is not:
  it is an answer, with the time to come back.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import stamina

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.errors import (
    AddressRefused,
    AuthRefused,
    PlanLimited,
    ProviderDown,
    ProviderError,
    RateLimited,
    SchemaChanged,
    UnknownToProvider,
)
from services.ingest.providers.network import ProviderStats
from services.ingest.providers.transport.address import environment_proxy, public_address
from services.ingest.providers.transport.gate import RateLimiter
from services.ingest.providers.transport.refusals import RETRY_AFTER, VendorErrorRules, comparable

Parameters = Mapping[str, str | int]
# A clock that is wrong, ours or theirs, must not park a provider for a year.
LONGEST_RETRY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """connect, read, deadline in seconds (deadline: one try in all); max_bytes of a body, decompressed; tries in all."""

    connect: float = 5.0
    read: float = 15.0
    deadline: float = 60.0
    max_bytes: int = 64 * 1024 * 1024
    attempts: int = 3
    wait_initial: float = 0.5
    wait_max: float = 5.0


class ProviderHttp:
    """GET, one origin. Thread-safe. `allow_loopback` is for tests and a mirror on one's own machine; it allows http too."""

    def __init__(
        self,
        dialect: VendorErrorRules,
        base_url: str,
        headers: Mapping[str, str],
        gate: RateLimiter,
        *,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.journal = ProviderStats()
        self._dialect = dialect
        self._base = base_url.rstrip("/")
        self._origin = _origin(self._base)
        self._gate = gate
        self._allow_loopback = allow_loopback
        self._bounds = bounds or Bounds()
        self._now = now
        self._key_accepted = False
        self._proxy = environment_proxy(self._origin[0], self._origin[1])
        self._client = httpx2.Client(
            headers={"Accept": "application/json", "User-Agent": "leadline", **headers},
            timeout=httpx2.Timeout(self._bounds.read, connect=self._bounds.connect),
            follow_redirects=False,
            trust_env=False,  # proxies are read above; .netrc and the like are nobody's business here
            proxy=self._proxy,
            verify=self._certificates(),
        )

    def _certificates(self) -> ssl.SSLContext | bool:
        """Whose certificates are believed. Where nothing is encrypted none are read, which takes a fortieth of a second."""
        if self._origin[0] != "https" and self._proxy is None:
            return False
        return httpx2.create_ssl_context(trust_env=True)  # SSL_CERT_FILE, for who has a CA of their own

    def get(self, path: str, parameters: Parameters | None = None) -> Any:
        """The JSON document at a path of the vendor's, whose segments are encoded already. Raises `ProviderError`."""
        return self._get_with_retries(self._base + path, parameters)

    def get_url(self, url: str) -> Any:
        """The JSON document at a URL the vendor gave (`next_url`). Raises `AddressRefused` if it leaves the vendor's origin."""
        if _origin(url) != self._origin:
            raise self.record_error(
                AddressRefused(self._dialect.name, "the next page lies on another origin; it was not asked")
            )
        return self._get_with_retries(url, None)

    @contextmanager
    def with_accepted_key(self) -> Iterator[None]:
        """Within it the key has just been served something else: a refusal, or a path that is not found, is the plan's doing."""
        self._key_accepted = True
        try:
            yield
        finally:
            self._key_accepted = False

    @property
    def base(self) -> str:
        return self._base

    def close(self) -> None:
        self._client.close()

    def _get_with_retries(self, url: str, parameters: Parameters | None) -> Any:
        bounds = self._bounds
        for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, ProviderDown) and error.again_at_once,
            attempts=bounds.attempts,
            timeout=bounds.deadline * bounds.attempts,
            wait_initial=bounds.wait_initial,
            wait_max=bounds.wait_max,
            wait_jitter=bounds.wait_initial,
        ):
            with attempt:
                self._gate.acquire()
                try:
                    document = self._once(url, parameters)
                except UnknownToProvider:
                    self._gate.record_success()
                    raise
                except ProviderError as error:
                    self._gate.record_failure(self.record_error(error))
                    raise
                self._gate.record_success()
                self.journal.disabled = None
                return document
        raise AssertionError("stamina ends with a result or an error")

    def record_error(self, error: ProviderError) -> ProviderError:
        """Keep what `condition` tells; for errors found while reading a document too. That a symbol is unknown is none."""
        if not isinstance(error, UnknownToProvider):
            self.journal.last_fault = str(error)
        if isinstance(error, AuthRefused):
            self.journal.disabled = str(error)
        return error

    def _once(self, url: str, parameters: Parameters | None) -> Any:
        path = urlsplit(url).path
        try:
            status, headers, body = self._send(url, parameters)
        except httpx2.TimeoutException:
            raise ProviderDown(
                self._dialect.name, f"{path} did not answer in time", fault=ProviderErrorKind.TIMEOUT
            ) from None
        except httpx2.HTTPError as error:
            # The name only: a message of the library may quote the request.
            raise ProviderDown(
                self._dialect.name, f"{path}: {type(error).__name__}", fault=ProviderErrorKind.OUTAGE
            ) from None
        return self._read(path, status, headers, body)

    def _send(self, url: str, parameters: Parameters | None) -> tuple[int, httpx2.Headers, bytes]:
        bounds, name = self._bounds, self._dialect.name
        request = self._client.build_request("GET", url, params=dict(parameters) if parameters else None)
        host = request.url.host
        if request.url.scheme != "https" and not self._allow_loopback:
            raise AddressRefused(name, f"{request.url.scheme}://{host} is not https; it was not asked")
        if self._proxy is None:
            port = request.url.port or (443 if request.url.scheme == "https" else 80)
            address = public_address(name, host, port, allow_loopback=self._allow_loopback)
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)  # the Host header was set from the name, and stays
        started = time.monotonic()
        self.journal.calls += 1
        response = self._client.send(request, stream=True)
        try:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > bounds.max_bytes:
                    raise ProviderDown(
                        name, f"a body of over {bounds.max_bytes} bytes was cut off", fault=ProviderErrorKind.BAD_BODY
                    )
                if time.monotonic() - started > bounds.deadline:
                    raise ProviderDown(name, f"not done after {bounds.deadline:g} s", fault=ProviderErrorKind.TIMEOUT)
            return response.status_code, response.headers, bytes(body)
        finally:
            response.close()

    def _read(self, path: str, status: int, headers: httpx2.Headers, body: bytes) -> Any:
        name = self._dialect.name
        document, readable = self._dialect.read(body)
        said = (self._dialect.refusal(document) if readable else self._dialect.bare(body)) or ""
        low = comparable(said)
        if status == 429 or any(phrase in low for phrase in self._dialect.limit_phrases):
            raise RateLimited(name, f"limit reached at {path}. {said}".strip(), retry_at=self._retry_at(headers))
        if any(phrase in low for phrase in self._dialect.gone_phrases):
            raise SchemaChanged(name, f"{path} is served no more: a newer version of Leadline is needed. {said}")
        if status in {401, 402, 403}:
            if (kind := self._dialect.plan(low)) or status == 402 or self._key_accepted:
                raise (kind or PlanLimited)(name, f"the plan does not cover {path}. {said}".strip())
            raise AuthRefused(
                name, f"refused the key ({status}); set {self._dialect.variable} to a valid one. {said}".strip()
            )
        if status == 404 and self._key_accepted:
            raise PlanLimited(name, f"the plan does not have {path}. {said}".strip())
        if status == 404:
            raise UnknownToProvider(name, f"{path} was not found")
        if status in {408, 425} or status >= 500:
            retry_at = self._retry_at(headers) if "retry-after" in headers else None
            raise ProviderDown(name, f"{path} answered {status}", retry_at=retry_at, answered=True)
        if 300 <= status < 400:
            raise SchemaChanged(name, f"{path} answered a redirect ({status}), which is not followed")
        if status >= 400:
            raise SchemaChanged(name, f"{path} refused our question ({status}). {said}".strip())
        if said:
            raise self._error_of_refusal(path, said)
        if not readable:
            html = body.lstrip()[:1] == b"<"
            raise ProviderDown(
                name,
                f"{path} answered {'HTML' if html else 'JSON that ends too early or is none'}",
                fault=ProviderErrorKind.BAD_BODY,
            )
        return document

    def _error_of_refusal(self, path: str, said: str) -> ProviderError:
        """An error that came with status 200."""
        low, name = comparable(said), self._dialect.name
        if "api key" in low and not self._key_accepted:
            return AuthRefused(name, f"refused the key; set {self._dialect.variable} to a valid one. {said}")
        if kind := self._dialect.plan(low) or (PlanLimited if "api key" in low else None):
            return kind(name, f"the plan does not cover {path}. {said}")
        return SchemaChanged(name, f"{path} refused our question. {said}")

    def _retry_at(self, headers: Mapping[str, str]) -> datetime:
        return retry_at(headers.get("retry-after"), self._now(), default=self._dialect.retry_after)


def retry_at(header: str | None, now: datetime, *, default: timedelta = RETRY_AFTER) -> datetime:
    """The instant a Retry-After header names: seconds or an HTTP date; at least a second from now and at most a day."""
    wait = default
    if header:
        try:
            wait = timedelta(seconds=min(float(header), LONGEST_RETRY.total_seconds()))
        except (ValueError, OverflowError):
            try:
                named = parsedate_to_datetime(header)
                wait = (named if named.tzinfo else named.replace(tzinfo=UTC)) - now
            except ValueError:
                wait = default
    return now + min(max(wait, timedelta(seconds=1)), LONGEST_RETRY)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
