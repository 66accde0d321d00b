"""What a vendor did, as errors inside an adapter. They never leave it: `fetch` and the rest turn them into answers.

Each is transient or permanent as `shared.errors` has it, and knows the absence a symbol gets by it.
"""

import logging
from datetime import datetime
from typing import ClassVar

from services.ingest.model.market import Absence, Absent, Fault
from shared.errors import LeadlineError, PermanentError, TransientError

log = logging.getLogger(__name__)


class VendorError(LeadlineError):
    """Base. `absence` is what a symbol gets whose question ended so."""

    fault: Fault
    absence: ClassVar[Absence] = Absence.PROVIDER_DOWN

    def __init__(
        self, provider: str, message: str, *, fault: Fault | None = None, retry_at: datetime | None = None
    ) -> None:
        super().__init__(f"{provider}: {message}")
        self.provider = provider
        self.retry_at = retry_at
        if fault is not None:
            self.fault = fault

    def absent(self, symbol: str) -> Absent:
        return Absent(symbol, self.absence, self.retry_at, fault=self.fault, detail=str(self))


class RateLimited(VendorError, TransientError):
    """A limit was reached; `retry_at` is always set. Not retried in place: it delays this provider, and only this one."""

    code = "rate_limited"
    fault = Fault.RATE_LIMITED
    absence = Absence.RATE_LIMITED


class QuotaUsedUp(RateLimited):
    """Our own count of what we may ask, not the vendor's word. Shared by all replicas."""


class ProviderDown(VendorError, TransientError):
    """Timeout, 5xx, no connection, or a body nobody can read."""

    code = "provider_down"
    fault = Fault.OUTAGE

    @property
    def again_at_once(self) -> bool:
        """Worth a second try within the call. Not if the vendor said when to come back, nor for a page meant for people."""
        return self.retry_at is None and self.fault in {Fault.TIMEOUT, Fault.OUTAGE, Fault.BAD_BODY}


class SchemaChanged(VendorError, PermanentError):
    """Valid JSON that is not what the documentation says. Nothing is guessed from it."""

    code = "schema_changed"
    fault = Fault.SCHEMA_CHANGED


class AuthRefused(VendorError, PermanentError):
    """401 or 403: the provider is off until somebody mends the key. The message names the variable."""

    code = "auth"
    fault = Fault.AUTH


class AddressRefused(VendorError, PermanentError):
    """The name resolves to a private, link-local or metadata address, or the URL leaves the vendor's own origin."""

    code = "refused_address"
    fault = Fault.REFUSED_ADDRESS


class PlanLimited(VendorError, PermanentError):
    """The plan behind the key does not cover the question. For this question the provider is as if it were not there."""

    code = "plan_limit"
    fault = Fault.PLAN
    absence = Absence.PLAN_LIMIT


class ForeignCurrency(VendorError, PermanentError):
    """The vendor's prices of the symbol are in another currency than ours. The symbol's affair, not the provider's."""

    code = "foreign_currency"
    absence = Absence.FOREIGN_CURRENCY

    def absent(self, symbol: str) -> Absent:
        return Absent(symbol, Absence.FOREIGN_CURRENCY, detail=str(self))


class UnknownToVendor(VendorError, PermanentError):
    """404: the vendor knows no such symbol. The symbol's fault, not the provider's."""

    code = "not_found"
    absence = Absence.NOT_FOUND

    def absent(self, symbol: str) -> Absent:
        return Absent(symbol, Absence.NOT_FOUND, detail=str(self))


def unexpected(provider: str, symbol: str, error: Exception) -> SchemaChanged:
    """The last resort: what nobody foresaw ends one symbol's question, never the batch. The log has the traceback."""
    log.error("%s: an answer about %s could not be read", provider, symbol[:40], exc_info=error)
    return SchemaChanged(provider, f"an answer that we cannot read ({type(error).__name__}: {str(error)[:200]})")
