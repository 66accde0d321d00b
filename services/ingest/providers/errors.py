"""Typed errors of a vendor, inside an adapter. They never leave it: `fetch` and the rest turn them into answers.

Each is transient or permanent as `shared.errors` has it, and knows the absence a symbol gets by it.
"""

import logging
from datetime import datetime
from typing import ClassVar

from services.ingest.model.market import NoData, NoDataReason, ProviderErrorKind
from shared.errors import LeadlineError, PermanentError, TransientError

log = logging.getLogger(__name__)


class ProviderError(LeadlineError):
    """Base. `absence` is what a symbol gets whose question ended so."""

    fault: ProviderErrorKind
    absence: ClassVar[NoDataReason] = NoDataReason.PROVIDER_DOWN

    def __init__(
        self,
        provider: str,
        message: str,
        *,
        fault: ProviderErrorKind | None = None,
        retry_at: datetime | None = None,
        answered: bool = False,
    ) -> None:
        """answered: the vendor was reached and failed over this question (a 500), as opposed to not answering at all."""
        super().__init__(f"{provider}: {message}")
        self.provider = provider
        self.retry_at = retry_at
        self.answered = answered
        if fault is not None:
            self.fault = fault

    @property
    def of_one_answer(self) -> bool:
        """Whether this may lie with the one question alone: a vendor that cannot answer about a symbol is not therefore down."""
        return self.retry_at is None and (
            self.answered or self.fault in {ProviderErrorKind.BAD_BODY, ProviderErrorKind.SCHEMA_CHANGED}
        )

    def to_no_data(self, symbol: str) -> NoData:
        return NoData(symbol, self.absence, self.retry_at, fault=self.fault, detail=str(self))


class RateLimited(ProviderError, TransientError):
    """A limit was reached; `retry_at` is always set. Not retried in place: it delays this provider, and only this one."""

    code = "rate_limited"
    fault = ProviderErrorKind.RATE_LIMITED
    absence = NoDataReason.RATE_LIMITED


class QuotaUsedUp(RateLimited):
    """Our own count of what we may ask, not the vendor's word. Shared by all replicas."""


class ProviderDown(ProviderError, TransientError):
    """Timeout, 5xx, no connection, or a body nobody can read."""

    code = "provider_down"
    fault = ProviderErrorKind.OUTAGE

    @property
    def again_at_once(self) -> bool:
        """Worth a second try within the call. Not if the vendor said when to come back, nor for a page meant for people."""
        return self.retry_at is None and self.fault in {
            ProviderErrorKind.TIMEOUT,
            ProviderErrorKind.OUTAGE,
            ProviderErrorKind.BAD_BODY,
        }


class NotAsked(ProviderDown):
    """Our own gate holds the question back until it is known whether the vendor is down. Another try at once is held too."""

    again_at_once = False


class ProfilesRefused(ProviderError, TransientError):
    """The vendor tells nothing of companies now (crumbs, profiles, statements), though it may price them. Closes no prices."""

    code = "profiles_refused"
    fault = ProviderErrorKind.PROFILES_REFUSED


class ProfilesLimited(ProfilesRefused):
    """As above, by a limit."""

    absence = NoDataReason.RATE_LIMITED


class SchemaChanged(ProviderError, PermanentError):
    """Valid JSON that is not what the documentation says. Nothing is guessed from it."""

    code = "schema_changed"
    fault = ProviderErrorKind.SCHEMA_CHANGED


class AuthRefused(ProviderError, PermanentError):
    """401 or 403: the provider is off until somebody mends the key. The message names the variable."""

    code = "auth"
    fault = ProviderErrorKind.AUTH


class AddressRefused(ProviderError, PermanentError):
    """The name resolves to a private, link-local or metadata address, or the URL leaves the vendor's own origin."""

    code = "refused_address"
    fault = ProviderErrorKind.REFUSED_ADDRESS


class PlanLimited(ProviderError, PermanentError):
    """The plan behind the key does not cover the question. For this question the provider is as if it were not there."""

    code = "plan_limit"
    fault = ProviderErrorKind.PLAN
    absence = NoDataReason.PLAN_LIMIT


class TodayRefused(PlanLimited):
    """The plan has no data of a day that has not ended."""


class TimeframeRefused(PlanLimited):
    """The question begins before the first day that the plan covers."""


class NotPublished(ProviderError, TransientError):
    """What was asked for is not out yet; `retry_at` is when it should be. Nobody's failure."""

    code = "late"
    absence = NoDataReason.LATE

    def to_no_data(self, symbol: str) -> NoData:
        return NoData(symbol, self.absence, self.retry_at, detail=str(self))


class ForeignCurrency(ProviderError, PermanentError):
    """The vendor's prices of the symbol are in another currency than ours. The symbol's affair, not the provider's."""

    code = "foreign_currency"
    absence = NoDataReason.FOREIGN_CURRENCY

    def to_no_data(self, symbol: str) -> NoData:
        return NoData(symbol, NoDataReason.FOREIGN_CURRENCY, detail=str(self))


class UnknownToProvider(ProviderError, PermanentError):
    """404: the vendor knows no such symbol. The symbol's fault, not the provider's."""

    code = "not_found"
    absence = NoDataReason.NOT_FOUND

    def to_no_data(self, symbol: str) -> NoData:
        return NoData(symbol, NoDataReason.NOT_FOUND, detail=str(self))


def unexpected_answer(provider: str, symbol: str, error: Exception) -> SchemaChanged:
    """The last resort: what nobody foresaw ends one symbol's question, never the batch. The log has the traceback."""
    log.error("%s: an answer about %s could not be read", provider, symbol[:40], exc_info=error)
    return SchemaChanged(provider, f"an answer that we cannot read ({type(error).__name__}: {str(error)[:200]})")


def refusal(provider: str, reason: str | None, fault: str | None, until: datetime) -> ProviderError:
    """What a stored state of a provider means for who asks now: our quota without a `fault`, the vendor's word with one."""
    told = f", after: {fault}" if fault else ""
    when = f"{until:%Y-%m-%d %H:%M:%S} UTC"
    if reason == "rate_limited":
        kind = RateLimited if fault else QuotaUsedUp
        return kind(provider, f"limit reached, next call at {when}{told}", retry_at=until)
    if reason == "auth":
        return AuthRefused(provider, f"not asked until {when}{told}", retry_at=until)
    return ProviderDown(provider, f"not asked until {when}{told}", retry_at=until)
