"""What a source of prices is."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from services.ingest.model.market import Answer, Request


class Provider(Protocol):
    """A source of market data."""

    name: str

    def fetch(self, requests: Sequence[Request]) -> Iterable[Answer]:
        """One answer a request, in order. Outages and limits are answers, not exceptions: one symbol never stops the others."""
        ...
