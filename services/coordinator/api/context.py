"""Where the API is, and what its handlers work with."""

from services.coordinator.context import Context, Ctx, context_of, on_trading_days

__all__ = ["PREFIX", "Context", "Ctx", "context_of", "on_trading_days"]

PREFIX = "/api/v1"
