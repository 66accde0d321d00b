"""The providers a configuration names, in its order. Makes them; asks nobody."""

from collections.abc import Callable
from datetime import timedelta

from pydantic import SecretStr

from services.ingest.model.market import Request
from services.ingest.providers.base import Provider
from services.ingest.providers.curves import CurveSource
from services.ingest.providers.file.provider import FileProvider
from services.ingest.providers.fred.provider import Fred
from services.ingest.providers.network import NetworkProvider
from services.ingest.providers.quota.limits import PlanMemory, Quota, Window, windows
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.providers.transport.gate import RateLimiter
from services.ingest.providers.treasury.provider import Treasury
from services.ingest.settings import IngestSettings
from shared.errors import ConfigurationError
from shared.market.calendar import Calendar

# A question of at most so many days that reaches the newest session is the night's; anything longer is a backfill.
TODAY_SPANS = timedelta(days=14)
QuotaOf = Callable[[str, str, str, tuple[Window, ...]], Quota]
"""(provider, who the vendor counts, key, windows) -> the shared quota"""


def create_providers(
    settings: IngestSettings, calendar: Callable[[], Calendar], quota_of: QuotaOf, newest: Callable[[], object]
) -> list[Provider]:
    """Raises `ConfigurationError` where a provider lacks its key or its library.

    calendar : of the moment it is called at
    newest   : the last due session, for what is the night's work and what is not.
    """

    def is_today(request: Request) -> bool:
        return request.last - request.first <= TODAY_SPANS and request.last >= newest()  # type: ignore[operator]

    made: list[Provider] = []
    for name in settings.providers:
        if name == "file":
            made.append(FileProvider(settings.data, calendar, skip_bad_rows=settings.data_bad_rows == "skip"))
            continue
        counted = "yahoo" if name == "yahooquery" else name
        quota = quota_of(name, counted, _key(settings, name), _windows(settings, counted))
        gate = SharedRateLimiter(quota)
        made.append(
            RateLimitedProvider(_vendor(settings, name, calendar, gate, quota), gate, quota, is_today, source=counted)
        )
    return made


def curve_sources(settings: IngestSettings) -> list[CurveSource]:
    """Who is asked for the yield curve, in order."""
    loopback = settings.provider_loopback
    made: dict[str, Callable[[], CurveSource]] = {
        "treasury": lambda: Treasury(base_url=settings.treasury_url, allow_loopback=loopback),
        "fred": lambda: Fred(base_url=settings.fred_url, allow_loopback=loopback),
    }
    return [made[name]() for name in settings.curve_sources]


def _vendor(
    settings: IngestSettings, name: str, calendar: Callable[[], Calendar], gate: RateLimiter, plan: PlanMemory
) -> NetworkProvider:
    """Imported when enabled: yfinance and its relatives take a second."""
    loopback = settings.provider_loopback
    if name == "yahoo":
        from services.ingest.providers.yahoo.yfinance import Yahoo

        return Yahoo(calendar, gate=gate, endpoint=settings.yahoo_url, allow_loopback=loopback)
    if name == "yahooquery":
        from services.ingest.providers.yahoo.yahooquery import YahooQuery

        return YahooQuery(calendar, gate=gate, endpoint=settings.yahoo_url, allow_loopback=loopback)
    key = _key(settings, name)
    if name == "massive":
        from services.ingest.providers.massive.provider import BASE_URL, Massive

        url = settings.massive_url or BASE_URL
        return Massive(key, calendar, gate=gate, base_url=url, allow_loopback=loopback, plan=plan)
    if name == "tiingo":
        from services.ingest.providers.tiingo.provider import BASE_URL as TIINGO_URL
        from services.ingest.providers.tiingo.provider import Tiingo

        return Tiingo(key, calendar, gate=gate, base_url=settings.tiingo_url or TIINGO_URL, allow_loopback=loopback)
    from services.ingest.providers.fmp.provider import BASE_URL as FMP_URL
    from services.ingest.providers.fmp.provider import Fmp

    return Fmp(key, calendar, gate=gate, base_url=settings.fmp_url or FMP_URL, allow_loopback=loopback)


def _key(settings: IngestSettings, name: str) -> str:
    """Empty for Yahoo, which has none."""
    keys: dict[str, tuple[SecretStr | None, str]] = {
        "massive": (settings.massive_api_key, "LEADLINE_MASSIVE_API_KEY"),
        "fmp": (settings.fmp_api_key, "LEADLINE_FMP_API_KEY"),
        "tiingo": (settings.tiingo_api_key, "LEADLINE_TIINGO_API_KEY"),
    }
    if name not in keys:
        return ""
    key, variable = keys[name]
    if key is None or not key.get_secret_value().strip():
        raise ConfigurationError(f"LEADLINE_PROVIDERS names {name}: set {variable}, or leave {name} out")
    return key.get_secret_value().strip()


def _windows(settings: IngestSettings, counted: str) -> tuple[Window, ...]:
    given: str = getattr(settings, f"{counted}_quota")
    try:
        return windows(given)
    except ValueError as error:
        raise ConfigurationError(f"LEADLINE_{counted.upper()}_QUOTA: {error}") from None
