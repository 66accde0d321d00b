"""Where the API is, and what its handlers work with."""

from services.coordinator.context import (
    Context,
    Ctx,
    context_of,
    handler_snapshot,
    on_trading_days,
    reads_once,
)

__all__ = ["PREFIX", "Context", "Ctx", "context_of", "handler_snapshot", "on_trading_days", "reads_once"]

PREFIX = "/api/v1"
