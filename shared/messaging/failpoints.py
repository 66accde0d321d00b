"""Named fail points, for the tests that kill processes at every commit and publish boundary, and the one table of them.

Inert unless `LEADLINE_CRASH_AT` names a point, by its name or its letter: `phase.before_commit` dies the first time it is reached,
`H6:3` the third. Death is SIGKILL to oneself: no handler, no flush, no goodbye, as when the machine loses power. `X5:1:STOP`
freezes the process instead.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from shared.errors import ConfigurationError


class FailPoint(NamedTuple):
    letter: str
    """As in docs/crash-matrix.md."""
    where: str


FAIL_POINTS: Mapping[str, FailPoint] = {
    "request.before_transaction": FailPoint("C1", "a request came, before its transaction"),
    "portfolio.before_announcement": FailPoint("C2", "portfolio written, before the outbox"),
    "request.before_commit": FailPoint("C3", "request done, before its commit"),
    "request.after_commit": FailPoint("C4", "request committed, before the answer"),
    "due_date.before_commit": FailPoint("C5", "units of a due date added, before the commit"),
    "due_date.after_commit": FailPoint("C6", "due date committed"),
    "relay.before_send": FailPoint("R1", "outbox rows claimed, before they are sent"),
    "relay.before_confirmation": FailPoint("R2", "sent, before the broker confirms"),
    "relay.before_mark": FailPoint("R3", "confirmed, before the rows are marked"),
    "relay.before_commit": FailPoint("R4", "marked, before the commit"),
    "relay.after_commit": FailPoint("R5", "rows committed as sent"),
    "relay.during_cleaning": FailPoint("R6", "in the middle of the outbox's cleaning"),
    "message.before_handler": FailPoint("H1", "message fetched, before its handler"),
    "phase.after_lease": FailPoint("H2", "lease taken and committed"),
    "phase.before_compute": FailPoint("H3", "in the middle of computing, or of asking a provider"),
    "phase.after_completion": FailPoint("H4", "completed revision raised"),
    "phase.after_results": FailPoint("H5", "results written"),
    "phase.before_commit": FailPoint("H6", "outbox row inserted, before the commit"),
    "message.before_offset": FailPoint("H7", "committed, before the offset is"),
    "message.after_offset": FailPoint("H8", "offset committed"),
    "dead_letter.around_commit": FailPoint("H9", "a bad message put aside, before and after the commit"),
    "service.during_drain": FailPoint("H10", "while draining after SIGTERM"),
    "reconciler.after_election": FailPoint("X1", "elected"),
    "reconciler.after_selection": FailPoint("X2", "missing units selected"),
    "reconciler.before_commit": FailPoint("X3", "emits counted, before the commit"),
    "reconciler.after_commit": FailPoint("X4", "events committed"),
    "reconciler.during_batch": FailPoint("X5", "frozen mid-batch, lock lost, awake beside a new leader"),
    "symbols.after_lease": FailPoint("Y1", "symbols leased and committed, before a provider is asked"),
    "symbols.before_release": FailPoint("Y2", "their prices committed, the symbols still leased"),
    "settlement.before_commit": FailPoint("S1", "what a lot's numbers mean decided, before the commit"),
    "settlement.after_commit": FailPoint("S2", "decided and announced, before the message that led to it is done"),
    "deferral.before_commit": FailPoint("D1", "put off until what is waited for will be asked for, before the commit"),
    "restatement.before_schedule": FailPoint("L1", "units raised by a late price, before their schedule is withheld"),
    "restatement.before_commit": FailPoint("L2", "units raised by a late price and announced, before the commit"),
}
NAME_OF: Mapping[str, str] = {point.letter: name for name, point in FAIL_POINTS.items()}

_target = ""
_remaining = 0
_how = signal.SIGKILL


def arm(spec: str) -> None:
    """Die at the point that `spec` names; an empty one disarms. Raises `ConfigurationError` where there is no such point."""
    global _target, _remaining, _how  # noqa: PLW0603 (one process, one crash)
    given, _, rest = spec.partition(":")
    count, _, how = rest.partition(":")
    name = NAME_OF.get(given, given)
    if name and name not in FAIL_POINTS:
        raise ConfigurationError(
            f"LEADLINE_CRASH_AT={spec!r}: there is no fail point {given!r}. docs/crash-matrix.md lists them"
        )
    _target, _remaining = name, int(count) if count.isdigit() else 1
    _how = signal.SIGSTOP if how == "STOP" else signal.SIGKILL


def failpoint(name: str) -> None:
    """Die here, if this is where the test wants it."""
    global _remaining  # noqa: PLW0603 (see above)
    if name != _target:
        return
    _remaining -= 1
    if _remaining == 0:
        os.kill(os.getpid(), _how)


arm(os.environ.get("LEADLINE_CRASH_AT", ""))
