"""Named crash points, for the tests that kill processes at every commit and publish boundary.

Inert unless `LEADLINE_CRASH_AT` names a point: `H7` dies the first time it is reached, `H7:3` the third. Death is SIGKILL to
oneself: no handler, no flush, no goodbye, as when the machine loses power. `X5:1:STOP` freezes the process instead.
"""

from __future__ import annotations

import os
import signal

_target = ""
_remaining = 0
_how = signal.SIGKILL


def arm(spec: str) -> None:
    """Die at the point that `spec` names; an empty one disarms."""
    global _target, _remaining, _how  # noqa: PLW0603 (one process, one crash)
    name, _, rest = spec.partition(":")
    count, _, how = rest.partition(":")
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
