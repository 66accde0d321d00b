"""Types of the ledger's interface: outcomes, deferrals, completions, leases."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

from shared.work import Batch, UnitKey


@dataclass(frozen=True)
class Outcome:
    """What a completion says about itself: how much of the gross value good inputs stand behind, and what fell short.

    provisional : something that may still come was waited for, and is not among the inputs
    """

    quality: str = "complete"
    coverage: float = 1.0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    provisional: bool = False


class Deferral(NamedTuple):
    """Until when a unit's computation is put off, and why: in the words that people read in the status."""

    until: datetime
    reason: str


@dataclass(frozen=True)
class Completed:
    """The units whose completed revision this transaction raised, with the revision reached. Only these may be written.

    quality : of each of them `complete` or `partial`
    behind  : of one of them more had been required meanwhile, so it is missing still
    """

    revision: Mapping[UnitKey, int]
    quality: Mapping[UnitKey, str] = field(default_factory=dict)
    behind: bool = False

    @property
    def keys(self) -> Collection[UnitKey]:
        return self.revision.keys()

    def __bool__(self) -> bool:
        return bool(self.revision)

    def settles(self, batch: Batch) -> bool:
        """Whether nothing of the batch is missing, as the transaction saw it that completed it."""
        return not self.behind and all(map(self.revision.__contains__, product(batch.portfolios, batch.sessions)))

    def __or__(self, other: Completed) -> Completed:
        """What two transactions have raised; of a unit that both did, as the second left it."""
        return Completed(
            {**self.revision, **other.revision}, {**self.quality, **other.quality}, self.behind or other.behind
        )


@dataclass(frozen=True)
class Lease:
    """A lease on a portfolio, with the wake-up counter at acquisition.

    deaths : how many holders in a row let it run out, as those do whose process ends in the middle of the work
    """

    portfolio_id: UUID
    fence: int
    pending_wakeups: int
    deaths: int = 0
