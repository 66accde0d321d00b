"""What a source of prices is."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from services.ingest.model.market import Answer, Request


class Provider(Protocol):
    """A source of market data.

    It may declare `publishes`, a timedelta from midnight in New York: a session's bars are out so long after its day began (24
    hours and more: on a later day). Without it they are when the session is due. A bar that is not out yet is late, and waited for.
    """

    name: str

    def fetch(self, requests: Sequence[Request]) -> Iterable[Answer]:
        """One answer a request, in order. Outages and limits are answers, not exceptions: one symbol never stops the others."""
        ...
