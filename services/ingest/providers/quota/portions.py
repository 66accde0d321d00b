"""What a portion of requests costs, and what those are told that it does not reach."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from services.ingest.model.market import NoData, Request
from services.ingest.providers.errors import ProviderError, QuotaUsedUp
from services.ingest.providers.quota.limits import Window, spread


def affordable(calls_of: Callable[[Sequence[Request]], int], asked: Sequence[Request], calls: int) -> int:
    """How many of the requests so many calls pay for; at least one, which may wait for the rest of what it costs."""
    if calls_of(asked) <= calls:
        return len(asked)
    low, high = 1, len(asked)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if calls_of(asked[:middle]) <= calls else (low, middle)
    return low


def come_back_later(
    refused: ProviderError, symbols: Sequence[str], costs: Sequence[int], windows: Sequence[Window]
) -> list[NoData]:
    """The refusal for each symbol; where the quota is used up, spread over the windows that their calls will fill."""
    base = refused.retry_at
    waits: list[datetime | None] = [base] * len(symbols)
    if base is not None and isinstance(refused, QuotaUsedUp):
        waits = list(spread(costs, base, windows))
    return [replace(refused.to_no_data(symbol), retry_at=wait) for symbol, wait in zip(symbols, waits, strict=True)]
